"""The tiny network of the methods' reference runs, as our network, and its states by the reference's names."""

from typing import Any

import numpy as np

from seqfinal_jax.models import Network, NetworkConfig, build_network

NUM_CLASSES = 5


def tiny_network() -> Network:
    config = NetworkConfig(image_shape=(16, 16, 3), stem_width=4, widths=(6,), strides=(2,))
    return build_network("convnet-1", NUM_CLASSES, config)


def variables_of(state: dict[str, np.ndarray]) -> dict[str, Any]:
    """Reference names (OIHW, (out, in)) to our trees (HWIO, (in, out))."""
    params: dict[str, Any] = {"fc": {"linear": {"kernel": state["fc/kernel"].T, "bias": state["fc/bias"]}}}
    batch_stats: dict[str, Any] = {}
    for group in ("conv1", "layer1"):
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
    for group in ("conv1", "layer1"):
        state[f"{group}/kernel"] = np.asarray(params[group]["conv"]["kernel"]).transpose(3, 2, 0, 1)
        state |= {f"{group}/bn_{leaf}": np.asarray(v) for leaf, v in params[group]["bn"].items()}
        state |= {f"{group}/bn_{leaf}": np.asarray(v) for leaf, v in stats[group]["bn"].items()}
    return state
