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

from seqfinal_jax.models import Network, NetworkConfig, apply_network, build_network
from seqfinal_jax.training.checkpoints import DamagedCheckpoint, nested, read_folder
from seqfinal_jax.training.objectives import InputScaling


@dataclass(frozen=True)
class StoredModel:
    """A network with its best variables; call it with images to get logits."""

    network: Network
    variables: dict[str, Any]
    scaling: InputScaling
    class_names: tuple[str, ...]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Logits (n, classes) of images (n,h,w,c) with pixels 0..255, in evaluation mode.

        Raises ValueError when the images have another shape than the network was trained on.
        """
        config = self.network.config
        wanted = (config.image_size, config.image_size, config.channels)
        images = np.asarray(images)
        if images.shape[1:] != wanted or images.ndim != 4:
            raise ValueError(
                f"expected images of shape (n, {wanted[0]}, {wanted[1]}, {wanted[2]}), found {images.shape}"
            )
        batches = np.array_split(images, range(100, len(images), 100))
        return np.concatenate(
            [np.asarray(_logits(self.network, self.scaling, self.variables, b)) for b in batches]
        )

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The most likely class of each image, (n,) int."""
        return np.argmax(self(images), axis=-1)


@partial(jax.jit, static_argnames=("network", "scaling"))
def _logits(network: Network, scaling: InputScaling, variables: Any, images: Array) -> Array:
    return apply_network(network, variables, scaling(images, jnp.float32))[0]


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
    except DamagedCheckpoint as error:
        raise ValueError(
            f"the model in {folder} is damaged ({error}); delete the folder and run again"
        ) from error
    model = meta["model"]
    sizes = {name: tuple(v) if isinstance(v, list) else v for name, v in model["network"].items()}
    network = build_network(model["architecture"], model["num_classes"], NetworkConfig(**sizes))
    scaling = InputScaling(**{name: v and tuple(v) for name, v in model["input_scaling"].items()})
    return StoredModel(network, nested(arrays)["best"], scaling, tuple(model["class_names"]))
