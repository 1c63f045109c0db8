"""How long stages were trained, as a run records it."""

import json
from types import SimpleNamespace

import pytest

from seqfinal_jax.methods.nodes import Resume, Stage, Transform, all_stages
from seqfinal_jax.runs.stage_lengths import stage_lengths
from tests.runs import make_plan, smoke_config, smoke_run


def test_a_run_records_updates_and_late_gains(tmp_path):
    """80 training samples a step in minibatches of 40: six updates an epoch of history, two of the final step."""
    smoke_run(tmp_path, methods=("erm_fine_tune",), training__max_epochs=4, grid__dropout=(0.0,))
    folder = tmp_path / "cells" / "erm_fine_tune" / "convnet-1" / "seed0"
    result = json.loads((folder / "result.json").read_text())
    stages = result["stages"]
    assert [(s["epochs_allowed"], s["stop_epoch"], s["updates"]) for s in stages] == [(4, 4, 24), (4, 4, 8)]
    rows = [line.split(",") for line in (folder / "history.csv").read_text().splitlines()]
    place = rows[0].index("valid_accuracy")
    for stage in stages:
        curve = [float(row[place]) for row in rows[1:] if row[0] == stage["stage"]]
        assert stage["late_gain"] == pytest.approx(curve[4] - curve[3])
    assert result["late_gain"] == max(stage["late_gain"] for stage in stages)


def trained(epochs, curve):
    """A result whose second grid point won."""
    history = [{"member": 0, "valid_accuracy": 0.9} for _ in range(epochs + 1)]
    history += [{"member": 1, "valid_accuracy": value} for value in curve]
    return SimpleNamespace(winner={"member": 1, "stop_epoch": epochs}, history=history)


def test_transformations_take_the_late_gain_of_their_inputs_and_resumed_stages_count_their_own_updates():
    plan = make_plan(smoke_config(methods=("erm_fine_tune",), training__max_epochs=4))
    history, tuned = all_stages(plan.node("convnet-1", "erm_fine_tune"))
    resumed = Stage(
        history.name, "final", history.train, history.valid, history.grid, start=history, resume=Resume(6, 5)
    )
    average = Transform(max, (history, tuned))
    results = {
        history: trained(4, [0.1, 0.2, 0.3, 0.4, 0.6]), tuned: trained(3, [0.1, 0.2, 0.3, 0.9]),
        average: trained(0, [0.5]), resumed: trained(6, [0.1, 0.2, 0.3, 0.4, 0.6, 0.6, 0.5]),
    }  # fmt: skip
    context = SimpleNamespace(
        training=plan.training,
        resolve=lambda node, seed: node,
        result=lambda node, seed: results[node],
    )
    found = stage_lengths(context, results, 0)
    assert found[history]["late_gain"] == pytest.approx(0.2) and found[history]["updates"] == 24
    assert found[tuned] == {"epochs_allowed": 4, "updates": 6, "late_gain": 0.0}  # it stopped early
    assert found[average] == {"epochs_allowed": 0, "updates": 0, "late_gain": found[history]["late_gain"]}
    assert found[resumed]["updates"] == 12 and found[resumed]["late_gain"] == pytest.approx(-0.1)
