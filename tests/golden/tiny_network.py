"""The tiny network of the methods' reference runs, as our network, and its states by the reference's names."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from seqfinal_jax.models import Network, NetworkConfig, build_network

SIDE = 16  # of its images, and the stride of its blocks: no array tells them
STRIDE = 2


def tiny_network(state: Mapping[str, np.ndarray] | None = None) -> Network:
    """The ConvNet whose tensors these are; without tensors that of the README."""
    if state is None:
        return build_network("convnet-1", 5, _sizes(4, 3, (6,)))
    layers = sorted(name for name in state if re.fullmatch(r"layer\d+/kernel", name))
    stem, widths = state["conv1/kernel"].shape, tuple(len(state[name]) for name in layers)
    return build_network(f"convnet-{len(layers)}", len(state["fc/kernel"]), _sizes(stem[0], stem[1], widths))


def _sizes(stem: int, channels: int, widths: tuple[int, ...]) -> NetworkConfig:
    shape = (SIDE, SIDE, channels)
    return NetworkConfig(image_shape=shape, stem_width=stem, widths=widths, strides=(STRIDE,) * len(widths))


def _groups(names: Iterable[str]) -> list[str]:
    """The groups with a convolution, in order."""
    return sorted({name.split("/")[0] for name in names} - {"fc"})


def variables_of(state: dict[str, np.ndarray]) -> dict[str, Any]:
    """Reference names (OIHW, (out, in)) to our trees (HWIO, (in, out))."""
    params: dict[str, Any] = {"fc": {"linear": {"kernel": state["fc/kernel"].T, "bias": state["fc/bias"]}}}
    batch_stats: dict[str, Any] = {}
    for group in _groups(state):
        params[group] = {
            "conv": {"kernel": state[f"{group}/kernel"].transpose(2, 3, 1, 0)},
            "bn": {"scale": state[f"{group}/bn_scale"], "bias": state[f"{group}/bn_bias"]},
        }
        batch_stats[group] = {"bn": {"mean": state[f"{group}/bn_mean"], "var": state[f"{group}/bn_var"]}}
    return {"params": params, "batch_stats": batch_stats}


def state_of(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """The inverse of `variables_of`."""
    params, stats = variables["params"], variables["batch_stats"]
    linear = params["fc"]["linear"]
    state = {"fc/kernel": np.asarray(linear["kernel"]).T, "fc/bias": np.asarray(linear["bias"])}
    for group in _groups(params):
        state[f"{group}/kernel"] = np.asarray(params[group]["conv"]["kernel"]).transpose(3, 2, 0, 1)
        state |= {f"{group}/bn_{leaf}": np.asarray(v) for leaf, v in params[group]["bn"].items()}
        state |= {f"{group}/bn_{leaf}": np.asarray(v) for leaf, v in stats[group]["bn"].items()}
    return state
