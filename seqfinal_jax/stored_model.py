"""Models that a run has stored, ready to predict."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqfinal_jax.methods.nodes import Form
from seqfinal_jax.methods.stages.network import stage_network
from seqfinal_jax.models import Network, NetworkConfig, apply_network, build_network
from seqfinal_jax.models.low_rank import Adapter
from seqfinal_jax.models.per_step import StepNetwork, apply_step
from seqfinal_jax.results.checkpoints import nested, read_folder
from seqfinal_jax.results.sealed import DamagedFolder
from seqfinal_jax.training.objectives import InputScaling


@dataclass(frozen=True)
class StoredModel:
    """A network with its best variables; call it with images to get logits.

    A per-step network answers with its last time step, or with the one that `step` names, counted from 0.
    """

    network: Network | StepNetwork
    variables: dict[str, Any]
    scaling: InputScaling
    class_names: tuple[str, ...]

    def __call__(self, images: np.ndarray, step: int | None = None) -> np.ndarray:
        """Logits (n, classes) of images (n,h,w,c) with pixels 0..255, in evaluation mode.

        Raises ValueError when the images have another shape than the network was trained on, and for a time step
        that the model does not have.
        """
        number = self._number(step)
        config = _base(self.network).config
        wanted = (config.image_size, config.image_size, config.channels)
        images = np.asarray(images)
        if images.shape[1:] != wanted or images.ndim != 4:
            raise ValueError(
                f"expected images of shape (n, {wanted[0]}, {wanted[1]}, {wanted[2]}), found {images.shape}"
            )
        batches = np.array_split(images, range(100, len(images), 100))
        return np.concatenate(
            [np.asarray(_logits(self.network, self.scaling, self.variables, b, number)) for b in batches]
        )

    def predict(self, images: np.ndarray, step: int | None = None) -> np.ndarray:
        """The most likely class of each image, (n,) int."""
        return np.argmax(self(images, step), axis=-1)

    def _number(self, step: int | None) -> int:
        count = self.network.num_steps if isinstance(self.network, StepNetwork) else 1
        if step is not None and not (count > 1 and 0 <= step < count):
            raise ValueError(
                f"step = {step}: this model has {f'steps 0..{count - 1}' if count > 1 else 'a single network'}"
            )
        return count - 1 if step is None else step


@partial(jax.jit, static_argnames=("network", "scaling"))
def _logits(
    network: Network | StepNetwork, scaling: InputScaling, variables: Any, images: Array, step: Array
) -> Array:
    x = scaling(images, jnp.float32)
    if isinstance(network, StepNetwork):
        return apply_step(network, variables, step, x)[0]
    return apply_network(network, variables, x)[0]


def _base(network: Network | StepNetwork) -> Network:
    return network.base if isinstance(network, StepNetwork) else network


def form_of(described: dict[str, Any] | None) -> Form | None:
    """A stage's form from its description in JSON."""
    if described is None:
        return None
    side, adapter = described["side"], described["adapter"]
    return Form(
        **{
            **described,
            "side": side if side == "block" else tuple(side),
            "adapter": adapter and Adapter(**adapter),
        }
    )


def load_model(path: str | Path) -> StoredModel:
    """The best model of a cell (cells/METHOD/ARCHITECTURE/seedK) or of a stage (stages/NAME/seedK) of a run folder.

    Raises ValueError when the folder holds no model, or a damaged one.
    """
    folder = Path(path)
    if (folder / "result.json").exists():
        stage = json.loads((folder / "result.json").read_text())["stages"][-1]["fingerprint"]
        folder = folder.parents[3] / "stages" / stage / folder.name
    if not (folder / "meta.json").exists():
        raise ValueError(
            f"{path} holds no model; give a folder cells/METHOD/ARCHITECTURE/seedK or stages/NAME/seedK"
        )
    try:
        arrays, meta, _ = read_folder(folder)
    except DamagedFolder as error:
        raise ValueError(
            f"the model in {folder} is damaged ({error}); delete the folder and run again"
        ) from error
    model = meta["model"]
    sizes = {name: tuple(v) if isinstance(v, list) else v for name, v in model["network"].items()}
    network = build_network(model["architecture"], model["num_classes"], NetworkConfig(**sizes))
    scaling = InputScaling(**{name: v and tuple(v) for name, v in model["input_scaling"].items()})
    network = stage_network(network, form_of(meta["stage"]["form"]))
    return StoredModel(network, nested(arrays)["best"], scaling, tuple(model["class_names"]))
