"""Stored models of a run, ready to predict."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqfinal_jax.methods.nodes import StepForm
from seqfinal_jax.methods.stages.network import stage_network
from seqfinal_jax.methods.stages.own_logits import stored_logits, trained_like
from seqfinal_jax.models import AnyNetwork, NetworkConfig, build_network
from seqfinal_jax.models.convert.export import (
    DESCRIPTION,
    FORMATS,
    check_package,
    described,
    last_step,
    write_description,
    write_weights,
)
from seqfinal_jax.models.per_step.low_rank import Adapter
from seqfinal_jax.records.code_identity import qualified_name
from seqfinal_jax.results.checkpoints import nested, read_folder
from seqfinal_jax.results.run_folder import stage_folder
from seqfinal_jax.results.run_plugins import UntrustedPlugin, load_recorded
from seqfinal_jax.results.sealed import DamagedFolder, OtherFormat
from seqfinal_jax.results.store import variables_of
from seqfinal_jax.training.objectives.risk import InputScaling, Objective

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredModel:
    """A network with its best weights; call it with images whose pixels are 0..255 to get logits.

    A network with one model per time step uses the last step, or the one that `step` names, counted from 0.

    objective: that of a user's method which makes logits in its own way (`own_logits`); None where they are the network's
    outputs. trained_on: the last time step of the training, which such an objective is told by default.
    """

    network: AnyNetwork
    variables: dict[str, Any]
    scaling: InputScaling
    class_names: tuple[str, ...]
    objective: Objective | None = None
    trained_on: int = 0

    def __call__(self, images: np.ndarray, step: int | None = None) -> np.ndarray:
        """Logits (n, classes) of images (n,h,w,c) with pixels 0..255, in evaluation mode; (classes,) of one (h,w,c).

        Raises ValueError when the images have another shape or range than the network was trained on, and for a time
        step that the model does not have.
        """
        number = self._number(step)
        config = self.network.base.config
        wanted = tuple(config.image_shape)
        images = np.asarray(images)
        if images.ndim == len(wanted):
            return self(images[None], step)[0]
        images = _checked(images, wanted)
        if not len(images):
            return np.zeros((0, self.network.base.num_classes), np.float32)
        batches = np.array_split(images, range(100, len(images), 100))
        return np.concatenate([np.asarray(_logits(self._maker, self.variables, b, number)) for b in batches])

    def predict(self, images: np.ndarray, step: int | None = None) -> np.ndarray:
        """The most likely class of each image, (n,) int; a single number for one image."""
        return np.argmax(self(images, step), axis=-1)

    def export(self, out: str | Path, format: str = "safetensors") -> list[Path]:
        """Writes the model of the last time step into a new folder, in the format "orbax", "safetensors" or "torch".

        The folder also gets description.json: layers, order of dimensions, scaling of images, classes. Of a model whose
        objective makes logits in its own way, which is not exported, it says so, and a warning is logged. Returns the
        paths of both. Raises ValueError for a folder that exists already, an unknown format, or a missing package.
        """
        out = Path(out).expanduser()
        check_package(format)
        if out.exists():
            raise ValueError(f"--out={out} exists already; name a folder that does not")
        network, variables = last_step(self.network, self.variables)
        out.mkdir(parents=True)
        shapes = write_weights(network, variables, format, out)
        content = described(network, format, shapes)
        content |= {"input": self._input(), "class_names": list(self.class_names)}
        if self.objective:
            content["logits"] = f"made by {qualified_name(type(self.objective))}, which is not exported"
            log.warning("%s: the network's outputs are not the logits: these are %s", out, content["logits"])
        write_description(out, content)
        return [out / FORMATS[format], out / DESCRIPTION]

    def _input(self) -> dict[str, Any]:
        """How images become the network's input."""
        height, width, channels = self.network.base.config.image_shape
        size = {"height": height, "width": width, "channels": channels, "pixels": "0..255"}
        if self.scaling.mean is None:
            return {**size, "scaling": "none: the pixels as they are"}
        mean, std = self.scaling.mean, self.scaling.std
        return {**size, "scaling": "(pixel / 255 - mean) / std", "mean": list(mean), "std": list(std)}

    @property
    def _maker(self) -> "LogitMaker":
        return LogitMaker(self.network, self.scaling, self.objective)

    def _number(self, step: int | None) -> int:
        count = self.network.num_steps
        if self.objective and count == 1:
            if step is not None and step < 0:
                raise ValueError(f"step = {step}: expected a time step, counted from 0")
            return self.trained_on if step is None else step
        if step is not None and not (count > 1 and 0 <= step < count):
            raise ValueError(
                f"step = {step}: this model has {f'steps 0..{count - 1}' if count > 1 else 'a single network'}"
            )
        return count - 1 if step is None else step


def _checked(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The images, if their shape and pixels are what the network takes."""
    if images.ndim != 4 or images.shape[1:] != shape:
        sizes = ", ".join(map(str, shape))
        raise ValueError(
            f"expected images of shape (n, {sizes}), or one of shape ({sizes}), found {images.shape}; scale them to "
            f"{shape[0]} x {shape[1]} pixels and give them {shape[2]} channel{'s' * (shape[2] > 1)}"
        )
    if images.dtype.kind not in "uif":
        raise ValueError(f"expected pixels as numbers 0..255, found {images.dtype}")
    if not images.size or images.dtype == np.uint8:
        return images
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 255):
        raise ValueError(f"expected pixels 0..255, found {low} to {high}")
    if images.dtype.kind == "f" and 0 < high <= 1:
        raise ValueError(
            f"expected pixels 0..255, found numbers up to {high:g}, which look like 0..1; multiply them by 255"
        )
    return images


@dataclass(frozen=True)
class LogitMaker:
    """Makes logits from images as a stored model does: by an objective that has its own way, else by the network."""

    network: AnyNetwork
    scaling: InputScaling
    objective: Objective | None = None

    def __call__(self, variables: Any, images: Array, step: Array | int) -> Array:
        """Logits (n,k) of images (n,h,w,c) with pixels 0..255, in evaluation mode, at a time step."""
        if self.objective is None:
            return self.network.apply(variables, self.scaling(images, jnp.float32), step=step)[0]
        data = {"images": images, "labels": jnp.zeros(len(images), jnp.int32)}
        return self.objective.logits(variables, data, jnp.arange(len(images)), jnp.int32(step))


@partial(jax.jit, static_argnames=("maker",))
def _logits(maker: LogitMaker, variables: Any, images: Array, step: Array) -> Array:
    return maker(variables, images, step)


def form_of(described: dict[str, Any] | None) -> StepForm | None:
    """A stage's form from its description in JSON."""
    if described is None:
        return None
    side, adapter = described["side"], described["adapter"]
    return StepForm(
        **{
            **described,
            "side": side if side == "block" else tuple(side),
            "adapter": adapter and Adapter(**adapter),
        }
    )


def load_model(path: str | Path, plugins: Sequence[str] = (), trust_code: bool = False) -> StoredModel:
    """Loads the best model of a cell (cells/METHOD/ARCHITECTURE/seedK) or of a stage (stages/NAME/seedK) of a run folder.

    Plugins that the model needs are executed only if your own runs have used the same code.

    Args:
        path: the folder.
        plugins: files of plugins that you name yourself, which are executed.
        trust_code: also executes the copies of plugins in the run folder, even those of other people.

    Raises:
        ValueError: the folder contains no model or a damaged one, or the model needs a plugin that may not be executed.
    """
    folder = _model_folder(Path(path).expanduser())
    try:
        arrays, meta, _ = read_folder(folder)
    except DamagedFolder as error:
        raise ValueError(
            f"the model in {folder} is damaged ({error}); delete the folder and run again"
        ) from error
    except OtherFormat as error:
        raise ValueError(str(error)) from error
    model = meta["model"]
    try:
        load_recorded(model.get("plugins", ()), _run_of(folder), plugins, trust_code)
    except UntrustedPlugin as error:
        raise ValueError(f"the model in {folder} cannot be loaded: {error}") from error
    sizes = {name: tuple(v) if isinstance(v, list) else v for name, v in model["network"].items()}
    precision = model.get("precision", "highest")  # earlier records do not have it
    network = build_network(model["architecture"], model["num_classes"], NetworkConfig(**sizes), precision)
    scaling = InputScaling(**{name: v and tuple(v) for name, v in model["input_scaling"].items()})
    form, variables = form_of(meta["stage"]["form"]), variables_of(nested(arrays)["best"])
    try:
        objective = stored_logits(meta, form, network, scaling, any_version=bool(plugins))
    except ValueError as error:
        raise ValueError(f"the model in {folder} cannot be loaded: {error}") from error
    step = trained_like(meta)["train"][-1] if objective else 0
    return StoredModel(
        stage_network(network, form), variables, scaling, tuple(model["class_names"]), objective, step
    )


def _run_of(stage: Path) -> Path | None:
    """The run folder that a stage's folder lies in, where it does."""
    there = len(stage.parents) > 2 and stage.parents[1].name == "stages"
    return stage.parents[2] if there else None


def _model_folder(given: Path) -> Path:
    """The folder of the stage whose model a path stands for, wherever it is named from and whatever links to it."""
    folder = given.resolve()
    if folder.is_file() and folder.name in ("result.json", "meta.json"):
        folder = folder.parent
    if (folder / "result.json").exists():
        return _stage_of_cell(given, folder)
    if not (folder / "meta.json").exists():
        raise ValueError(
            f"{given} holds no model; give a folder cells/METHOD/ARCHITECTURE/seedK or stages/NAME/seedK of a run"
        )
    return folder


def _stage_of_cell(given: Path, cell: Path) -> Path:
    advice = "delete the folder and run again"
    try:
        result = json.loads((cell / "result.json").read_text(encoding="utf-8"))
        stage, seed = str(result["stages"][-1]["fingerprint"]), int(result["seed"])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{cell / 'result.json'} is damaged ({error}); {advice}") from error
    if len(cell.parents) < 4 or cell.parents[2].name != "cells":
        raise ValueError(
            f"{given} is a cell outside its run folder, where the models are; give the run folder's "
            f"cells/METHOD/ARCHITECTURE/seedK"
        )
    folder = stage_folder(cell.parents[3], stage, seed)
    if not (folder / "meta.json").exists():
        raise ValueError(
            f"the model of {given} should lie in {folder}, and is not there; run again to fit it"
        )
    return folder
