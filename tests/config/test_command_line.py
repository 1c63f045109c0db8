"""The command line: lists of texts by comma, whatever they look like."""

import pytest

from seqfinal_jax.config.command_line import CommandParser, listed_texts, read_configuration
from seqfinal_jax.config.schema import text_lists
from seqfinal_jax.methods.recipes import METHODS


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("2019,2020", ("2019", "2020")),
        ("2019-05,2019-06", ("2019-05", "2019-06")),
        ("1st quarter, 2nd quarter", ("1st quarter", "2nd quarter")),
        ("winter", ("winter",)),
        ("007", ("007",)),
        ("'a,b','c '", ("a,b", "c ")),
        ('"a, b",c', ("a, b", "c")),
        ("it's,dog's", ("it's", "dog's")),
        ("('2019', '2020')", ("2019", "2020")),
        ("[]", ()),
        ("", ()),
        ("a,,b,", ("a", "b")),
    ],
)
def test_texts_by_comma(value, texts):
    assert listed_texts(value) == texts
    for settings in ([f"--config.data.steps={value}"], ["--config.data.steps", value]):
        config, overrides = read_configuration("own_data", settings)
        assert tuple(config.data.steps) == texts and overrides == ("data.steps",)


def test_the_fields_that_hold_texts():
    assert {"data.steps", "plugins", "methods", "architectures"} <= text_lists()
    assert not {"data.shifts", "seeds", "side.layer_sizes", "network.widths"} & text_lists()


@pytest.mark.parametrize(
    "form", ["{0}/x.py,{0}/y.py", "('{0}/x.py', '{0}/y.py')", "./x.py,./y.py", "'{0}/a,b.py',{0}/y.py"]
)
def test_plugins_by_comma(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    for name in ("x", "y", "a,b"):
        (tmp_path / f"{name}.py").write_text("VALUE = 1\n")
    config, _ = read_configuration("digits_rcl:smoke", [f"--config.plugins={form.format(tmp_path)}"])
    assert len(config.plugins) == 2

    from tests.runs import make_plan

    config.methods = ("erm_final",)
    make_plan(config)


def test_methods_by_comma_as_before():
    config, _ = read_configuration(
        "digits_rcl:smoke", ["--config.methods=erm_final,erm_all", "--config.seeds=0,1"]
    )
    assert tuple(config.methods) == ("erm_final", "erm_all") and tuple(config.seeds) == (0, 1)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("--config.seedz=0", "the configuration has no field 'seedz'; did you mean 'seeds'?"),
        ("--config.patience=3", "no field 'patience'; did you mean 'training.patience'?"),
        ("--config.training.batchsize=3", "did you mean 'training.batch_size'?"),
        ("--config.training=3", "no field 'training'"),
        ("--noconfig.data.gray", "did you mean 'data.grey'?"),
        ("--config.training.patience=2.5", "--config.training.patience=2.5"),
        ("--config.training.patience", "Missing value for flag --config.training.patience"),
        ("--seeds=0", "unknown flag --seeds; did you mean --config.seeds?"),
    ],
)
def test_settings_are_checked_by_name_then_by_value(setting, message):
    with pytest.raises(ValueError, match=message) as raised:
        read_configuration("digits_rcl:smoke", [setting])
    assert len(str(raised.value).splitlines()) == 1


OWN = """from seqfinal_jax.methods import Field, method

@method("halved", fields=(Field("share", 0.5, "A share."),))
def halved(setting):
    \"\"\"Nothing that is trained here.\"\"\"
"""


def test_fields_of_plugins_can_be_set_whoever_names_the_plugin(tmp_path):
    """The command line, or the configuration file after it was built."""
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "mine.py").write_text(
        "from configs.digits_rcl import get_config as digits\n\n\ndef get_config():\n"
        f"    config = digits('smoke')\n    config.plugins = ({str(tmp_path / 'own.py')!r},)\n    return config\n"
    )
    plugin = str(tmp_path / "own.py")
    try:
        for file, settings in (
            ("digits_rcl", [f"--config.plugins={plugin}"]),
            (str(tmp_path / "mine.py"), []),
        ):
            config, overrides = read_configuration(file, [*settings, "--config.halved.share=0.25"])
            assert config.halved.share == 0.25 and "halved.share" in overrides
            with pytest.raises(ValueError, match=r"no field 'halved.shar'; did you mean 'halved.share'"):
                read_configuration(file, [*settings, "--config.halved.shar=0.25"])
    finally:
        METHODS.forget(plugin)


def test_a_file_that_sets_a_field_before_its_plugin_is_loaded_is_told_how(tmp_path):
    """And a file that names the plugin first may set it."""
    plugin, file = str(tmp_path / "own.py"), tmp_path / "mine.py"
    (tmp_path / "own.py").write_text(OWN)
    text = (
        "from seqfinal_jax.config import base_config\n\n\ndef get_config():\n"
        "    config = base_config('mine', 'digits', 'rotation', 100, (100,), 100{})\n"
        f"    config.plugins = ({plugin!r},)\n    config.halved.share = 0.25\n    return config\n"
    )
    try:
        file.write_text(text.format(""))
        with pytest.raises(ValueError, match=r"line 7: .* 'halved'; .*base_config\(plugins=\(FILE,\)\)"):
            read_configuration(str(file))
        file.write_text(text.format(f", plugins=({plugin!r},)"))
        assert read_configuration(str(file))[0].halved.share == 0.25
    finally:
        METHODS.forget(plugin)


def test_flags_and_settings_come_in_any_order_and_form():
    parser = CommandParser("")
    parser.add_argument("--out")
    given = parser.read(
        [
            "--config.seeds",
            "0,1",
            "--out",
            "x",
            "--config.data_seed",
            "-1",
            "--config=digits_rcl",
            "--config.data.grey",
        ]
    )
    assert tuple(given.config.seeds) == (0, 1) and given.flags.out == "x" and given.config.data.grey is True
    assert given.overrides == ("seeds", "data_seed", "data.grey") and given.source.endswith("digits_rcl.py")
    with pytest.raises(ValueError, match="unexpected argument 'more'"):
        parser.read(["--config=digits_rcl", "more"])
