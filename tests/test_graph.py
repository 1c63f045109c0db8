"""The graph of a run's tasks, what of it is left to do, and how failures travel through it."""

from functools import partial

import pytest

from seqfinal_jax.methods.nodes import Choice, all_nodes
from seqfinal_jax.methods.stages import compute
from seqfinal_jax.results.run_folder import cell_folders, read_result
from seqfinal_jax.results.store import Cell, Store
from seqfinal_jax.runs import loop
from seqfinal_jax.runs.claims import Busy
from seqfinal_jax.runs.graph import is_stored, pending, tasks, together
from tests.runs import make_plan, run, smoke_config, smoke_run

TWO = {"methods": ("erm_fine_tune", "sequential_fine_tune"), "seeds": (0, 3), "grid__dropout": (0.0,)}
TUNED = {"methods": ("erm_fine_tune",), "grid__dropout": (0.0,), "training__max_epochs": 2}


@pytest.fixture(scope="module")
def graph():
    plan = make_plan(smoke_config(**TWO))
    return plan, tasks(plan, plan.cells())


def test_every_task_stands_once_and_after_all_that_it_needs(graph):
    plan, found = graph
    assert len(set(found)) == len(found)
    places = {task: place for place, task in enumerate(found)}
    assert all(places[need] < places[task] for task in found for need in task.needs)
    nodes = {node for method in plan.methods for node in all_nodes(plan.node("convnet-1", method))}
    keys = {(plan.key("convnet-1", node), seed) for node in nodes for seed in (0, 3)}
    assert {(task.key, task.seed) for task in found if not task.method} == keys
    assert [task.cell for task in found if task.method] == [
        ("convnet-1", method, seed) for method in TWO["methods"] for seed in (0, 3)
    ]


def test_the_seeds_of_a_node_are_one_group_or_each_their_own(graph):
    _, found = graph
    assert {len(group) for group in together(found, seeds=True)} == {2}
    assert together(found, seeds=False) == [(task,) for task in found]


def test_what_is_left_is_what_incomplete_cells_need(tmp_path):
    smoke_run(tmp_path, **TUNED)
    plan = make_plan(smoke_config(**TUNED))
    whole, store = tasks(plan, plan.cells()), Store(tmp_path)
    stored = partial(is_stored, store=store)
    history, _, cell = whole
    assert pending(whole, stored) == []
    (store.place(history.key, 0) / "meta.json").unlink()
    assert pending(whole, stored) == []  # the cell is complete without it
    (store.cell_folder(cell.cell) / "result.json").unlink()
    assert pending(whole, stored) == [history, cell]


def test_a_choice_stores_its_winner_and_a_diverged_candidate_does_not_fail_it(tmp_path, monkeypatch):
    fields = {"methods": ("sequential_fine_tune",), "grid__dropout": (0.0,), "training__max_epochs": 1}
    plan = make_plan(smoke_config(**fields))
    whole = tasks(plan, plan.cells())
    last = next(task for task in whole if isinstance(task.node, Choice) and task.key == whole[-1].key)
    fit = compute._fit

    lost = {task.key for task in (last.needs[0], *last.needs[0].needs)}

    def diverges(context, stage, seeds):
        if context.key(stage) in lost:
            return {seed: compute.diverged(context, stage, seed) for seed in seeds}
        return fit(context, stage, seeds)

    monkeypatch.setattr(compute, "_fit", diverges)
    assert run(smoke_config(**fields), tmp_path) == 0
    store, found = Store(tmp_path), last
    assert [store.has(need.key, 0) for need in last.needs] == [False, True, True]
    assert store.choice(last.key, 0) in (1, 2)
    while isinstance(found.node, Choice):  # a candidate is a choice itself
        found = found.needs[store.choice(found.key, 0)]
    [cell] = cell_folders(tmp_path)
    assert read_result(cell)["stages"][-1]["fingerprint"] == found.key


def test_a_choice_fails_where_every_candidate_diverged(tmp_path, monkeypatch):
    fields = {"methods": ("sequential_fine_tune",), "grid__dropout": (0.0,), "training__max_epochs": 1}

    def diverges(context, stage, seeds):
        return {seed: compute.diverged(context, stage, seed) for seed in seeds}

    monkeypatch.setattr(compute, "_fit", diverges)
    assert run(smoke_config(**fields), tmp_path) == 1
    assert "became non-finite at every grid point" in next(tmp_path.glob("cells/*/*/*/error.txt")).read_text()


def test_a_stage_that_is_damaged_when_it_is_needed_is_fitted_again(tmp_path, caplog):
    smoke_run(tmp_path / "whole", **TUNED)
    smoke_run(tmp_path / "run", **TUNED)
    [cell] = cell_folders(tmp_path / "run")
    (cell.path / "result.json").unlink()
    history = next((tmp_path / "run").glob("stages/history-*/seed0/arrays.npz"))
    history.write_bytes(history.read_bytes()[:-1] + b"x")
    smoke_run(tmp_path / "run", **TUNED)
    assert "damaged and will be fitted again" in caplog.text
    kept = next((tmp_path / "whole").glob("stages/history-*/seed0/arrays.npz"))
    assert history.read_bytes() == kept.read_bytes()
    assert (cell.path / "result.json").read_bytes() == next(
        (tmp_path / "whole").glob("cells/*/*/*/result.json")
    ).read_bytes()


class Locked:
    """Locks that another process has at the first attempts at a stage; meanwhile it fails at a cell."""

    waits = 0.0

    def __init__(self, claims, store, cell, attempts=2):
        self.claims, self.store, self.cell, self.left = claims, store, cell, attempts

    def hold(self, names, what=""):
        if self.left:
            self.left -= 1
            self.store.fail_cell(self.cell, RuntimeError("failed there"))
            raise Busy(names[0])
        return self.claims.hold(names, what)


def test_a_cell_that_another_process_failed_at_does_not_end_the_others(tmp_path, monkeypatch):
    """Once its cell has failed elsewhere, nobody needs a stage that was locked."""
    fields = {"methods": ("erm_fine_tune", "erm_final"), "grid__dropout": (0.0,), "training__max_epochs": 1}
    made = loop.Claims
    lost = Cell("convnet-1", "erm_fine_tune", 0)
    claims = made(tmp_path)
    locked = Locked(claims, Store(tmp_path), lost, attempts=3)
    locked.clear_dead = claims.clear_dead
    monkeypatch.setattr(loop, "Claims", lambda workdir: locked)
    assert run(smoke_config(**fields), tmp_path) == 1
    assert Store(tmp_path).failed_since(lost, 0)
    assert [cell.method for cell in cell_folders(tmp_path) if (cell.path / "result.json").exists()] == [
        "erm_final"
    ]
    assert not list(tmp_path.glob("stages/history-*/seed*"))


def test_a_result_is_read_once_and_again_after_it_was_replaced(tmp_path, monkeypatch):
    from seqfinal_jax.results import run_folder

    smoke_run(tmp_path, **TUNED)
    [cell] = cell_folders(tmp_path)
    reads, read_json = [], run_folder.read_json
    monkeypatch.setattr(
        run_folder, "read_json", lambda path, advice: reads.append(path) or read_json(path, advice)
    )
    first = read_result(cell)
    assert read_result(cell) is first and len(reads) == 1
    path = cell.path / "result.json"
    run_folder.write_whole(path, path.read_text())
    assert read_result(cell) == first and len(reads) == 2
