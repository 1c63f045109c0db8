"""The engine: what a member's result may depend on, compilations, masks, stopping, streams."""

import jax
import numpy as np
import pytest

from seqfinal_jax.training.engine import programs
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import winner
from tests.training.tiny import assert_equal, grid, member, settings, tiny_problem


def variables(results):
    return [(result.best, result.last, result.history) for result in results]


@pytest.fixture(scope="module")
def whole_grid():
    return fit(tiny_problem(), grid(), settings())


def test_a_fit_learns_and_keeps_its_history(whole_grid):
    result = whole_grid[0]
    assert result.history["train_loss"].shape == (result.stop_epoch + 1,)
    assert np.isnan(result.history["train_loss"][0])
    assert np.isfinite(result.history["valid_loss"]).all()
    assert result.history["train_loss"][-1] < result.history["train_loss"][1]
    assert result.best_accuracy == result.history["valid_accuracy"].max()


def test_a_member_stands_alone(whole_grid):
    members = grid()
    alone = fit(tiny_problem(), [members[5]], settings())[0]
    assert_equal(variables([alone]), variables([whole_grid[5]]))


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 16])
def test_members_one_after_another_in_one_program_give_the_same_bits(whole_grid, size):
    chunked = fit(tiny_problem(), grid(), settings(members_per_program=size))
    assert_equal(variables(chunked), variables(whole_grid))


@pytest.mark.slow
def test_vmap_agrees_to_rounding(whole_grid):
    together = fit(tiny_problem(), grid(), settings(members_per_program=16, vectorise="vmap"))
    for one, other in zip(together, whole_grid, strict=True):
        np.testing.assert_allclose(one.history["valid_loss"][:2], other.history["valid_loss"][:2], rtol=2e-5)


def test_grid_points_share_start_shuffles_and_differ_by_dropout(whole_grid):
    first, dropped = whole_grid[0].history, whole_grid[1].history
    assert first["valid_loss"][0] == dropped["valid_loss"][0]
    assert first["train_loss"][1] != dropped["train_loss"][1]


def test_one_compilation_for_a_grid_and_for_stages_of_other_lengths(compilations):
    """32 and 16 samples a stage, two seeds, eight grid points: one program each."""
    fit(tiny_problem(), grid(), settings(2))
    fit(tiny_problem(samples=16, total=24, role="history"), grid(), settings(3))
    assert compilations["train_epoch"] == 1
    assert compilations["evaluate"] == 1


@pytest.mark.slow
def test_stopped_members_leave_the_chunk_and_results_stay(compilations):
    members, problem = grid(), tiny_problem()
    rules = {"max_epochs": 12, "patience": 1}
    together = fit(problem, members, settings(members_per_program=16, **rules))
    sizes = compilations["train_epoch"]
    stops = [result.stop_epoch for result in together]
    assert len(set(stops)) > 1 and min(stops) < 12
    assert 1 < sizes <= 5
    assert_equal(variables(together), variables(fit(problem, members, settings(**rules))))


def test_a_frozen_group_keeps_its_bits_and_its_statistics_move():
    start = tiny_problem().start(member())
    result = fit(tiny_problem(), [member(conv1=0, layer1=0)], settings(2))[0]
    assert_equal(result.last["params"]["conv1"], start["params"]["conv1"])
    assert_equal(result.last["params"]["layer1"], start["params"]["layer1"])
    assert not np.array_equal(
        result.last["params"]["fc"]["linear"]["kernel"], start["params"]["fc"]["linear"]["kernel"]
    )
    for group in ("conv1", "layer1"):
        moved = result.last["batch_stats"][group]["bn"]["mean"]
        assert not np.array_equal(moved, start["batch_stats"][group]["bn"]["mean"])


def test_freeze_batch_stats_keeps_the_statistics_of_frozen_groups():
    start = tiny_problem().start(member())
    problem = tiny_problem(freeze_batch_stats=True)
    result = fit(problem, [member(conv1=0)], settings(2))[0]
    assert_equal(result.last["batch_stats"]["conv1"], start["batch_stats"]["conv1"])
    moved = result.last["batch_stats"]["layer1"]["bn"]["mean"]
    assert not np.array_equal(moved, start["batch_stats"]["layer1"]["bn"]["mean"])


def test_short_last_batches_do_not_change_the_full_ones():
    """A padded program with full batches gives what the unpadded one gives, to rounding."""
    problem = tiny_problem(24)
    batches = problem.batches

    def masked(seed, epoch):
        whole = batches(seed, epoch)
        return type(whole)(whole.index, np.ones(whole.index.shape, bool), whole.weight, whole.count)

    plain = fit(problem, [member()], settings(2))[0]
    padded = fit(type(problem)(**{**vars(problem), "batches": masked}), [member()], settings(2))[0]
    np.testing.assert_allclose(plain.history["valid_loss"], padded.history["valid_loss"], rtol=1e-4)


def test_a_member_that_diverges_fails_and_never_wins():
    results = fit(tiny_problem(), [member(lr=1e30), member(lr=1e-3)], settings(3))
    assert results[0].failed and not results[1].failed
    assert results[0].stop_epoch < 3
    assert winner(results, range(2)) == 1


def test_losers_keep_no_variables():
    results = fit(tiny_problem(), grid(), settings(2, keep_all=False))
    kept = [row for row, result in enumerate(results) if result.best is not None]
    assert kept == [winner(results, range(8)), winner(results, range(8, 16))]


def test_no_members_is_an_error():
    with pytest.raises(ValueError, match="at least one member"):
        fit(tiny_problem(), [], settings())


def test_train_metrics_of_an_extra_pass():
    problem = tiny_problem()
    sets = problem.evaluation

    def with_train(seed):
        from seqfinal_jax.training.engine.streams import EvaluationSet

        return {"train": EvaluationSet(0, seed * 36 + np.arange(24)), **sets(seed)}

    result = fit(type(problem)(**{**vars(problem), "evaluation": with_train}), [member()], settings(2))[0]
    assert np.isfinite(result.history["train_loss"]).all()


def test_data_may_lie_on_the_device_already():
    problem = tiny_problem()
    on_device = type(problem)(**{**vars(problem), "data": jax.device_put(problem.data)})
    assert_equal(
        variables(fit(on_device, [member()], settings(2))), variables(fit(problem, [member()], settings(2)))
    )


def lacking_memory(monkeypatch, most):
    """Programs of more than so many members end as for lack of a device's memory; returns all sizes asked for."""
    program, sizes = programs.train_epoch, []

    def train_epoch(compiled, state, *rest):
        sizes.append(len(jax.tree.leaves(state.params)[0]))
        if sizes[-1] > most:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.\nmore")
        return program(compiled, state, *rest)

    monkeypatch.setattr(programs, "train_epoch", train_epoch)
    return sizes


@pytest.mark.slow
def test_a_chunk_that_does_not_fit_in_memory_is_halved(monkeypatch, whole_grid, caplog):
    sizes = lacking_memory(monkeypatch, most=5)
    found = fit(tiny_problem(), grid(), settings(members_per_program=16))
    assert sizes[:3] == [16, 8, 4] and max(sizes[3:]) == 8 and sizes.count(8) == 2
    assert "16 trainings in one program do not fit in the memory" in caplog.text
    assert_equal(variables(found), variables(whole_grid))


def test_a_single_member_that_does_not_fit_is_an_error_that_says_so(monkeypatch):
    lacking_memory(monkeypatch, most=0)
    with pytest.raises(MemoryError, match=r"single training of 'final' does not fit .* smaller .*batch_size"):
        fit(tiny_problem(), grid()[:2], settings(members_per_program=2))


def test_other_errors_of_a_program_are_not_taken_for_a_lack_of_memory(monkeypatch):
    def broken(*arguments):
        raise jax.errors.JaxRuntimeError("INTERNAL: broken")

    monkeypatch.setattr(programs, "train_epoch", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="broken"):
        fit(tiny_problem(), grid()[:2], settings(members_per_program=2))
