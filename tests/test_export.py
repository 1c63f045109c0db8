"""Models to take away, each read by another program in a process of its own, and weights to bring."""

import importlib
import json
import math
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import seqfinal_jax
from seqfinal_jax.export import main
from seqfinal_jax.methods.stages.start import initial_variables
from seqfinal_jax.models import build_network, init_variables
from seqfinal_jax.models.convert import export
from seqfinal_jax.models.convert.from_torch import canonical_name
from tests.runs import make_plan, smoke_config, smoke_run

CELL = "cells/{}/convnet-1/seed0"
PACKAGES = {"orbax": "orbax.checkpoint", "safetensors": "safetensors", "torch": "torch"}
# What a user of the other program writes; it prints every array's name and sum.
READERS = {
    "orbax": """
import jax, orbax.checkpoint, pathlib
found = orbax.checkpoint.StandardCheckpointer().restore(pathlib.Path("model/orbax").resolve())
leaves = jax.tree_util.tree_flatten_with_path(found)[0]
arrays = {".".join(part.key for part in path): leaf for path, leaf in leaves}
""",
    "safetensors": """
import safetensors.numpy
arrays = safetensors.numpy.load_file("model/model.safetensors")
""",
    "torch": """
import torch
arrays = torch.load("model/model.pt", weights_only=True)
""",
}
PRINT = """
import json, sys, numpy
assert not any(name.startswith("seqfinal") for name in sys.modules)
print(json.dumps({name: [list(a.shape), float(numpy.asarray(a, dtype="float64").sum())] for name, a in arrays.items()}))
"""


def need(format):
    pytest.importorskip(PACKAGES[format], reason=f"{format} is not installed")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "run [1]"
    smoke_run(folder, methods=("erm_final", "joint", "erm_side_tune_block"), grid__dropout=(0.0,))
    return folder


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


ALWAYS = (("orbax", "joint"), ("safetensors", "erm_side_tune_block"), ("torch", "erm_final"))


@pytest.mark.parametrize(
    ("format", "method"),
    [
        pytest.param(format, method, marks=() if (format, method) in ALWAYS else pytest.mark.rare)
        for format in READERS
        for method in ("erm_final", "joint", "erm_side_tune_block")
    ],
)
def test_an_exported_model_is_read_in_a_process_without_us(workdir, tmp_path, capsys, format, method):
    need(format)
    cell = workdir / CELL.format(method)
    assert main([str(cell), f"--format={format}", f"--out={tmp_path / 'model'}"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["wrote", "wrote"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-I", "-c", READERS[format] + PRINT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    model = seqfinal_jax.load_model(cell)
    leaves = jax.tree.leaves(export.last_step(model.network, model.variables)[1])
    total = sum(float(np.asarray(leaf, np.float64).sum()) for leaf in leaves)
    assert sum(own for _, own in found.values()) == pytest.approx(total, rel=1e-6)
    assert sum(math.prod(shape) for shape, _ in found.values()) == sum(leaf.size for leaf in leaves)
    described = json.loads((tmp_path / "model" / "description.json").read_text())
    assert described["arrays"] == {name: shape for name, (shape, _) in found.items()}
    assert described["class_names"][:2] == ["zero", "one"] and described["architecture"] == "convnet-1"


def test_the_description_says_how_the_network_is_built(workdir, tmp_path):
    """The layers of convnet-1 at an eighth of its width, as the published network has them."""
    need("safetensors")
    seqfinal_jax.load_model(workdir / CELL.format("erm_final")).export(tmp_path / "model")
    described = json.loads((tmp_path / "model" / "description.json").read_text())
    stem, block, head = described["groups"]
    assert [group["name"] for group in described["groups"]] == ["conv1", "layer1", "fc"]
    convolution, norm = block["layers"]
    assert (stem["layers"][0]["name"], stem["layers"][0]["kind"]) == ("conv1.conv", "convolution")
    assert [stem["layers"][0][name] for name in ("in", "out", "kernel", "stride", "padding")] == [
        3,
        8,
        7,
        2,
        3,
    ]
    assert stem["output"] == [8, 8, 8] and "max-pool" in stem["does"]
    assert [convolution[name] for name in ("kernel", "stride", "padding", "bias")] == [3, 2, 1, False]
    assert (norm["name"], norm["kind"], norm["channels"]) == ("layer1.bn", "batch norm", 64)
    assert head["layers"] == [{"name": "fc.linear", "kind": "dense", "in": 64, "out": 10, "bias": True}]
    assert described["input"]["scaling"] == "(pixel / 255 - mean) / std"
    assert described["order_of_dimensions"]["convolution"] == "(out, in, height, width)"
    assert described["batch_norm"]["epsilon"] == 1e-5


@pytest.mark.parametrize(
    "architecture", ["convnet-1", "resnet-1", pytest.param("densenet-1", marks=pytest.mark.rare)]
)
def test_the_torch_file_gives_the_same_logits_in_pytorch(tmp_path, images, architecture):
    """In the networks of benchmarks/, by nothing but the file and its description."""
    need("torch")
    import torch

    peers = importlib.import_module("benchmarks.torch_networks")
    network = build_network(architecture, 10)
    variables = init_variables(network, jax.random.key(3))
    shift = lambda leaf: leaf + 0.1 * np.random.default_rng(leaf.size).random(leaf.shape, np.float32)  # noqa: E731
    variables = jax.tree.map(shift, variables)
    scaling = seqfinal_jax.stored_model.InputScaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    model = seqfinal_jax.stored_model.StoredModel(network, variables, scaling, tuple("0123456789"))
    model.export(tmp_path / "model", "torch")
    arrays = torch.load(tmp_path / "model" / "model.pt", weights_only=True)
    described = json.loads((tmp_path / "model" / "description.json").read_text())
    peer = peers.torch_network(architecture, 10)
    names = {key: canonical_name(key) for key in peer.state_dict()}
    peer.load_state_dict({key: arrays[name] for key, name in names.items() if name}, strict=False)
    peer.eval()
    mean, std = (torch.tensor(described["input"][name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        found = peer((pixels / 255 - mean) / std).numpy()
    np.testing.assert_allclose(found, model(images), rtol=1e-4, atol=1e-4 * np.abs(found).max())


REFUSED = [
    (lambda cell, out: [str(cell / "nowhere"), f"--out={out / 'new'}"], "holds no model"),
    (lambda cell, out: [str(cell), f"--out={out}"], "exists already; name a folder that does not"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_cannot_be_exported_is_one_line(workdir, tmp_path, capsys, arguments, message):
    need("safetensors")
    assert main(arguments(workdir / CELL.format("erm_final"), tmp_path)) == 2
    said = capsys.readouterr().err
    assert message in said and said.startswith("error: ") and said.count("\n") == 1


@pytest.mark.parametrize("format", READERS)
def test_a_missing_package_is_one_line(workdir, tmp_path, capsys, monkeypatch, format):
    monkeypatch.setitem(sys.modules, PACKAGES[format], None)
    cell = str(workdir / CELL.format("erm_final"))
    assert main([cell, f"--format={format}", f"--out={tmp_path / 'new'}"]) == 2
    assert f"pip install {export.PACKAGES[format]}" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("format", ["orbax", "safetensors"])
def test_fits_start_from_exported_weights(workdir, tmp_path, format):
    """Every start that would be random is the model that was exported, of whatever seed."""
    need(format)
    model = seqfinal_jax.load_model(workdir / CELL.format("erm_final"))
    path = model.export(tmp_path / "model", format)[0]
    plan = make_plan(smoke_config(methods=("erm_final",), pretrained__checkpoint=str(path)))
    assert plan.methods == ("erm_final_start_with_checkpoint",)
    for seed in (0, 1):
        start = initial_variables(plan.networks["convnet-1"], plan.training, seed, {})
        jax.tree.map(np.testing.assert_array_equal, start, model.variables)


def test_the_same_weights_are_the_same_run_however_they_are_stored(workdir, tmp_path):
    need("orbax")
    need("safetensors")
    model = seqfinal_jax.load_model(workdir / CELL.format("erm_final"))
    plain = make_plan(smoke_config(methods=("erm_final",)))
    prints = {None: plain.keys}
    for format in ("orbax", "safetensors"):
        path = model.export(tmp_path / format, format)[0]
        plan = make_plan(smoke_config(methods=("erm_final",), pretrained__checkpoint=str(path)))
        prints[format] = plan.keys
    assert prints["orbax"] == prints["safetensors"] != prints[None]


def test_a_run_from_own_weights_begins_at_their_accuracy(workdir, tmp_path):
    """Also the joint model, all of whose steps start from them; epoch 0 has the loss of the exported model."""
    need("safetensors")
    path = seqfinal_jax.load_model(workdir / CELL.format("erm_final")).export(tmp_path / "model")[0]
    folder = tmp_path / "run"
    smoke_run(folder, methods=("erm_final", "joint"), grid__dropout=(0.0,), pretrained__checkpoint=str(path))
    for method in ("erm_final", "joint"):
        cell = folder / CELL.format(f"{method}_start_with_checkpoint")
        first = (cell / "history.csv").read_text().splitlines()[1].split(",")
        assert first[2] == "0"
    before = (workdir / CELL.format("erm_final") / "grid.csv").read_text()
    assert before != (folder / CELL.format("erm_final_start_with_checkpoint") / "grid.csv").read_text()


MISFITS = [
    ({"architectures": ("convnet-2",)}, r"does not fit convnet-2 .*layer2.conv.weight is missing"),
    (
        {"network__width_factor": 0.25},
        r"conv1.conv.weight has shape \(8, 3, 7, 7\), expected \(16, 3, 7, 7\)",
    ),
    ({"pretrained__resnet18": "weights.npz"}, "exclude each other"),
    ({"pretrained__checkpoint": "nowhere"}, "there is no file or folder nowhere"),
    ({"methods": ("joint",), "joint__mode": "low_rank_adapt"}, "in mode 'separate' only"),
]


@pytest.mark.parametrize(("fields", "message"), MISFITS)
def test_weights_that_do_not_fit_are_refused_by_name(workdir, tmp_path, fields, message):
    need("safetensors")
    path = seqfinal_jax.load_model(workdir / CELL.format("erm_final")).export(tmp_path / "model")[0]
    asked = {"methods": ("erm_final",), "pretrained__checkpoint": str(path), **fields}
    with pytest.raises(ValueError, match=message):
        make_plan(smoke_config(**asked))


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path):
    need("orbax")
    with pytest.raises(ValueError, match="cannot be read as an Orbax checkpoint"):
        make_plan(smoke_config(methods=("erm_final",), pretrained__checkpoint=str(tmp_path)))
