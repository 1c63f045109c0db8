"""What an objective of one's own may decide: what is kept, what its state sees, which stream drives, what selects."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.nodes import Resume, Stage
from seqfinal_jax.methods.stages.network import stage_rule
from seqfinal_jax.methods.stages.start import with_own_params
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.results.checkpoints import ProgressStore, SaveBudget
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.programs import mask_groups
from seqfinal_jax.training.engine.streams import EvaluationSet, Stream, epoch_batches, shuffled, stored_order
from seqfinal_jax.training.objectives.multi_domain import Domains
from seqfinal_jax.training.objectives.risk import EmpiricalRisk, InputScaling, Pooled, batch_sums
from tests.training.test_resume import Killed, everything, killed_at
from tests.training.tiny import BATCH, assert_equal, member, settings, tiny_network, tiny_problem


def with_objective(made, **changes):
    """The tiny problem with an objective of another class."""
    problem = tiny_problem()
    own = problem.objective
    return replace(problem, objective=made(network=own.network, scaling=own.scaling), **changes)


@dataclass(frozen=True)
class Averaged(EmpiricalRisk):
    """Evaluates and keeps the exponential average of the variables."""

    beta: float = 0.5

    def init_extra(self, variables):
        return variables

    def after_update(self, extra, update):
        return jax.tree.map(lambda a, b: self.beta * a + (1 - self.beta) * b, extra, update.variables)

    def evaluated(self, variables, extra):
        return extra


@dataclass(frozen=True)
class NotAveraged(Averaged):
    """The average of the last variables alone."""

    beta: float = 0.0


def test_an_average_of_the_last_model_alone_is_the_plain_fit():
    [plain], [found] = (
        fit(p, [member()], settings(3)) for p in (tiny_problem(), with_objective(NotAveraged))
    )
    for name, values in plain.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found.best, plain.best)


def test_the_average_is_evaluated_and_kept_and_training_goes_on_from_the_last():
    [found] = fit(with_objective(Averaged), [member()], settings(3))
    different = jax.tree.map(lambda a, b: not np.array_equal(a, b), found.last, found.optimiser[1])
    assert any(jax.tree.leaves(different))
    [plain] = fit(tiny_problem(), [member()], settings(3))
    assert not np.array_equal(found.history["valid_loss"][1:], plain.history["valid_loss"][1:])
    np.testing.assert_allclose(found.history["train_loss"], plain.history["train_loss"], rtol=1e-5)


def test_an_average_outlives_a_kill(tmp_path):
    problem, chosen = with_objective(Averaged), settings(4)
    unbroken = fit(problem, [member()], chosen)
    store = ProgressStore(tmp_path / "progress", SaveBudget(share=1e9))
    with pytest.raises(Killed):
        fit(problem, [member()], chosen, killed_at(2), store)
    assert_equal(everything(fit(problem, [member()], chosen, None, store)), everything(unbroken))


@dataclass(frozen=True)
class RunningWeights(Domains):
    """GroupDRO (Sagawa et al. 2020, arXiv 1911.08731): weights of domains that grow with exp(loss)."""

    def init_extra(self, variables):
        return jnp.full(2, 0.5)

    def loss(self, params, context):
        passes = self.passes(params, context)
        loss = jnp.sum(context.extra * passes.losses) + self.penalty(params, context)
        return loss, (passes.batch_stats, passes.total, passes.losses)

    def after_update(self, extra, update):
        weights = extra * jnp.exp(0.1 * update.passed)
        return weights / jnp.sum(weights)


def test_the_state_sees_the_losses_of_domains():
    streams = [Stream(0, np.arange(16)), Stream(1, np.arange(16, 24))]
    problem = with_objective(
        RunningWeights, batches=lambda seed, epoch: epoch_batches(streams, shuffled(seed, "d"), epoch, BATCH)
    )
    [found] = fit(problem, [member()], settings(1))
    weights = found.optimiser[1]
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)
    assert not np.allclose(weights, 0.5, atol=1e-4)


def test_the_last_epoch_is_kept_where_a_rule_says_so():
    rule = StopRule(5, 5, stop_on="best", ties="loss", keep="last")
    [found] = fit(tiny_problem(), [member(lr=0.3)], replace(settings(5), rule=rule))
    assert (found.best_epoch, found.stop_epoch) == (5, 5)
    assert found.best_accuracy == found.history["valid_accuracy"][5]
    assert_equal(found.best, found.last)


def test_a_short_stream_may_drive():
    """The driver has 2 minibatches; the other's pass of 5 runs on over three epochs, in stored order."""
    long, short = Stream(0, np.arange(10)), Stream(1, np.arange(20, 24))
    epochs = [epoch_batches([long, short], stored_order, e, 2, driver=1) for e in (1, 2, 3)]
    assert [each.count for each in epochs] == [2, 2, 2]
    rows = [each.index[i, 0].tolist() for each in epochs for i in range(each.count)]
    assert rows == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [0, 1]]
    assert [epochs[2].index[i, 1].tolist() for i in range(2)] == [[20, 21], [22, 23]]
    assert epoch_batches([long, short], stored_order, 1, 2).count == 5


@dataclass(frozen=True)
class Seeing(Pooled):
    """Pooled samples that know their time step."""

    sees_steps = True


def test_pooled_rows_know_their_time_step():
    rows = {(0, "train"): np.arange(5), (1, "train"): np.arange(10, 13), (1, "valid"): np.arange(20, 22)}
    own, where = Seeing(), lambda step, split: rows[step, split]
    [stream] = own.streams((0, 1), where)
    batches = epoch_batches([stream], shuffled(0, "s"), 1, 3, with_steps=True)
    seen = batches.mask if batches.mask is not None else np.ones(batches.index.shape, bool)
    told = {
        (int(i), int(s))
        for i, s, m in zip(batches.index.ravel(), batches.step.ravel(), seen.ravel(), strict=True)
        if m
    }
    assert {pair for pair in told if pair[0] < 20} == {(i, int(i >= 10)) for i in (*range(5), *range(10, 13))}
    sets = own.evaluation((0, 1), (1,), where, True)
    assert sets["valid"].batches(2).step[0, 0].tolist() == [1, 1]
    assert sets["train"].batches(8).step[0, 0].tolist() == [0] * 5 + [1] * 3
    assert Pooled().streams((0, 1), where)[0].steps is None
    assert epoch_batches([stream], shuffled(0, "s"), 1, 3).step is None


@dataclass(frozen=True)
class PseudoLabelled(EmpiricalRisk):
    """Selects by labels that are constants of the fit."""

    def evaluation_sums(self, logits, data, batch, constants):
        return batch_sums(logits, constants[batch.index], batch.mask, batch.weight)


def test_pseudo_labels_select():
    problem = tiny_problem()
    wrong = (np.asarray(problem.data["labels"]) + 1) % 3
    found = {}
    for name, labels in (("true", problem.data["labels"]), ("wrong", wrong)):
        changed = with_objective(PseudoLabelled, constants=lambda seed, own=labels: jnp.asarray(own))
        found[name] = fit(changed, [member()], settings(2))[0].history["valid_accuracy"]
    plain = fit(problem, [member()], settings(2))[0].history["valid_accuracy"]
    assert_equal(found["true"], plain)
    assert not np.array_equal(found["wrong"], plain)


def test_evaluation_sets_are_as_before_without_steps():
    assert EvaluationSet(0, np.arange(3)).batches(2).step is None


@dataclass(frozen=True)
class Filmed(Pooled):
    """An objective with a group of parameters of its own, of one row for each step."""

    def own_params(self, train, params):
        return {"film": jnp.zeros((len(train), 2))}


def test_parameters_of_its_own_begin_at_its_values_and_go_on_with_those_of_the_start():
    network = tiny_network()
    plain = Stage("s", "final", (0, 1, 2), (2,), Grid())
    filmed, before = replace(plain, objective=Filmed()), tiny_problem().start(member())
    started = with_own_params(filmed, network, before)
    assert started["params"].keys() == {*network.group_names, "film"}
    assert_equal(started["params"]["film"], jnp.zeros((3, 2)))
    trained = {**started, "params": {**started["params"], "film": jnp.ones((3, 2))}}
    assert_equal(with_own_params(filmed, network, trained), trained)
    assert_equal(with_own_params(plain, network, trained), before)  # which has none


def test_a_group_without_a_mask_is_trained():
    found = mask_groups({"conv1": jnp.ones(2), "film": jnp.ones(2)}, {"conv1": jnp.int32(0)})
    assert_equal(found, {"conv1": jnp.zeros(2), "film": jnp.ones(2)})


def test_a_stage_that_keeps_its_last_epoch_has_no_patience_even_when_it_goes_on():
    training = Training(StopRule(5, 2), 10, InputScaling(), samples=(("main", (100, 100)),))
    first = Stage("s", "final", (0,), (0,), Grid(), keep="last")
    later = replace(first, start=first, resume=Resume(9, 2))
    rules = [stage_rule(each, training) for each in (first, later, replace(first, keep="best"))]
    assert [(rule.max_epochs, rule.patience, rule.keep) for rule in rules] == [
        (5, 5, "last"), (9, 9, "last"), (5, 2, "best"),
    ]  # fmt: skip
