"""What a user's code does wrong is one line that names the user's file and line."""

import pytest

from seqfinal_jax.analysis.report import report_run
from tests.plugin_files import forget
from tests.runs import run, smoke_config, smoke_run

HEAD = "from seqfinal_jax.methods import Axis, Field, Stage, Transform, method\n"
RECIPE = HEAD + "\n@method('mine'{more})\ndef mine(setting):\n    last = (setting.final_step,)\n{body}"
GOOD = "    return Stage('final', 'final', last, last, setting.plain_grid)\n"


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()

    def write(text, name="bad"):
        (folder / f"{name}.py").write_text(text)
        return str(folder / f"{name}.py")

    yield write
    forget(folder)


def refused(tmp_path, path, methods=("mine",), **fields):
    with pytest.raises(ValueError) as error:
        smoke_run(
            tmp_path / "run", methods=methods, plugins=(path,), grid__dropout=(0.0,), dry_run=True, **fields
        )
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        (
            "    Stage('final', 'final', last, last, setting.plain_grid)\n",
            3,
            "returned None; expected a Stage",
        ),
        (
            GOOD.replace("last, last", "(7,), last"),
            3,
            "stage 'final': train = (7,); expected time steps .*0 to 3",
        ),
        (GOOD.replace("last, last", "last, (-1,)"), 3, "stage 'final': valid = (-1,)"),
        (GOOD.replace("last, last", "(), last"), 3, "stage 'final': train = ()"),
        ("    return numpy.float32\n", 6, "NameError: name 'numpy' is not defined"),
        ("    return Transform(max, ())\n", 6, "a transformation needs at least one input"),
        (
            "    return Transform(lambda v: v, Stage('a', 'final', last, last, setting.plain_grid))\n",
            6,
            "the lambda of",
        ),
    ],
)
def test_a_recipe(own, tmp_path, body, line, said):
    path = own(RECIPE.format(more="", body=body))
    message = refused(tmp_path, path)
    assert message.startswith(f"{path}, line {line}: ")
    assert all(part in message for part in said.split(" .*"))


def test_an_axis_that_no_grid_holds(own, tmp_path):
    more = ", axes=(Axis('share', (0.1, 0.2)),)"
    path = own(RECIPE.format(more=more, body=GOOD))
    message = refused(tmp_path, path)
    assert message.startswith(f"{path}, line 3: method 'mine' declares the axis 'share', and no stage has it")
    path = own(RECIPE.format(more=more, body=GOOD.replace("plain_grid", "own_grid")))
    assert smoke_run(tmp_path / "run", methods=("mine",), plugins=(path,), dry_run=True)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ", fields=('strength',)",
            "method 'mine': fields: expected a tuple of Field(...), found ('strength',)",
        ),
        (", axes=Axis('share', (0.1,))", "method 'mine': axes: expected a tuple of Axis(...), found Axis("),
    ],
)
def test_fields_and_axes_that_are_none(own, tmp_path, more, said):
    path = own(RECIPE.format(more=more, body=GOOD))
    message = refused(tmp_path, path)
    assert f"{path}, line 3: TypeError: {said}" in message


def test_an_error_of_an_imported_module_names_that_module(own, tmp_path):
    helper = own("\n\nx = numpy.float32\n", "helper_of_bad")
    path = own("import helper_of_bad\n")
    assert f"{helper}, line 3: NameError: name 'numpy' is not defined" in refused(tmp_path, path)


def test_a_shift_and_a_network(own, tmp_path):
    path = own(
        "from seqfinal_jax.data.shifts import shift\n"
        "from seqfinal_jax.models.families.architectures import family\n"
        "@shift('odd')\ndef odd(images, labels, occurred, generator):\n    return numpy.float32(images)\n"
        "@family('odd', title='an odd one', blocks=(1,))\ndef net(num_blocks, num_classes, config):\n    return widht\n"
    )
    said = refused(tmp_path, path, ("erm_final",), data__shifts="odd:odd:odd")
    assert said == f"{path}, line 5: NameError: name 'numpy' is not defined"
    said = refused(tmp_path, path, ("erm_final",), architectures=("odd-1",))
    assert said == f"{path}, line 8: NameError: name 'widht' is not defined"


def test_a_cell_that_fails_names_the_line_in_log_and_report(own, tmp_path, caplog):
    body = GOOD.replace("plain_grid)", "plain_grid, objective=Bad())")
    text = HEAD + (
        "from dataclasses import dataclass\nfrom seqfinal_jax.methods.stages.objectives import Pooled\n"
        "from seqfinal_jax.training.objectives.risk import EmpiricalRisk\n"
        "@dataclass(frozen=True)\nclass BadRisk(EmpiricalRisk):\n"
        "    def sample_losses(self, logits, labels, hyper):\n        return hyper['strenght']\n"
        "@dataclass(frozen=True)\nclass Bad(Pooled):\n    risk_class = BadRisk\n"
        "@method('mine')\ndef mine(setting):\n    last = (setting.final_step,)\n" + body
    )
    path, workdir = own(text), tmp_path / "run"
    config = smoke_config(methods=("mine",), plugins=(path,), grid__dropout=(0.0,))
    assert run(config, workdir) == 1
    said = f"{path}, line 8: KeyError: 'strenght'"
    assert f"mine, convnet-1, seed 0 failed: {said}" in caplog.text
    report_run(workdir)
    page = (workdir / "report" / "index.html").read_text()
    assert f"mine, convnet-1, seed 0: {said.replace(chr(39), '&#39;')}" in page
    assert "Traceback" in (workdir / "cells/mine/convnet-1/seed0/error.txt").read_text()
