"""Programs that are read back instead of traced: same results, never a program for something else."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.models import build_network, init_variables
from seqfinal_jax.models.low_rank import Adapter
from seqfinal_jax.models.network import NetworkConfig
from seqfinal_jax.models.per_step import build_steps
from seqfinal_jax.training import programs, stored_programs
from seqfinal_jax.training.anchored import AnchoredRisk
from seqfinal_jax.training.early_stopping import StopRule
from seqfinal_jax.training.fit import fit
from seqfinal_jax.training.joint import JointRisk
from seqfinal_jax.training.last_step import LastStepRisk
from seqfinal_jax.training.members import MemberSpec, Problem, Settings
from seqfinal_jax.training.multi_domain import InvariantRisk, WorstDomainRisk
from seqfinal_jax.training.objectives import EmpiricalRisk, InputScaling
from seqfinal_jax.training.stored_programs import NotStorable, StoredProgram, store_programs, written
from seqfinal_jax.training.streams import EvaluationSet, Stream, epoch_batches, shuffled


@pytest.fixture
def folder(tmp_path):
    store_programs(tmp_path / "programs")
    yield tmp_path / "programs"
    store_programs(None)


@pytest.fixture
def scale():
    """A program that counts how often it is traced."""

    def scale(factor, x, y):
        traced.append(factor)
        return {"scaled": factor * x + jnp.sin(y)}

    traced = []
    program = StoredProgram(scale, static=("factor",))
    program.traced = traced
    return program


def call(program, factor=2.0, size=3, dtype=jnp.float32):
    """As a new process would: nothing is ready."""
    program.clear_cache()
    return program(factor, jnp.arange(size, dtype=dtype), jnp.float32(0.5))["scaled"]


def test_second_process_neither_traces_nor_compiles(folder, scale, monkeypatch):
    first = call(scale)
    assert len(scale.traced) == 1 and len(list(folder.iterdir())) == 1
    monkeypatch.setattr(scale, "_jitted", None)
    scale._ready.clear()
    second = scale(2.0, jnp.arange(3, dtype=jnp.float32), jnp.float32(0.5))["scaled"]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(second, 2 * np.arange(3) + np.sin(0.5), rtol=1e-6)


def test_a_program_that_is_ready_is_not_read_again(folder, scale):
    call(scale)
    for path in folder.iterdir():
        path.unlink()
    scale(2.0, jnp.ones(3), jnp.float32(1))
    assert len(scale.traced) == 1 and not list(folder.iterdir())


@pytest.mark.parametrize(
    "change", ["static", "kind of static", "shape", "dtype", "precision", "source", "processor", "flags"]
)
def test_another_program_for_another(folder, scale, monkeypatch, change):
    with jax.default_matmul_precision("float32"):
        call(scale)
    factor, size = {"static": (3.0, 3), "kind of static": (2, 3), "shape": (2.0, 4)}.get(change, (2.0, 3))
    if change in ("source", "processor"):
        monkeypatch.setattr(stored_programs, f"_{change}", lambda: "another")
    if change == "flags":
        monkeypatch.setenv("XLA_FLAGS", "--another=1")
    with jax.default_matmul_precision("bfloat16" if change == "precision" else "float32"):
        call(scale, factor, size, jnp.int32 if change == "dtype" else jnp.float32)
    assert len(scale.traced) == 2 and len(list(folder.iterdir())) == 2


def test_source_of_the_package_is_part_of_the_identity(tmp_path, monkeypatch):
    def digest(text):
        stored_programs._source.cache_clear()
        (tmp_path / "models" / "layers.py").write_text(text)
        return stored_programs._source()

    (tmp_path / "models").mkdir()
    (tmp_path / "training").mkdir()
    monkeypatch.setattr(stored_programs, "__file__", str(tmp_path / "training" / "stored_programs.py"))
    one, other, again = digest("a = 1"), digest("a = 2"), digest("a = 1")
    stored_programs._source.cache_clear()
    assert one == again != other


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_damaged_program_is_built_anew(folder, scale, caplog, damage):
    expected = call(scale)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    path.write_bytes({"cut": content[:-20], "flipped": flipped, "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(call(scale), expected)
    assert str(path) in caplog.text and "built anew" in caplog.text
    assert len(scale.traced) == 2 and path.stat().st_size > 100
    call(scale)
    assert len(scale.traced) == 2


def test_where_nothing_can_be_written_it_works_all_the_same(tmp_path, scale):
    (tmp_path / "file").write_text("in the way")
    store_programs(tmp_path / "file" / "programs")
    try:
        np.testing.assert_allclose(call(scale), 2 * np.arange(3) + np.sin(0.5), rtol=1e-6)
    finally:
        store_programs(None)


def test_what_could_not_be_written_leaves_nothing_behind(folder, scale, monkeypatch):
    def full(source, target):
        raise OSError("no space left on device")

    monkeypatch.setattr(stored_programs.os, "replace", full)
    np.testing.assert_allclose(call(scale), 2 * np.arange(3) + np.sin(0.5), rtol=1e-6)
    assert not list(folder.iterdir())


def test_arguments_on_no_device_are_left_to_jax(folder, scale):
    scaled = scale(2.0, np.arange(3, dtype=np.float32), np.float32(0.5))["scaled"]
    np.testing.assert_allclose(scaled, 2 * np.arange(3) + np.sin(0.5), rtol=1e-6)
    assert not folder.exists() and len(scale.traced) == 1


def test_without_a_folder_it_is_a_jitted_function(scale):
    call(scale)
    call(scale, 3.0)
    assert scale.traced == [2.0, 3.0]


@dataclasses.dataclass(frozen=True)
class OwnRisk(EmpiricalRisk):
    """An objective of a user's: its source is not part of this package."""


def small_fit(objective_class=EmpiricalRisk):
    network = build_network("convnet-1", 3, NetworkConfig(image_size=8, channels=1, width_factor=0.125))
    random = np.random.RandomState(3)
    images, labels = random.rand(60, 8, 8, 1).astype(np.float32), random.randint(3, size=60).astype(np.int32)
    problem = Problem(
        objective=objective_class(network, InputScaling()),
        data=jax.device_put({"images": images, "labels": labels}),
        batches=lambda seed, epoch: epoch_batches(
            [Stream(0, np.arange(40))], shuffled(seed, "final"), epoch, 10
        ),
        evaluation=lambda seed: {"valid": EvaluationSet(0, np.arange(40, 60))},
        start=lambda member: init_variables(network, jax.random.key(member.seed)),
        role="final",
    )
    point = {"learning_rate": 0.01, "weight_decay": 1e-4, "dropout": 0.5}
    specs = [MemberSpec(5, point, dict.fromkeys(network.group_names, 1), group=0)]
    for program in (programs.init_state, programs.train_epoch, programs.evaluate):
        program.clear_cache()
    return fit(problem, specs, Settings(StopRule(2)))[0]


def test_fits_are_the_same_bits_from_stored_programs(folder):
    store_programs(None)
    plain = small_fit()
    store_programs(folder)
    results = [small_fit(), small_fit()]
    names = sorted(path.name.split("-")[0] for path in folder.iterdir())
    assert names == ["evaluate", "init_state", "train_epoch"]
    for result in results:
        jax.tree.map(np.testing.assert_array_equal, plain.last, result.last)
        jax.tree.map(np.testing.assert_array_equal, plain.history, result.history)


def test_objectives_of_the_users_own_are_not_stored(folder):
    plain, own = small_fit(), None
    stored = sorted(folder.iterdir())
    own = small_fit(OwnRisk)
    assert sorted(folder.iterdir()) == stored
    jax.tree.map(np.testing.assert_array_equal, plain.last, own.last)


def test_what_is_written_tells_networks_and_objectives_apart():
    one = EmpiricalRisk(build_network("convnet-1", 10))
    others = [
        EmpiricalRisk(build_network("convnet-1", 100)),
        EmpiricalRisk(build_network("resnet-1", 10)),
        EmpiricalRisk(build_network("convnet-1", 10, NetworkConfig(block_relu=True))),
        EmpiricalRisk(build_network("convnet-1", 10), InputScaling((0.5,), (0.25,))),
        EmpiricalRisk(build_network("convnet-1", 10), freeze_batch_stats=True),
    ]
    texts = {written(each) for each in (one, *others)}
    assert len(texts) == 6
    assert written(EmpiricalRisk(build_network("convnet-1", 10))) == written(one)
    assert len({written(1), written(1.0), written(True), written("1"), written((1,))}) == 5
    with pytest.raises(NotStorable, match="OwnRisk"):
        written((OwnRisk(one.network),))
    with pytest.raises(NotStorable, match="function"):
        written(lambda: None)


@pytest.mark.parametrize("kind", [EmpiricalRisk, InvariantRisk, WorstDomainRisk, AnchoredRisk])
@pytest.mark.parametrize("architecture", ["convnet-2", "resnet-2", "densenet-2"])
def test_objectives_of_the_package_can_be_written(kind, architecture):
    assert kind.__name__ in written(kind(build_network(architecture, 10)))


@pytest.mark.parametrize("kind", [JointRisk, LastStepRisk])
def test_objectives_of_per_step_networks_can_be_written(kind):
    base = build_network("resnet-2", 10)
    forms = [
        {},
        {"separate": "fc"},
        {"mode": "side_tune"},
        {"mode": "side_tune", "all_layers_efficient": True},
        {"mode": "low_rank_adapt", "adapter": Adapter("add", 1)},
        {"mode": "low_rank_adapt", "adapter": Adapter("multiply", 1)},
    ]
    assert len({written(kind(build_steps(base, 2, **form))) for form in forms}) == len(forms)
