"""A fit that is interrupted goes on with identical results, on any number of devices."""

import os
import subprocess
import sys

import numpy as np
import pytest

from seqfinal_jax.results.checkpoints import ProgressStore, SaveBudget
from seqfinal_jax.training.engine.fit import fit
from tests.training.tiny import assert_equal, grid, settings, tiny_problem


class Killed(Exception):
    pass


def killed_at(calls):
    """A reporter that ends the fit at its n-th call."""
    count = 0

    def report(chunk, members):
        nonlocal count
        count += 1
        if count == calls:
            raise Killed

    return report


def everything(results):
    names = ("best", "last", "optimiser", "history", "best_accuracy", "best_epoch", "stop_epoch", "failed")
    return [{name: getattr(result, name) for name in names} for result in results]


@pytest.fixture
def store(tmp_path):
    return ProgressStore(tmp_path / "progress", SaveBudget(share=1e9))


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param({"members_per_program": 1}, id="one"),
        pytest.param({"members_per_program": 8, "vectorise": "vmap"}, id="vmap", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("kept", [{"keep_all": True}, {"keep_all": False}], ids=["all", "winners"])
def test_a_resumed_fit_equals_an_unbroken_one(store, chunk, kept):
    chosen = settings(9, patience=1, **chunk, **kept)
    members = grid((0,))
    unbroken = fit(tiny_problem(), members, chosen)
    for calls in (2, 1, 1):
        with pytest.raises(Killed):
            fit(tiny_problem(), members, chosen, killed_at(calls), store)
    resumed = fit(tiny_problem(), members, chosen, None, store)
    assert_equal(everything(resumed), everything(unbroken))


def test_what_is_saved_is_used(store):
    """After a fit that was saved to its end nothing is trained again."""
    members = grid((0,))
    fit(tiny_problem(), members, settings(3), None, store)
    fit(tiny_problem(), members, settings(3), killed_at(1), store)


def test_a_damaged_state_is_reported_and_not_used(store, caplog):
    members = grid((0,))[:1]
    unbroken = fit(tiny_problem(), members, settings(4))
    with pytest.raises(Killed):
        fit(tiny_problem(), members, settings(4), killed_at(3), store)
    for path in store.folder.rglob("arrays.npz"):
        path.write_bytes(path.read_bytes()[:-3] + b"xyz")
    resumed = fit(tiny_problem(), members, settings(4), None, store)
    assert "cannot be used" in caplog.text
    assert_equal(everything(resumed), everything(unbroken))


def test_saving_keeps_to_its_budget(tmp_path):
    budget = SaveBudget(share=0.05)
    assert budget.due()
    budget.charge(10.0)
    assert not budget.due()


DEVICES = """
import jax
from seqfinal_jax.training.engine import programs
from seqfinal_jax.training.engine.fit import fit
from tests.training.test_resume import everything
from tests.training.tiny import assert_equal, grid, settings, tiny_problem

devices = tuple(jax.devices())
assert len(devices) == 4
one = fit(tiny_problem(), grid(), settings(3, members_per_program=2, devices=devices[:1]))
used = set()
report = lambda chunk, members: used.update(jax.tree.leaves(chunk.state)[0].devices())
four = fit(tiny_problem(), grid(), settings(3, members_per_program=2, devices=devices), report)
assert_equal(everything(one), everything(four))
assert len(used) > 1, used
used, chunks = set(), set()  # room for all members in one program, and yet every device has its share
def seen(chunk, members):
    used.update(jax.tree.leaves(chunk.state)[0].devices())
    chunks.add(tuple(sorted(int(row) for row in chunk.rows if row >= 0)))
members = grid()
fit(tiny_problem(), members, settings(1, members_per_program=16, vectorise="vmap", devices=devices), seen)
assert len(used) == len(chunks) == 4, (used, chunks)
assert sorted(row for chunk in chunks for row in chunk) == list(range(len(members)))
print("same bits on", len(used), "devices")
"""


@pytest.mark.slow
def test_the_number_of_devices_changes_no_bit():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    environment = {**os.environ, "XLA_FLAGS": flags}
    done = subprocess.run(
        [sys.executable, "-c", DEVICES], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "same bits on" in done.stdout


def test_what_a_kill_left_of_a_state_goes_with_it_and_others_stay(store):
    """A killed write leaves a folder beside its place, as `tempfile.mkdtemp` names it."""
    for member in ("one", "other"):
        store.save(member, {"x": np.ones(2)}, {"running": True, "epoch": 1})
        (store.folder / f".{member}.w5s530pt").mkdir()
    store.clear(["one"])
    assert {path.name for path in store.folder.iterdir()} == {"other", ".other.w5s530pt"}
    store.clear(["other"])
    assert not store.folder.exists()
