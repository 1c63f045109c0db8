"""Start from ResNet-18 weights: a synthetic dictionary of torchvision's 122 names, and files that do not fit."""

import shlex
import subprocess
import sys

import jax
import numpy as np
import pytest

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.options import Options
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.methods.stages.start import initial_variables, start_variables
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models import NetworkConfig, build_network, init_variables, to_torch
from seqfinal_jax.models.convert.pretrained import (
    check_network,
    content_digest,
    conversion,
    read_resnet18,
    start_from_resnet18,
)
from seqfinal_jax.models.parts.groups import full_count
from seqfinal_jax.models.per_step.network import build_steps, init_steps
from seqfinal_jax.models.per_step.start import start_steps_from_resnet18
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.members import MemberSpec
from seqfinal_jax.training.objectives.risk import InputScaling


def norm(name, width):
    vectors = {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return vectors | {f"{name}.num_batches_tracked": ()}


def torchvision_shapes():
    """Names and shapes of torchvision's ResNet-18, written from its documented structure."""
    shapes = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    before = 64
    for layer, width in enumerate((64, 128, 256, 512), start=1):
        for unit in (0, 1):
            at = f"layer{layer}.{unit}"
            shapes |= {f"{at}.conv1.weight": (width, before, 3, 3), **norm(f"{at}.bn1", width)}
            shapes |= {f"{at}.conv2.weight": (width, width, 3, 3), **norm(f"{at}.bn2", width)}
            if before != width:
                shapes |= {f"{at}.downsample.0.weight": (width, before, 1, 1)}
                shapes |= norm(f"{at}.downsample.1", width)
            before = width
    return shapes | {"fc.weight": (1000, 512), "fc.bias": (1000,)}


@pytest.fixture(scope="module")
def state():
    random = np.random.default_rng(0)
    return {
        name: np.int64(7) if name.endswith("tracked") else random.random(shape, np.float32) + 0.5
        for name, shape in torchvision_shapes().items()
    }


@pytest.fixture(scope="module")
def path(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.npz"
    np.savez(path, **state)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def network():
    return build_network("resnet-4", 10)


@pytest.fixture(scope="module")
def fresh(network):
    return init_variables(network, jax.random.key(0))


@pytest.fixture(scope="module")
def started(network, fresh, path):
    return start_from_resnet18(network, fresh, path)


def test_100_of_122_tensors_are_used(state, path):
    found = read_resnet18(path)
    assert len(state) == 122
    assert [len(jax.tree.leaves(found[kind])) for kind in ("params", "batch_stats")] == [60, 40]
    assert full_count(found["params"]) == 11_176_512
    assert (
        set(found["params"]) == {"conv1", "layer1", "layer2", "layer3", "layer4"} == set(found["batch_stats"])
    )


PLACES = {
    "conv1.weight": ("params", "conv1", "conv", "kernel"),
    "bn1.weight": ("params", "conv1", "bn", "scale"),
    "bn1.running_var": ("batch_stats", "conv1", "bn", "var"),
    "layer1.0.conv2.weight": ("params", "layer1", "0", "conv2", "kernel"),
    "layer1.1.bn1.bias": ("params", "layer1", "1", "bn1", "bias"),
    "layer2.0.downsample.0.weight": ("params", "layer2", "0", "downsample", "conv", "kernel"),
    "layer3.0.downsample.1.weight": ("params", "layer3", "0", "downsample", "bn", "scale"),
    "layer4.0.downsample.1.running_mean": ("batch_stats", "layer4", "0", "downsample", "bn", "mean"),
    "layer4.1.conv1.weight": ("params", "layer4", "1", "conv1", "kernel"),
    "layer4.1.bn2.running_var": ("batch_stats", "layer4", "1", "bn2", "var"),
}


@pytest.mark.parametrize(("key", "place"), PLACES.items())
def test_values_land_in_their_places(state, started, key, place):
    found = started
    for part in place:
        found = found[part]
    expected = state[key]
    if expected.ndim == 4:  # kernels are (height, width, in, out) here
        expected = np.einsum("oihw->hwio", expected)
    np.testing.assert_array_equal(found, expected)


def torchvision_key(name):
    if name.startswith("conv1."):
        return name.replace("conv1.conv.", "conv1.").replace("conv1.bn.", "bn1.")
    return name.replace("downsample.conv", "downsample.0").replace("downsample.bn", "downsample.1")


def test_the_way_back_gives_the_file(state, started):
    back = {
        torchvision_key(name): array
        for name, array in to_torch(started).items()
        if not name.startswith("fc.")
    }
    assert set(back) == {key for key in state if not key.startswith("fc.") and not key.endswith("tracked")}
    for key, array in back.items():
        np.testing.assert_array_equal(array, state[key])


def test_the_head_and_the_structure_stay(network, fresh, started):
    jax.tree.map(np.testing.assert_array_equal, started["params"]["fc"], fresh["params"]["fc"])
    assert jax.tree.structure(started) == jax.tree.structure(fresh)
    shapes = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, type(leaf)), tree)  # noqa: E731
    assert shapes(started) == shapes(fresh)


def test_safetensors_hold_the_same(state, path, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy", reason="needs the package safetensors")
    other = tmp_path / "resnet18.safetensors"
    safetensors.save_file({name: np.asarray(array) for name, array in state.items()}, other)
    jax.tree.map(np.testing.assert_array_equal, read_resnet18(other), read_resnet18(path))
    with other.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(ValueError, match=r"cannot be read as a \.safetensors file, it may be damaged"):
        read_resnet18(other)


def test_without_safetensors_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"pip install safetensors, or give a \.npz file"):
        read_resnet18(tmp_path / "a.safetensors")


def test_entries_that_do_not_fit_are_named(state, tmp_path):
    wrong = {**state, "layer2.0.bn1.bias": np.zeros(64, np.float32), "layer5.0.conv1.weight": np.zeros(1)}
    del wrong["layer3.0.downsample.1.running_var"]
    np.savez(tmp_path / "wrong.npz", **wrong)
    with pytest.raises(ValueError) as error:
        read_resnet18(tmp_path / "wrong.npz")
    said = str(error.value)
    assert "wrong.npz" in said and "missing layer3.0.downsample.1.running_var" in said
    assert "surplus layer5.0.conv1.weight" in said
    assert "layer2.0.bn1.bias has shape (64,), expected (128,)" in said
    (tmp_path / "wrong.npz").unlink()


def test_whole_numbers_are_refused(state, tmp_path):
    np.savez(tmp_path / "whole.npz", **{**state, "bn1.bias": np.zeros(64, np.int32)})
    with pytest.raises(ValueError, match=r"bn1\.bias holds int32, expected floating-point numbers"):
        read_resnet18(tmp_path / "whole.npz")
    (tmp_path / "whole.npz").unlink()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pickle"])
def test_a_pickle_is_refused_with_the_way_out(tmp_path, suffix):
    with pytest.raises(ValueError) as error:
        read_resnet18(tmp_path / f"resnet18{suffix}")
    said = str(error.value)
    assert "is a pickle" in said and 'python -c "import torch, numpy; numpy.savez(' in said
    assert str(tmp_path / "resnet18.npz") in said


def test_the_way_out_works(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.save({"a.weight": torch.nn.Parameter(torch.ones(2)), "b": torch.tensor(3)}, tmp_path / "some.pth")
    command = shlex.split(conversion(tmp_path / "some.pth"))
    subprocess.run([sys.executable, *command[1:]], check=True)
    with np.load(tmp_path / "some.npz") as stored:
        assert stored["a.weight"].tolist() == [1, 1] and stored["b"] == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.npz", None, "there is no file .*gone.npz; .* give a local file"),
        ("a.bin", b"", r"read from \.npz and \.safetensors files, found '\.bin'"),
        ("text.npz", b"not found", "text.npz cannot be read .* it is not a zip archive"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for read in (read_resnet18, content_digest) if name != "text.npz" else (read_resnet18,):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / name)


def test_damaged_and_pickled_entries_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(1000.0))
    damaged = bytearray(path.read_bytes())
    damaged[500] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="it may be damaged: Bad CRC-32"):
        read_resnet18(path)
    np.savez(path, a=np.array([{}], object))
    with pytest.raises(ValueError, match=r"cannot be read as a \.npz file"):
        read_resnet18(path)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("resnet-3", NetworkConfig()),
        ("convnet-4", NetworkConfig()),
        ("resnet-4", NetworkConfig(width_factor=0.5)),
        ("resnet-4", NetworkConfig(units=1)),
        ("resnet-4", NetworkConfig(image_shape=(32, 32, 1))),
    ],
)
def test_other_networks_are_refused(name, config):
    network = build_network(name, 10, config)
    with pytest.raises(ValueError, match=f"needs the architecture resnet-4 .* found {name} with"):
        start_from_resnet18(network, {}, "any.npz")


def test_strides_and_image_size_are_free():
    check_network(build_network("resnet-4", 2, NetworkConfig(image_shape=(64, 64, 3), strides=(1, 1, 2, 2))))


def test_the_digest_is_of_the_content(tmp_path):
    paths = [tmp_path / f"{name}.npz" for name in "abc"]
    for path, content in zip(paths, (b"one", b"one", b"two"), strict=True):
        path.write_bytes(content)
    one, same, other = map(content_digest, paths)
    assert one == same != other
    # b2sum --length 128 of the three bytes "one"
    assert one == "c88d4df74262143a08e9d190e3bd67f1"


@pytest.mark.slow
def test_every_version_of_the_joint_model_starts_from_the_file(network, started, path):
    steps = build_steps(network, 2)
    fresh = init_steps(steps, jax.random.key(1))
    found = start_steps_from_resnet18(steps, fresh, path)
    for step in (0, 1):
        own = steps.plain(found, step)
        jax.tree.map(np.testing.assert_array_equal, own["params"]["layer4"], started["params"]["layer4"])
        jax.tree.map(np.testing.assert_array_equal, own["batch_stats"], started["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, found["params"]["fc"], fresh["params"]["fc"])
    with pytest.raises(ValueError, match="needs the architecture resnet-4"):
        start_steps_from_resnet18(build_steps(build_network("resnet-2", 10), 2), {}, path)


@pytest.mark.slow
def test_stages_start_from_the_file_with_the_seeds_own_head(network, fresh, started, path):
    training = Training(StopRule(1), 20, InputScaling(), pretrained=(str(path), content_digest(path)))
    first, second = (initial_variables(network, training, seed, {}) for seed in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, first["params"]["layer4"], started["params"]["layer4"])
    heads = [tree["params"]["fc"]["linear"]["kernel"] for tree in (first, second)]
    assert np.all(heads[0] != heads[1])
    joint = final_joint_stage()
    member = MemberSpec(0, {}, {})
    versions = start_variables(joint, network, training, None, None, member)["params"]
    for step in range(2):
        one = jax.tree.map(lambda leaf, t=step: leaf[t], versions["layer1"])
        jax.tree.map(np.testing.assert_array_equal, one, started["params"]["layer1"])
    assert np.all(versions["fc"]["linear"]["kernel"][0] != versions["fc"]["linear"]["kernel"][1])


def final_joint_stage():
    return METHODS.get("joint").build(Setting(2, Grid(), "resnet", 4, Options(pretrained="imagenet")))
