"""The table of parameter counts."""

import pytest

from seqfinal_jax.analysis.params import main, parameter_table, render
from tests.plugin_files import forget


def test_the_published_counts_and_all():
    table = parameter_table(["convnet-1", "resnet-2"], [10, 20])
    assert table["reported"].tolist() == [309_450, 314_580, 8_198_346, 8_203_476]
    assert table["all"].tolist() == [310_602, 315_732, 8_278_602, 8_283_732]
    assert table["layer1"].tolist() == [294_912, 294_912, 516_096, 516_096]


TABLES = {
    "csv": "network,classes,reported,all,conv1,layer1,fc\nconvnet-1,10,309450,310602,9408,294912,5130\n",
    "markdown": "| network | classes | reported | all | conv1 | layer1 | fc |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    "| convnet-1 | 10 | 309,450 | 310,602 | 9,408 | 294,912 | 5,130 |\n",
    "latex": "\\begin{tabular}{lrrrrrr}\nnetwork & classes & reported & all & conv1 & layer1 & fc \\\\\n"
    "convnet-1 & 10 & 309,450 & 310,602 & 9,408 & 294,912 & 5,130 \\\\\n\\end{tabular}\n",
    "terminal": "network    classes  reported      all  conv1   layer1     fc\n"
    "convnet-1       10   309,450  310,602  9,408  294,912  5,130\n",
}


@pytest.mark.parametrize("style", TABLES)
def test_every_format(style):
    assert render(parameter_table(["convnet-1"], [10]), style) == TABLES[style]


def test_the_command(capsys):
    assert main(["--architectures", "convnet-1,convnet-2", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "convnet-1,10,309450,310602,9408,294912,,5130"
    assert main(["--architectures", "convnot-1"]) == 2
    assert "did you mean 'convnet'" in capsys.readouterr().err


def test_a_network_of_a_users_file(tmp_path, capsys):
    """Its parameters by hand: 3072 inputs to 4 units with biases, and 4 units to 10 classes."""
    from tests.test_extending import EXAMPLES

    path = tmp_path / "perceptron_of_params.py"
    path.write_text(EXAMPLES["perceptron"].replace("config.stem_width or 64", "4"))
    try:
        flags = ["--architectures=perceptron-1", f"--plugins={path}", "--format=csv"]
        assert main(flags) == 0
        counts = dict(zip(*(line.split(",") for line in capsys.readouterr().out.splitlines()), strict=True))
        assert int(counts["all"]) == (3072 * 4 + 4) + (4 * 4 + 4) + (4 * 10 + 10)
    finally:
        forget(path.parent)
