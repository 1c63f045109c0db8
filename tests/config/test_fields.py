"""The schema of the configuration: every field has one kind, wrong values and idle fields are refused."""

import json
import math
from pathlib import Path

import pytest
from ml_collections import ConfigDict

import seqfinal_jax
from configs import own_data
from seqfinal_jax import load_config
from seqfinal_jax.config import PROTOCOLS, base_config
from seqfinal_jax.config.build import with_precision
from seqfinal_jax.config.parse import as_dict, options_of, parse, refuse_repeats, stored_spec
from seqfinal_jax.config.schema import FIELDS, all_fields
from seqfinal_jax.config.values import flat
from seqfinal_jax.models.network import NetworkConfig
from tests.data.made_images import own_folder
from tests.runs import smoke_config, smoke_run


def config():
    return base_config("name", "digits", "rotation", 200, (200,), 100)


def set_to(field, value):
    """A configuration with one field of another value, whatever its type."""
    found = config().unlock()
    *path, last = field.split(".")
    section = found
    for part in path:
        section = section[part]
    with section.ignore_type():
        section[last] = value
    return found


def test_every_field_is_in_the_schema_once():
    names = [field.name for field in all_fields()]
    assert len(names) == len(set(names))
    assert set(flat(config())) == set(names)


@pytest.mark.parametrize("field", [each for each in FIELDS if each.name not in ("name", "data.dataset")])
def test_every_default_is_allowed_and_every_field_has_a_meaning(field):
    zero_means_unset = field.name in (
        "data.shifts",
        "data.source_size",
        "data.target_sizes",
        "data.test_size",
    )
    assert zero_means_unset or field.kind.wrong(field.default) is None
    assert field.meaning.endswith(".") and field.kind.expected


WRONG = ["abc", True, None, math.nan, math.inf, -1, -0.5, (True,), ("abc",), (math.nan,), {"a": 1}]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_values_of_another_kind_are_refused_by_name(field):
    """For each field, of all that is usually wrong, what its kind does not allow; each must refuse several."""
    refused = [value for value in WRONG if field.kind.wrong(value)]
    assert len(refused) >= 5
    for value in refused:
        if isinstance(value, dict) or (isinstance(field.default, float) and value is True):
            continue  # a section, found by its own name below; the library turns True into 1.0
        if value is None and field.unset:
            continue  # not set
        with pytest.raises(ValueError, match=f"config.{field.name}: expected "):
            parse(set_to(field.name, value))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("grid.learning_rate", ("abc",), "a number above 0, each once, found 'abc'"),
        ("grid.weight_decay", True, "found True"),
        ("input_std", (0, 0, 0), "a number above 0, found 0"),
        ("seeds", (True,), "a whole number from 0 to 4294967295, each once, found True"),
        ("seeds", (1.0,), "found 1.0"),
        ("seeds", (2**32,), "found 4294967296"),
        ("grid.dropout", (1.0,), "below 1, each once, found 1.0"),
        ("grid.dropout", (0.5, 0.5), r"found \(0.5, 0.5\), which repeats a value"),
        ("training.stop_on", "previos", "did you mean 'previous'"),
        ("network.widths", (8, 0), "found 0"),
        ("methods", (3,), "names by comma, or a tuple of them, found"),
    ],
)
def test_messages_say_what_was_expected_and_found(field, value, message):
    with pytest.raises(ValueError, match=message):
        parse(set_to(field, value))


def test_what_a_run_records_is_read_back():
    """config.json has every field by its name in the configuration, and gives the same specification."""
    spec = parse(config())
    assert set(flat(as_dict(spec))) == {field.name for field in all_fields()}
    assert stored_spec(json.loads(json.dumps(as_dict(spec)))) == spec
    assert as_dict(spec)["training"]["least_updates"] == 2000  # resolved


def test_parsing_leaves_the_configuration_as_it_is():
    found = config()
    before = found.to_json()
    parse(found, ("training.max_epochs",))
    assert found.to_json() == before


def test_unknown_and_missing_fields_are_named():
    found = config().unlock()
    found.training.max_epoch = 3
    with pytest.raises(ValueError, match=r"config.training.max_epoch: there is no such field; did you mean"):
        parse(found)
    found = config().unlock()
    del found.training.patience
    with pytest.raises(ValueError, match=r"config.training.patience is missing"):
        parse(found)


def test_a_value_that_stands_twice_is_named():
    refuse_repeats((0, 1, 2), "seeds")
    with pytest.raises(ValueError, match=r"config.seeds names 1 2 times; name each once"):
        refuse_repeats((0, 1, 2, 1), "seeds")


def test_a_later_patience_matters_only_to_a_run_that_resumes():
    found = config()
    found.training.patience, found.joint.resume_patience = 12, 11
    parse(found)
    found.joint.resume_to_epochs = 200
    with pytest.raises(ValueError, match=r"resume_patience = 11 is below config.training.patience = 12"):
        parse(found)
    found.joint.resume_patience = 12
    parse(found)


def test_the_configuration_ends_at_the_door():
    """Below config/ and the commands nothing knows ConfigDict; a `RunSpec` is all that a run or a table gets."""
    package = Path(seqfinal_jax.__file__).parent
    paths = [path.relative_to(package) for path in package.rglob("*.py") if "ConfigDict" in path.read_text()]
    assert {path.as_posix() for path in paths if path.parts[0] != "config"} <= {"api.py", "main.py"}


def test_a_configuration_takes_no_new_field():
    found = config()
    with pytest.raises(AttributeError, match="max_epoch"):
        found.training.max_epoch = 3
    with pytest.raises(AttributeError, match="trainning"):
        found.trainning = ConfigDict()


def test_every_option_and_size_of_the_schema_is_one():
    options = options_of(parse(config()))
    for field in FIELDS:
        assert not field.size or hasattr(NetworkConfig(), field.size)
        assert not field.option or hasattr(options, field.option)
    assert {field.option for field in FIELDS} >= {
        "layers",
        "side",
        "adapter",
        "joint",
        "normalise_time_weights",
    }


IDLE = [
    ({"network__units": 3}, "config.network.units = 3 changes nothing .*take a network that has it: resnet"),
    ({"network__dense_layers": (2,)}, "take a network that has it: densenet"),
    ({"fine_tune__layers": "fc"}, "leave it at 'all', or add a method on which it acts: erm_fine_tune"),
    ({"fine_tune__fisher": "per_sample"}, "add a method on which it acts: sequential_ewc"),
    ({"fine_tune__freeze_batch_stats": True}, "config.fine_tune.freeze_batch_stats = True changes nothing"),
    ({"joint__adjacent_penalty": "l1"}, "on which it acts: joint"),
    (
        {"side__layer_sizes": "block", "methods": ("erm_final", "erm_all")},
        "config.side.layer_sizes = 'block'",
    ),
    ({"adapter__rank": 2}, "config.adapter.rank = 2 changes nothing"),
    ({"all_layers_efficient": True}, "config.all_layers_efficient = True changes nothing"),
]


@pytest.mark.parametrize(("fields", "message"), IDLE)
def test_an_option_that_acts_on_nothing_is_an_error(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        smoke_run(tmp_path / "run", **{"methods": ("erm_final",), **fields})
    assert not (tmp_path / "run").exists()


SHARED = [
    ("joint_grid__learning_rate", (1e-4,)), ("grid__adjacent", (0.3,)), ("oracle_size", 120),
    ("protocol__decay_selection", "test"), ("training__normalise_time_weights", True),
    ("protocol__subpop_sizes", "released"), ("protocol__penalise_bn", "by_name"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), SHARED)
def test_what_configurations_share_must_act_where_the_command_line_sets_it(tmp_path, name, value):
    from tests.runs import make_plan

    found = smoke_config(methods=("erm_final",), **{name: value})
    make_plan(found)  # a file may give it for whichever methods come
    field = name.replace("__", ".")
    with pytest.raises(ValueError, match=f"config.{field} = .* changes nothing in this run"):
        make_plan(found, overrides=(field,))


@pytest.mark.parametrize("field", PROTOCOLS["released"])
def test_no_field_of_the_protocol_changes_the_precision(field):
    """An ablation of one field changes one thing; the preset `released` names its precision."""
    from tests.runs import make_plan

    found = config()
    found.protocol[field] = PROTOCOLS["released"][field]
    plan = make_plan(found)
    assert plan.protocol == "custom" and plan.training.precision == "bfloat16"
    assert {network.precision for network in plan.networks.values()} == {"bfloat16"}


HIGHEST = (
    "digits_rcl",
    "digits_rcl:corrected",
    "own_data",
    "cifar10_rcl:released",
    "portraits:quick,released",
)
BFLOAT16 = (
    "cifar10_rcl",
    "cifar10_rcl:corrected,quick",
    "fashion_mnist_rcl",
    "portraits",
    "cifar10_rotation:3",
)


@pytest.mark.parametrize("name", HIGHEST + BFLOAT16)
def test_configurations_and_presets_name_their_precision(name):
    assert load_config(name).precision == ("highest" if name in HIGHEST else "bfloat16")


@pytest.mark.parametrize(
    ("presets", "budget"), [("quick", (350, 100)), ("released,quick", (0, 0)), ("quick, smoke", (0, 0))]
)
def test_own_data_quick_has_a_budget_that_other_presets_replace(presets, budget):
    training = own_data.get_config(presets).training
    assert (training.least_updates, training.patience_updates) == budget


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (PROTOCOLS["corrected"], "bfloat16"),
        (PROTOCOLS["released"], "highest"),
        ({**PROTOCOLS["corrected"], "penalise_bn": "by_name"}, "highest"),
    ],
)
def test_an_empty_precision_of_a_stored_configuration_is_that_of_its_protocol(protocol, expected):
    assert with_precision({"protocol": protocol, "precision": ""})["precision"] == expected
    for named in ("highest", "bfloat16"):
        assert with_precision({"protocol": protocol, "precision": named})["precision"] == named


def test_what_acts_is_taken_and_alike_fields_do_not_hide_each_other():
    from tests.runs import make_plan

    fields = {"joint_grid__learning_rate": (1e-4,), "oracle_size": 120, "joint__resume_to_epochs": 9}
    found = smoke_config(methods=("oracle", "joint"), joint__resume_patience=12, **fields)
    make_plan(found, overrides=[name.replace("__", ".") for name in fields])


ANYWAY = [
    ("training__least_updates", 2000, {}),
    ("training__patience_updates", 500, {}),
    ("joint_grid__adjacent", (0.01, 0.1, 1.0), {"methods": ("joint",)}),
    ("joint_grid__adjacent", (10.0, 100.0, 1000.0), {"methods": ("joint",), "joint__adjacent_penalty": "l2_high"}),
    ("training__stop_on", "best", {}),
    ("training__ties", "loss", {}),
    ("precision", "bfloat16", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "others"), ANYWAY)
def test_a_value_that_would_apply_anyway_is_taken(name, value, others):
    """Whoever writes out the default of a field, or what an unset field becomes, is not told that it has no effect."""
    from tests.runs import make_plan

    found = smoke_config(**{"methods": ("erm_final",), **others, name: value})
    make_plan(found, overrides=(name.replace("__", "."),))


def test_the_time_steps_may_be_named_in_the_order_that_they_have(tmp_path, monkeypatch):
    from tests.runs import make_plan

    monkeypatch.setenv("SEQFINAL_CACHE_DIR", str(tmp_path / "cache"))
    found = load_config("own_data:smoke")
    found.data.steps = ("step1", "step2")
    make_plan(found, str(own_folder(tmp_path / "data", count=10)), overrides=("data.steps",))


def test_an_idle_field_is_told_what_applies_without_it():
    from tests.runs import make_plan

    idle = smoke_config(methods=("erm_final",), joint_grid__adjacent=(0.3,))
    with pytest.raises(
        ValueError,
        match=r"joint_grid.adjacent = \(0.3,\) changes nothing in this run; leave it at \(0.01, 0.1, 1",
    ):
        make_plan(idle, overrides=("joint_grid.adjacent",))
