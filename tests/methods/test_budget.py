"""A budget in updates, controls of equal length, and which epoch is the best: worked examples."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seqfinal_jax.api import load_config, run
from seqfinal_jax.config import apply_presets, base_config
from seqfinal_jax.config.build import BUDGET, settle_budget
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.nodes import all_stages
from seqfinal_jax.methods.recipes import METHODS, default_row, published_row
from seqfinal_jax.methods.recipes.fine_tune import history_stage
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.methods.stages.fingerprint import node_fingerprint
from seqfinal_jax.methods.stages.network import minibatches, stage_rule
from seqfinal_jax.methods.stages.training import Budget, Training
from seqfinal_jax.models import NetworkConfig, build_network
from seqfinal_jax.training.engine.early_stopping import StopRule, Track
from seqfinal_jax.training.objectives.risk import InputScaling
from tests.runs import make_plan, smoke_config, smoke_run

NETWORK = build_network("convnet-1", 10, NetworkConfig(width_factor=0.0625))
# 16 minibatches of 100 at the final step, 64 over the history, as in cifar10_rcl:quick.
SAMPLES = (("main", (2400, 1600, 2400, 1600)),)
IDENTITY = {"main": "images"}


def training(least=0, patience=0, **rule) -> Training:
    rule = StopRule(**{"max_epochs": 20, "stop_on": "best", "ties": "loss", **rule})
    return Training(rule, 100, InputScaling(), budget=Budget(least, patience), samples=SAMPLES)


def node(method, **options):
    return METHODS.get(method).build(Setting(4, Grid((1e-3,), (1e-4,), (), (0.0, 0.5)), **options))


def fingerprint(method, given):
    return node_fingerprint(node(method), NETWORK, given, IDENTITY)


def test_updates_are_counted_from_the_longest_stream():
    given = training()
    assert minibatches(node("erm_final"), given) == 16
    assert minibatches(history_stage(Setting(4, Grid())), given) == 64
    assert minibatches(node("joint"), given) == 24
    assert minibatches(node("dro_all"), given) == 24
    short = replace(given, samples=(("main", (2400, 1600, 2400, 101)),))
    assert minibatches(node("erm_final"), short) == 2


def test_a_budget_below_the_epochs_changes_nothing_and_one_above_allows_more():
    assert fingerprint("erm_final", training(320)) == fingerprint("erm_final", training())
    assert fingerprint("erm_final", training(321)) != fingerprint("erm_final", training())
    assert stage_rule(node("erm_final"), training(321)).max_epochs == 21
    assert stage_rule(history_stage(Setting(4, Grid())), training(1280)).max_epochs == 20
    assert stage_rule(history_stage(Setting(4, Grid())), training(1281)).max_epochs == 21


def test_patience_in_updates_is_rounded_up_and_the_fit_stops_after_it():
    rule = stage_rule(node("erm_final"), training(4000, 100))
    assert (rule.patience, rule.max_epochs) == (7, 250)
    track, loss, finite = Track.fresh(1), np.ones(1), np.ones(1, bool)
    for epoch in range(20):
        rule.update(track, epoch, np.array([0.5 if epoch else 0.4]), loss + epoch, finite)
    assert track.best_epoch[0] == 1 and track.stop_epoch[0] == 9  # the eighth epoch without improvement
    assert stage_rule(node("erm_final"), training(0, 80)).patience == 5
    assert fingerprint("erm_final", training(0, 80)) == fingerprint("erm_final", training())


def test_a_stages_own_smaller_number_of_epochs_stays():
    search = replace(node("erm_final"), max_epochs=5)
    assert stage_rule(search, training(4000)).max_epochs == 5


def test_the_control_is_allowed_what_lp_ft_is_allowed_together():
    """History 63 epochs of 64 updates, probe and fine-tuning 250 of 16 each: 4,032 + 8,000, or 752 epochs of 16."""
    given = training(4000, 100)
    rule = stage_rule(node("erm_final_long"), given)
    assert rule.max_epochs == rule.patience == 752
    assert stage_rule(node("erm_final_long"), training()).max_epochs == (20 * 64 + 2 * 20 * 16) // 16
    assert node_fingerprint(node("erm_final_long"), NETWORK, given, IDENTITY) != fingerprint(
        "erm_final", given
    )


def test_the_linear_probe_is_the_first_stages_of_lp_ft_by_fingerprint():
    def prints(method):
        return [node_fingerprint(s, NETWORK, training(), IDENTITY) for s in all_stages(node(method))]

    assert prints("linear_probe") == prints("erm_linear_probe_fine_tune")[:2]
    assert all_stages(node("linear_probe"))[-1].layers == (("fc",),)


def test_a_run_that_names_no_methods_has_the_controls_and_the_published_row_does_not():
    assert set(default_row()) - set(published_row()) == {"erm_final_long", "linear_probe"}
    row = default_row()
    assert row.index("erm_final_long") == row.index("erm_final") + 1
    assert row.index("linear_probe") + 1 == row.index("erm_linear_probe_fine_tune")


def test_only_fits_that_begin_with_weights_of_another_fit_may_keep_their_start():
    may = {method: stage_rule(all_stages(node(method))[-1], training()).start for method in METHODS}
    assert {name for name, allowed in may.items() if allowed} == {
        "erm_fine_tune", "irm_fine_tune", "dro_fine_tune", "erm_linear_probe_fine_tune", "linear_probe",
        "sequential_fine_tune", "sequential_fine_tune_none", "sequential_fine_tune_linear",
        "sequential_fine_tune_exponential", "sequential_ewc",
    }  # fmt: skip
    assert stage_rule(node("erm_final"), training(ties="first")).start


def best(accuracies, losses, **rule):
    rule = StopRule(
        max_epochs=len(accuracies) - 1, patience=99, **{"ties": "loss", "stop_on": "best", **rule}
    )
    track = Track.fresh(1)
    for epoch, figures in enumerate(zip(accuracies, losses, strict=True)):
        rule.update(track, epoch, *(np.array([figure]) for figure in figures), np.ones(1, bool))
    return int(track.best_epoch[0]), int(track.misses[0])


def test_ties_by_hand():
    accuracies, losses = [0.5, 0.6, 0.6, 0.6, 0.6, 0.4], [1.0, 0.9, 0.8, 0.8, 0.9, 0.1]
    assert best(accuracies, losses) == (3, 2)  # lowest loss, the later of equal ones
    assert best(accuracies, losses, ties="first") == (1, 4)
    assert best(accuracies, losses, stop_on="previous") == (3, 2)
    assert best([0.9, 0.2, 0.3], [0.1, 1.0, 1.0]) == (0, 2)
    assert best([0.9, 0.2, 0.3], [0.1, 1.0, 1.0], start=False) == (2, 0)


def rows(folder: Path, method: str) -> list[dict[str, str]]:
    text = (folder / "cells" / method / "convnet-1" / "seed0" / "history.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


@pytest.fixture(scope="module")
def lengths(tmp_path_factory):
    """The final step alone, allowed 2 and 3 epochs, and the control."""
    folder = tmp_path_factory.mktemp("lengths")
    common = {"methods": ("erm_final", "erm_final_long"), "grid__dropout": (0.5,), "training__patience": 99}
    smoke_run(folder / "short", **common)
    smoke_run(folder / "long", **common, training__least_updates=6)
    return folder


def test_the_first_epochs_of_a_longer_fit_have_the_bits_of_the_shorter(lengths):
    short = rows(lengths / "short", "erm_final")
    for longer in (rows(lengths / "long", "erm_final"), rows(lengths / "short", "erm_final_long")):
        assert len(longer) > len(short) and longer[: len(short)] == short


def test_a_number_of_epochs_that_is_asked_for_is_meant():
    given = load_config("cifar10_rcl:quick")
    assert (given.training.max_epochs, given.training.least_updates) == (20, BUDGET["least_updates"])
    said = settle_budget(given, ("training.max_epochs",))
    assert given.training.least_updates == 0 and "config.training.max_epochs = 20" in said[0]
    assert given.training.patience_updates == BUDGET["patience_updates"]
    both = load_config("cifar10_rcl:quick")
    assert settle_budget(both, ("training.max_epochs", "training.least_updates")) == []
    assert both.training.least_updates == BUDGET["least_updates"]


def test_a_file_of_a_users_own_means_its_epochs_too():
    own = base_config("mine", "digits", "rotation", 200, (200,), 100)
    own.training.max_epochs, own.training.patience = 50, 7
    assert len(settle_budget(own)) == 2
    assert own.training.least_updates == own.training.patience_updates == 0


def test_the_released_protocol_trains_as_published():
    released = load_config("cifar10_rcl:released").training
    assert (released.least_updates, released.patience_updates, released.max_epochs) == (0, 0, 100)
    assert (released.stop_on, released.ties, released.patience) == ("previous", "first", 5)
    assert load_config("cifar10_rcl:smoke").training.least_updates == 0


@pytest.mark.parametrize("value", [-1, 1.5])
@pytest.mark.parametrize("field", ["least_updates", "patience_updates"])
def test_budgets_that_are_none_are_refused(field, value):
    given = base_config("mine", "digits", "rotation", 200, (200,), 100)
    with given.ignore_type():
        given.training[field] = value
    with pytest.raises(ValueError, match=f"config.training.{field}: expected a whole number from 0 on"):
        make_plan(given)


def test_searches_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"config.search: expected grid or halving, found 'halvin'.*halving"):
        make_plan(smoke_config(search="halvin"))
    alone = smoke_config(methods=("erm_final",), grid__dropout=(0.5,), search="halving")
    with pytest.raises(ValueError, match=r"config.search = 'halving' needs a stage with two grid points"):
        make_plan(alone)


def test_presets_keep_what_a_file_sets():
    own = base_config("mine", "digits", "rotation", 200, (200,), 100)
    own.training.update({"max_epochs": 10, "least_updates": 77})
    assert apply_presets(own, "quick").training.least_updates == 77


@pytest.mark.slow
def test_epochs_that_are_set_on_a_loaded_configuration_are_meant(tmp_path):
    given = load_config("digits_rcl", methods=("erm_final",), seeds=(0,))
    given.training.max_epochs = given.training.patience = 2
    table = run(given, tmp_path)
    assert list(table["stop_epoch"]) == [2]
