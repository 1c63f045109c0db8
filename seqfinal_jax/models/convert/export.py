"""Networks and their weights in formats that other programs read, beside a description of the layers in JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from seqfinal_jax.models.convert.from_torch import to_torch
from seqfinal_jax.models.network import AnyNetwork, Network, Variables
from seqfinal_jax.models.parts.layers import EVALUATION, BatchNorm, Conv, Linear
from seqfinal_jax.models.parts.ops import EPSILON, MOMENTUM

FORMATS = {"orbax": "orbax", "safetensors": "model.safetensors", "torch": "model.pt"}
PACKAGES = {"orbax": "orbax-checkpoint", "safetensors": "safetensors", "torch": "torch"}
DESCRIPTION = "description.json"
ORDERS = {
    "torch": {"convolution": "(out, in, height, width)", "dense": "(out, in)", "images": "(n, channels, height, width)"},
    "flax": {"convolution": "(height, width, in, out)", "dense": "(in, out)", "images": "(n, height, width, channels)"},
}  # fmt: skip


def last_step(network: AnyNetwork, variables: Variables) -> tuple[AnyNetwork, Variables]:
    """The plain network that answers for the last time step, where there is one; else the network as it is."""
    try:
        return network.base, network.plain(variables)
    except ValueError:
        return network, variables


def write_weights(
    network: AnyNetwork, variables: Variables, format: str, out: Path
) -> dict[str, tuple[int, ...]]:
    """Writes the weights below `out`, which exists; returns their names and shapes.

    Raises ValueError for an unknown format and for a package that is missing.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; expected {' or '.join(FORMATS)}")
    variables = jax.tree.map(np.asarray, variables)
    place = out / FORMATS[format]
    if format == "orbax":
        _write_orbax(variables, place)
        leaves = jax.tree_util.tree_flatten_with_path(variables)[0]
        return {".".join(str(part.key) for part in path): leaf.shape for path, leaf in leaves}
    named = to_torch(variables, network.names).items()
    state = {name: np.ascontiguousarray(array) for name, array in named}
    _write_safetensors(state, place) if format == "safetensors" else _write_torch(state, place)
    return {name: array.shape for name, array in state.items()}


def check_package(format: str) -> None:
    """Raises ValueError where the package that writes a format is missing."""
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; expected {' or '.join(FORMATS)}")
    import importlib

    name = {"orbax": "orbax.checkpoint"}.get(format, format)
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"--format={format} needs the package {PACKAGES[format]} ({error}): pip install {PACKAGES[format]}"
        ) from None


def _write_orbax(variables: Variables, place: Path) -> None:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as writer:
        writer.save(place.resolve(), variables)


def _write_safetensors(state: dict[str, np.ndarray], place: Path) -> None:
    from safetensors.numpy import save_file

    save_file(state, place)


def _write_torch(state: dict[str, np.ndarray], place: Path) -> None:
    import torch

    torch.save({name: torch.from_numpy(array.copy()) for name, array in state.items()}, place)


def write_description(out: Path, content: dict[str, Any]) -> None:
    """Writes description.json."""
    text = json.dumps(content, indent=1, default=list) + "\n"
    (out / DESCRIPTION).write_text(text, encoding="utf-8")


def described(network: AnyNetwork, format: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """What another program needs to build the network: its layers in order, and how their arrays are laid out."""
    base = network.base
    found = {
        "architecture": base.name,
        "file": FORMATS[format],
        "order_of_dimensions": ORDERS["flax" if format == "orbax" else "torch"],
        "batch_norm": {
            "epsilon": EPSILON, "momentum": MOMENTUM, "running_variance": "unbiased",
            "formula": "(x - running_mean) / sqrt(running_var + epsilon) * weight + bias",
        },
        "padding": "zeros on all four sides; of the max-pool minus infinity",
        "groups": [{"name": name, **_group(base, place)} for place, (name, _) in enumerate(base.groups)],
        "arrays": {name: list(shape) for name, shape in shapes.items()},
    }  # fmt: skip
    return found | network.description()


def _group(network: Network, place: int) -> dict[str, Any]:
    """What a group does, and its layers with their kernels, in the order in which they are computed."""
    group, module = network.groups[place]
    layers: list[dict[str, Any]] = []

    def watch(call: Callable[..., Any], arguments: Any, options: Any, context: Any) -> Any:
        own, result = context.module, call(*arguments, **options)
        if context.method_name == "__call__" and isinstance(own, (Conv, BatchNorm, Linear)):
            layers.append(
                {"name": ".".join((group, *own.path)), **_layer(own, arguments[0].shape, result.shape)}
            )
        return result

    def run(key: jax.Array) -> jax.Array:
        x = jax.numpy.zeros((1, *network.config.image_shape))
        for _, earlier in network.groups[:place]:
            x, _ = earlier.init_with_output(key, x, EVALUATION)
        with nn.intercept_methods(watch):
            return module.init_with_output(key, x, EVALUATION)[0]

    output = jax.eval_shape(run, jax.random.key(0))
    says = " ".join((type(module).__doc__ or "").split())
    return {"kind": type(module).__name__, "does": says, "output": list(output.shape[1:]), "layers": layers}


def _layer(layer: nn.Module, taken: tuple[int, ...], given: tuple[int, ...]) -> dict[str, Any]:
    shapes = {"input": list(taken[1:]), "output": list(given[1:])}
    if isinstance(layer, Conv):
        how = {"kernel": layer.size, "stride": layer.stride, "padding": layer.padding, "bias": False}
        return {"kind": "convolution", "in": taken[-1], "out": given[-1], **how, **shapes}
    if isinstance(layer, Linear):
        return {"kind": "dense", "in": taken[-1], "out": given[-1], "bias": True}
    return {"kind": "batch norm", "channels": taken[-1], **shapes}
