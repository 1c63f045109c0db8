"""Every field of the configuration, at another value than its default, changes what a run fits or where it is told."""

import json
import shutil
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from configs.own_data import get_config as own_data_config
from seqfinal_jax.analysis.tables.comparisons import comparison_lines, smallest_difference
from seqfinal_jax.analysis.tables.results_table import joined_cells
from seqfinal_jax.config.parse import parse
from seqfinal_jax.config.schema import all_fields
from seqfinal_jax.data.base.sources import DATASETS
from seqfinal_jax.runs.loop import build_pool
from seqfinal_jax.runs.plan import augmentation_of
from tests.analysis.run_folders import make_run_folder
from tests.data.made_images import own_folder, own_source
from tests.data.toy_cifar import TINY100, toy_source
from tests.runs import make_plan, run, smoke_config

JOINT, TUNE, SIDE = {"methods": ("joint",)}, {"methods": ("erm_fine_tune",)}, {"side__layer_sizes": "block"}
ADAPTED = {**TUNE, "fine_tune__mode": "low_rank_adapt"}
EPOCHS = {"training__max_epochs": 12}
NOISY = {
    "methods": ("erm_all",), "training__max_epochs": 20, "training__patience": 2, "grid__learning_rate": (0.03,),
}  # fmt: skip
CHAINS = {
    "methods": ("sequential_fine_tune",), "training__max_epochs": 4, "grid__learning_rate": (0.03, 0.001),
    "seeds": (0, 1), "data__test_size": 200,
}  # fmt: skip
RESNET, DENSENET = {"architectures": ("resnet-1",)}, {"architectures": ("densenet-1",)}

# field: (its value, the fields that it needs, such as a method that reads it, and enough epochs for it to show)
CASES = {
    "name": ("other", {}),
    "methods": (("erm_all",), {}),
    "architectures": (("convnet-2",), {}),
    "seeds": ((1, 2), {}),
    "data_seed": (3, {}),
    "precision": ("bfloat16", {}),
    "protocol.input_scaling": ("raw", {}),
    "protocol.test_all_steps_draws": ("same_stream", {**JOINT, "data__test_all_steps": True}),
    "protocol.history_steps": ("all", {"methods": ("irm_fine_tune",)}),
    "protocol.decay_selection": ("test", CHAINS),
    "protocol.penalise_bn": ("by_name", {"methods": ("sequential_ewc",)}),
    "input_mean": ((0.5, 0.5, 0.5), {}),
    "input_std": ((0.5, 0.5, 0.5), {}),
    "oracle_size": (500, {"methods": ("oracle",)}),
    "data.shifts": ("rotation:rotation:rotation", {}),
    "data.source_size": (70, {"methods": ("erm_all",)}),
    "data.target_sizes": ((50, 60, 70), {}),
    "data.test_size": (60, {}),
    "data.disjoint": (True, {"methods": ("erm_all",)}),
    "data.test_all_steps": (True, JOINT),
    "network.stem_width": (6, {}),
    "network.widths": ((16,), {}),
    "network.strides": ((1,), {}),
    "network.width_factor": (0.5, {}),
    "network.block_relu": (True, {}),
    "network.units": (1, RESNET),
    "network.dense_layers": ((2,), DENSENET),
    "grid.learning_rate": ((2e-3,), {}),
    "grid.weight_decay": ((2e-3,), {}),
    "grid.adjacent": ((0.3,), ADAPTED),
    "grid.dropout": ((0.25,), {}),
    "joint_grid.learning_rate": ((2e-3,), JOINT),
    "joint_grid.weight_decay": ((2e-3,), JOINT),
    "joint_grid.adjacent": ((0.2,), JOINT),
    "joint_grid.dropout": ((0.25,), JOINT),
    "joint_grid.final_weight": ((0.7,), JOINT),
    "fine_tune.layers": ("fc-all", TUNE),
    "fine_tune.regularization": ("previous", TUNE),
    "fine_tune.mode": ("low_rank_adapt", TUNE),
    "fine_tune.ablate_init": (True, {**TUNE, "fine_tune__regularization": "previous"}),
    "fine_tune.fisher": ("per_sample", {"methods": ("sequential_ewc",)}),
    "fine_tune.freeze_batch_stats": (True, {**TUNE, "fine_tune__layers": "fc-all"}),
    "side.layer_sizes": ("8", {**TUNE, **RESNET, "fine_tune__mode": "side_tune"}),
    "adapter.mode": ("multiply", ADAPTED),
    "adapter.rank": (2, ADAPTED),
    "adapter.init": ("identity", ADAPTED),
    "all_layers_efficient": (True, {**TUNE, "fine_tune__mode": "side_tune", **SIDE}),
    "joint.mode": ("low_rank_adapt", JOINT),
    "joint.separate_layers": ("fc", JOINT),
    "joint.adjacent_penalty": ("l1", JOINT),
    "joint.penalty_by_time": (True, JOINT),
    "joint.increasing_loss_weights": (True, JOINT),
    "joint.loss_samples": ("nearest_neighbours", JOINT),
    "joint.ablate": (True, {**JOINT, "joint__mode": "side_tune", **SIDE}),
    "joint.sweep_efficient_penalty": (
        True,
        {**JOINT, **RESNET, "joint__mode": "side_tune", "side__layer_sizes": "8"},
    ),
    "joint.same_init_over_time": (True, JOINT),
    "joint.resume_to_epochs": (9, JOINT),
    "joint.resume_patience": (12, {**JOINT, "joint__resume_to_epochs": 9}),
    "joint.fisher": ("per_sample_ce", {**JOINT, "joint__adjacent_penalty": "l2_fisher"}),
    "training.max_epochs": (4, {}),
    "training.batch_size": (25, {}),
    "training.patience": (0, EPOCHS),
    "training.stop_on": ("previous", NOISY),
    "training.ties": ("first", {}),
    "training.least_updates": (30, {}),
    "training.patience_updates": (30, {**NOISY, "training__patience": 0}),
    "training.augmentation": ("crop", {}),
    "training.optimiser": ("sgd", {}),
    "training.schedule": ("cosine", {}),
    "sgd.momentum": ((0.5,), {"training__optimiser": "sgd"}),
    "sgd_nesterov.momentum": ((0.5,), {"training__optimiser": "sgd_nesterov"}),
    "search": ("halving", EPOCHS),
    "training.train_metrics": ("eval", {}),
    "training.init_per_grid_point": (True, {}),
    "training.normalise_time_weights": (True, {"methods": ("erm_all_weighted",)}),
}
RECORDED = {
    "data.image_size": 16,
    "data.grey": True,
    "data.steps": ("step2", "step1"),
    "data.split": (0.6, 0.2, 0.2),
    "data.split_seed": 4,
    "data.split_file": "split.csv",
    "data.white": 200.0,
    "data.keep": 0.5,
    "data.most_per_class": 3,
}


def outcome(workdir):
    """What a run found: the predictions of each cell, every epoch of its trainings, and its models of earlier steps."""
    found = {}
    for path in workdir.glob("cells/*/*/*/result.json"):
        result = json.loads(path.read_text())
        with np.load(path.parent / "predictions.npz") as stored:
            predictions = {name: stored[name].tobytes() for name in stored.files}
        steps = [(each["step"], each["test_accuracy"]) for each in result.get("steps", ())]
        history = (path.parent / "history.csv").read_text()
        found[path.parent.relative_to(workdir)] = (result["sequence"], predictions, history, steps)
    return found


@pytest.fixture(scope="module")
def outcome_of(tmp_path_factory):
    """Runs a configuration, each once."""

    @cache
    def ran(fields, overrides=()):
        workdir = tmp_path_factory.mktemp("run") / "run"
        assert (
            run(smoke_config(**dict(fields)), workdir, overrides=overrides, console=Console(quiet=True)) == 0
        )
        return outcome(workdir)

    return ran


def test_every_field_has_its_case():
    assert {field.name for field in all_fields()} == {*CASES, *RECORDED, *OTHERS}


@pytest.mark.rare
@pytest.mark.parametrize("field", CASES)
def test_a_field_that_is_set_on_the_command_line_changes_results(field, outcome_of):
    value, others = CASES[field]
    others = {"methods": ("erm_final",), **others}
    if field == "methods":
        del others["methods"]
    plain = tuple(others.items())
    assert outcome_of((*plain, (field.replace(".", "__"), value)), (field,)) != outcome_of(plain)


PRESETS = {
    "network.strides": ((2,), {}), "network.widths": ((512,), {}), "network.stem_width": (64, {}),
    "network.dense_layers": ((16,), DENSENET),
}  # fmt: skip


@pytest.mark.parametrize("field", PRESETS)
def test_a_field_that_equals_the_preset_is_no_other_run(field):
    value, others = PRESETS[field]
    others = {"methods": ("erm_final",), "network__width_factor": 1.0, **others}
    given = make_plan(smoke_config(**others, **{field.replace(".", "__"): value}), overrides=(field,))
    assert list(given.cells()) == list(make_plan(smoke_config(**others)).cells())
    assert given.keys == make_plan(smoke_config(**others)).keys


@pytest.mark.parametrize("field", RECORDED)
def test_a_field_of_recorded_data_changes_the_samples(field, tmp_path, monkeypatch):
    monkeypatch.setenv("SEQFINAL_CACHE_DIR", str(tmp_path / "cache"))
    folder = own_folder(tmp_path / "data", count=10)
    (tmp_path / "split.csv").write_text("file,part\nstep2/cat/0.png,test\n")
    plain, changed = own_data_config("smoke"), own_data_config("smoke")
    section, name = field.split(".")
    value = str(tmp_path / RECORDED[field]) if field == "data.split_file" else RECORDED[field]
    if field == "data.grey":
        changed.input_mean, changed.input_std = (0.449,), (0.226,)
    changed[section][name] = value
    plans = [
        make_plan(each, str(folder), overrides) for each, overrides in ((plain, ()), (changed, (field,)))
    ]
    assert samples(plans[0]) != samples(plans[1])


def samples(plan):
    return samples_of(plan.source.build("main", 0))


def samples_of(sequence):
    """Every image and label of a sequence, in order."""
    splits = [getattr(step, name) for step in sequence.steps for name in ("train", "valid", "test")]
    return [(each.images.shape, each.images.tobytes(), each.labels.tobytes()) for each in splits if each]


def planned(folder, **fields):
    """The cells that a configuration plans, or its error."""
    try:
        plan = make_plan(smoke_config(**fields))
        return [(place, plan.key(place[0], plan.node(*place[:2]))) for place in plan.cells()]
    except ValueError as error:
        return str(error)


def recorded(folder, **data):
    """The samples of own images in dated folders, one of which is twice there, or the error."""
    own_folder(folder, ("2019-01", "2019-02", "2020-01", "2020-02"))
    shutil.copy(folder / "2020-02" / "cat" / "0.png", folder / "2019-01" / "cat" / "copy.png")
    try:
        return samples_of(own_source(folder, **data).build("main", 0))
    except ValueError as error:
        return str(error)


def drawn(folder, **fields):
    """The samples of a sub-population shift of made-up images in classes and sub-classes."""
    source = replace(toy_source(replace(TINY100, train_count=2000, test_count=1000)), name="toy100")
    DATASETS.add("toy100", lambda data_dir: source, origin=__file__)
    try:
        return samples(
            make_plan(smoke_config(data__dataset="toy100", data__shifts="subpop:none:none", **fields))
        )
    finally:
        DATASETS.forget(__file__)


def flipped(folder, **fields):
    """The augmentation of a run of images of a user's own, or the error."""
    own = SimpleNamespace(name="own_data", image_shape=(16, 16, 3))
    try:
        return augmentation_of(parse(smoke_config(training__augmentation="crop_flip", **fields)), own).mirrors
    except ValueError as error:
        return str(error)


def matched(folder, **fields):
    """The images of a run whose earlier samples are matched, or the error."""
    try:
        return len(build_pool(make_plan(smoke_config(**fields)), (0,)).images)
    except ValueError as error:
        return str(error)


def compared(folder, analysis__smallest_difference=1.0):
    """A comparison whose difference is 5 points."""
    accuracies = {("erm_final", "convnet-1", seed): 0.5 + seed / 100 for seed in range(8)}
    accuracies |= {("erm_all", "convnet-1", seed): 0.55 + seed / 100 for seed in range(8)}
    run_folder = make_run_folder(folder, accuracies)
    config = json.loads((run_folder / "config.json").read_text())
    config["analysis"] = {"smallest_difference": analysis__smallest_difference}
    (run_folder / "config.json").write_text(json.dumps(config))
    return comparison_lines(joined_cells([run_folder]), "erm_final", smallest_difference(run_folder))


WHOLE_RESNET = {"architectures": ("resnet-4",), "network__width_factor": 1.0}
JOINT_MATCHED = {**JOINT, "joint__loss_samples": "optimal_matching"}
# field: (its value, what is looked at, the fields that it needs, a word of the changed outcome)
OTHERS = {
    "plugins": (("broken.py",), planned, {}, "broken.py"),
    "data.dataset": ("own_images", planned, {}, "own_images: name the folder"),
    "data.period": ("year", recorded, {}, ""),
    "data.duplicates": ("refuse", recorded, {}, "'refuse' accepts none"),
    "data.mirror_keeps_class": (True, flipped, {}, ""),
    "data.most_megapixels": (1e-5, recorded, {}, "more than 1e-05 million"),
    "protocol.subpop_sizes": ("released", drawn, {}, ""),
    "joint.matching_memory_gib": (1e-9, matched, JOINT_MATCHED, "matching_memory_gib = 1e-09"),
    "pretrained.resnet18": ("none.npz", planned, WHOLE_RESNET, "there is no file"),
    "pretrained.checkpoint": ("none.npz", planned, {}, "there is no file or folder"),
    "analysis.smallest_difference": (6.0, compared, {}, "none"),
}


@pytest.mark.parametrize("field", OTHERS)
def test_a_field_without_a_run_changes_what_is_looked_at(field, tmp_path, monkeypatch):
    """That the results of these are right is tested where each belongs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQFINAL_DATA_DIR", raising=False)
    value, looked_at, others, word = OTHERS[field]
    name = field.rpartition(".")[2] if looked_at is recorded else field.replace(".", "__")
    found = []
    for place, fields in (("plain", others), ("changed", {**others, name: value})):
        monkeypatch.setenv("SEQFINAL_CACHE_DIR", str(tmp_path / f"cache-{place}"))
        found.append(looked_at(tmp_path / place, **fields))
    plain, changed = found
    assert changed != plain
    if word:
        assert word in str(changed) and word not in str(plain)
