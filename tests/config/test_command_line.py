"""The command line: lists of texts by comma, whatever they look like."""

import pytest

from seqfinal_jax.config.command_line import listed_texts, read_configuration
from seqfinal_jax.config.schema import text_lists


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

    from seqfinal_jax.runs.plan import make_plan

    config.methods = ("erm_final",)
    make_plan(config)


def test_methods_by_comma_as_before():
    config, _ = read_configuration(
        "digits_rcl:smoke", ["--config.methods=erm_final,erm_all", "--config.seeds=0,1"]
    )
    assert tuple(config.methods) == ("erm_final", "erm_all") and tuple(config.seeds) == (0, 1)
