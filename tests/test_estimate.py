"""What a run is said to take: counted fits, operations as by hand, seconds by the speed of the machine."""

import io

import pytest
from rich.console import Console

from seqfinal_jax.runs import estimate, loop
from seqfinal_jax.runs.estimate import (
    COMPILING,
    RUN,
    STEP,
    TENSOR,
    TRAINING,
    forward_operations,
    processor_rate,
)
from tests.runs import make_plan, smoke_config, smoke_run


def estimated(workdir, monkeypatch, rate=1e9, **fields):
    monkeypatch.setattr(estimate, "processor_rate", lambda precision: rate)
    return estimate.estimate_run(make_plan(smoke_config(**fields)), workdir)


def test_operations_of_a_network_are_those_counted_by_hand():
    """convnet-1 of preset widths: 7x7 stem of 64 at 16x16, 3x3 block of 128 at 8x8 of 64, head of 10; two a product."""
    network = make_plan(smoke_config(network__width_factor=1.0)).networks["convnet-1"]
    products = 2 * (16 * 16 * 49 * 3 * 64 + 8 * 8 * 9 * 64 * 128 + 128 * 10)
    assert forward_operations(network) == pytest.approx(products, rel=0.1)


def test_a_training_is_three_passes_of_a_sample_and_a_validation_one(tmp_path, monkeypatch):
    plan = make_plan(smoke_config(methods=("erm_final",)))
    found = estimated(tmp_path, monkeypatch, methods=("erm_final",))
    samples = plan.sizes("main")[-1]
    train, valid = samples * 4 // 5, samples // 5
    each = forward_operations(plan.networks["convnet-1"]) + STEP / (3 * plan.training.batch_size)
    assert found.fits == len(plan.spec.grid.dropout) * len(plan.spec.grid.learning_rate)
    assert found.operations == pytest.approx(found.epochs * (3 * train + valid) * each, rel=0.05)


def test_seconds_follow_the_speed_of_the_machine(tmp_path, monkeypatch):
    slow, fast = (estimated(tmp_path, monkeypatch, rate) for rate in (1e9, 2e9))
    assert slow.operations == fast.operations
    assert slow.seconds - fast.seconds == pytest.approx(slow.operations / 2e9)


def test_every_kind_of_stage_is_compiled_once(tmp_path, monkeypatch):
    """A stage of all layers is compiled once for all methods; a linear probe and a joint model each once more."""
    seconds = {
        names: estimated(tmp_path, monkeypatch, rate=1e30, methods=names)
        for names in (
            ("erm_final",), ("erm_final", "erm_all"), ("erm_linear_probe_fine_tune",),
            ("erm_final", "erm_all", "joint"),
        )
    }  # fmt: skip
    once = COMPILING + 8 * TENSOR  # convnet-1 has eight tensors
    compiling = {names: found.seconds - RUN - TRAINING * found.fits for names, found in seconds.items()}
    assert list(compiling.values()) == pytest.approx([once, once, 2 * once, 2 * once])


def test_an_accelerator_is_a_guess(monkeypatch):
    monkeypatch.setattr(loop.jax, "default_backend", lambda: "gpu")
    console = Console(file=io.StringIO(), width=400)
    loop.announce(make_plan(smoke_config()), estimate.Estimate(3, 30, 1e9, 3000), console)
    assert "50 min or less, as a guess: the speed of this device is not measured" in console.file.getvalue()


def test_the_hint_names_the_configuration_that_was_given():
    console = Console(file=io.StringIO(), width=400)
    long = estimate.Estimate(3, 30, 1e9, 7200)
    loop.announce(make_plan(smoke_config()), long, console, "own_data:released")
    assert "--config=own_data:released,quick" in console.file.getvalue()
    assert "cifar10" not in console.file.getvalue()


def test_nothing_is_left_of_a_finished_run(tmp_path, monkeypatch):
    smoke_run(tmp_path, methods=("erm_final",))
    found = estimated(tmp_path, monkeypatch, methods=("erm_final",))
    assert (found.fits, found.operations, found.seconds) == (0, 0, 0)


def test_a_processor_is_timed_once():
    for precision in ("highest", "bfloat16"):
        assert 1e8 < processor_rate(precision) < 1e14
        assert processor_rate(precision) == processor_rate(precision)


@pytest.mark.parametrize(
    ("units", "precision", "seconds", "advised"),
    [
        (("amx_bf16",), "highest", 3000, True),
        (("amx_bf16",), "highest", 30, False),
        (("amx_bf16",), "bfloat16", 3000, False),
        ((), "highest", 3000, False),
    ],
)
def test_a_long_run_on_a_cpu_with_units_for_bfloat16_is_told_of_them(
    monkeypatch, units, precision, seconds, advised
):
    monkeypatch.setattr(loop, "units", lambda: units)
    console = Console(file=io.StringIO())
    plan = make_plan(smoke_config(methods=("erm_final",), precision=precision))
    loop.announce(plan, estimate.Estimate(3, 30, 1e9, seconds), console)
    assert ("--config.precision=bfloat16 would take" in console.file.getvalue()) == advised
