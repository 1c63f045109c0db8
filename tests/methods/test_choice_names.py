"""Names of a choice's candidates: what is refused, and what a cell tells of choices and axes before its last search."""

from types import SimpleNamespace

import pytest

from seqfinal_jax.methods import Axis, Choice, Stage, Transform
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.method import Method
from seqfinal_jax.methods.stages.context import Context
from seqfinal_jax.methods.stages.fingerprint import node_fingerprint
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.runs import write_cells
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.objectives.risk import InputScaling
from tests.training.tiny import tiny_network

GRID = Grid((1e-3,), (1e-4,))


def stage(name, **fields):
    return Stage(name, "final", (3,), (3,), GRID, **fields)


BOTH = (stage("one"), stage("two"))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (({"k": 1},), "2 candidates has 1 names"),
        (({"k": 1}, {}), "candidate 1 has no name"),
        (({"member": 1}, {"member": 2}), "'member' is a column of every grid"),
        (({"learning_rate": 1}, {"learning_rate": 2}), "'learning_rate' is a column of every grid"),
    ],
)
def test_names_that_would_not_fit_into_a_table_are_refused(names, said):
    with pytest.raises(ValueError, match=said):
        Choice(BOTH, names=names)


def winner(**values):
    return SimpleNamespace(winner={"member": 0, "layers": "all", "learning_rate": 1e-3, **values})


@pytest.mark.parametrize("last", ["stage", "transform"])
def test_axes_and_names_before_the_last_search_are_told(last, monkeypatch):
    """An axis of an earlier stage, and a choice below it, seen from a stage or from a transformation."""
    choice = Choice(BOTH, names=({"k": 1}, {"k": 2}))
    earlier = stage("earlier", start=choice)
    end = (
        stage("end", start=earlier)
        if last == "stage"
        else Transform(write_cells.write_cell, (earlier, BOTH[0]))
    )
    own = Method("mine", lambda setting: end, "M", "m", "own", axes=(Axis("alpha", (0.1,)),))
    monkeypatch.setattr(write_cells, "METHODS", {"mine": own})
    context = SimpleNamespace(chosen=lambda node, seed: seed)
    context.choices = lambda node, seed: Context.choices(context, node, seed)
    chain = {BOTH[1]: winner(), earlier: winner(alpha=0.1, momentum=0.9), end: winner(share=0.5)}
    found = write_cells._values_before(SimpleNamespace(method="mine", node=end), context, chain, 1)
    assert found == {"alpha": 0.1, "k": 2}


def test_a_name_is_part_of_the_fingerprint_and_its_absence_is_not():
    """As what a cell tells of a choice is."""
    training = Training(StopRule(), 10, InputScaling(), samples=(("main", (10,) * 4),))
    found = [
        node_fingerprint(Choice(BOTH, names=names), tiny_network(), training, {"main": "data"})
        for names in ((), ({"k": 1}, {"k": 2}), ({"k": 1}, {"k": 3}))
    ]
    assert len(set(found)) == 3
