"""Every family with every wrapper trains an epoch on digits through the engine, and what is frozen stays."""

from functools import lru_cache

import jax
import numpy as np
import pytest

from seqfinal_jax.data.base.digits import load_digits
from seqfinal_jax.models import Adapter, NetworkConfig, build_network, build_steps, init_steps, init_variables
from seqfinal_jax.models.per_step.start import start_from_single
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import FitSettings, MemberSpec, Problem
from seqfinal_jax.training.engine.programs import mask_groups
from seqfinal_jax.training.engine.streams import EvaluationSet, Stream, epoch_batches, shuffled
from seqfinal_jax.training.objectives.last_step import LastStep
from seqfinal_jax.training.objectives.risk import EmpiricalRisk, InputScaling

SCALING = InputScaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NARROW = {
    "convnet": NetworkConfig(width_factor=0.0625),
    "resnet": NetworkConfig(width_factor=0.0625, units=1),
    "densenet": NetworkConfig(width_factor=0.0625, dense_layers=(2, 1)),
}
WRAPPERS = {
    "side": {"mode": "side_tune"},
    "side_block": {"mode": "side_tune", "side": "block"},
    "add": {"mode": "low_rank_adapt", "adapter": Adapter("add", 1)},
    "multiply": {"mode": "low_rank_adapt", "adapter": Adapter("multiply", 1)},
}
CASES = [(f, w) for f in NARROW for w in WRAPPERS if (f, w) != ("convnet", "side")]


@lru_cache
def digits():
    source = load_digits()
    return {"images": source.train_images[:130], "labels": source.train_labels[:130].astype(np.int32)}


def train(objective, start, masks, epochs=1):
    """Two members, without and with dropout, on 90 samples, so that the last minibatch is short."""
    rows = np.arange(90)
    problem = Problem(
        objective=objective,
        data=digits(),
        batches=lambda seed, epoch: epoch_batches([Stream(0, rows)], shuffled(seed, "final"), epoch, 40),
        evaluation=lambda seed: {"valid": EvaluationSet(0, np.arange(90, 130))},
        start=lambda member: start,
        role="final",
    )
    hyper = {"learning_rate": 1e-3, "weight_decay": 1e-4, "adjacent": 0.1}
    members = [MemberSpec(0, {**hyper, "dropout": p}, masks, group=p) for p in (0.0, 0.5)]
    return fit(problem, members, FitSettings(StopRule(epochs), keep_all=True))


def check(results, start, masks, frozen_stats):
    """Frozen parameters are the same bits, the others moved; statistics moved unless frozen; all is finite."""
    ones = mask_groups(jax.tree.map(np.ones_like, start["params"]), jax.tree.map(np.asarray, masks))
    for result in results:
        assert not result.failed
        assert np.isfinite(result.history["train_loss"][1])
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.last["params"]))
        moved = 0
        for kept, old, new in zip(
            *map(jax.tree.leaves, (ones, start["params"], result.last["params"])), strict=True
        ):
            np.testing.assert_array_equal(np.where(kept, 0, new), np.where(kept, 0, old))
            moved += np.any(new != old)
        assert moved > 0
        pairs = zip(*map(jax.tree.leaves, (frozen_stats(start), frozen_stats(result.last))), strict=True)
        yield [bool(np.any(old != new)) for old, new in pairs]


@pytest.mark.parametrize(
    "family, freeze",
    [
        *(pytest.param(f, False, marks=pytest.mark.slow if f == "densenet" else ()) for f in NARROW),
        ("convnet", True),
    ],
)
def test_plain(family, freeze):
    network = build_network(f"{family}-2", 10, NARROW[family])
    start = init_variables(network, jax.random.key(0))
    masks = {group: int(group not in ("conv1", "layer1")) for group in network.group_names}
    results = train(EmpiricalRisk(network=network, scaling=SCALING, freeze_batch_stats=freeze), start, masks)
    of_frozen = lambda v: [v["batch_stats"]["conv1"], v["batch_stats"]["layer1"]]  # noqa: E731
    for changed in check(results, start, masks, of_frozen):
        assert all(changed) != freeze and any(changed) != freeze


def marks(family, wrapper):
    """The command of the README takes one kind of side module and of adapter; dense networks compile longest."""
    if family == "densenet":
        return pytest.mark.slow if wrapper in ("side_block", "add") else pytest.mark.rare
    return () if (family, wrapper) == ("convnet", "add") else pytest.mark.rare


@pytest.mark.parametrize(
    "family, wrapper, freeze",
    [*(pytest.param(*case, False, marks=marks(*case)) for case in CASES), ("resnet", "side", True)],
)
def test_wrapped(family, wrapper, freeze):
    base = build_network(f"{family}-2", 10, NARROW[family])
    network = build_steps(base, 2, **WRAPPERS[wrapper])
    single = init_variables(base, jax.random.key(0))
    start = start_from_single(network, init_steps(network, jax.random.key(1)), single)
    masks = network.trained_from(1)
    results = train(LastStep(network=network, scaling=SCALING, freeze_batch_stats=freeze), start, masks)
    summed = network.mode == "side_tune"

    def of_frozen(variables):  # frozen blocks that take part: those that side modules add to
        stats = variables["batch_stats"]
        return [stats[g]["base"] for g in ("layer1", "layer2")] if summed else []

    for changed in check(results, start, masks, of_frozen):
        assert all(c != freeze for c in changed) and bool(changed) == summed
