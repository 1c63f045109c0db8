"""The data of a run folder, built again, and held against what the run recorded of them."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from seqfinal_jax.analysis.run_code import load_run_plugins
from seqfinal_jax.analysis.sequence_command import source_of
from seqfinal_jax.config import base_config, read
from seqfinal_jax.config.build import with_precision
from seqfinal_jax.config.check import flat
from seqfinal_jax.data.sequences.sequence import Sequence
from seqfinal_jax.data.sequences.source import published_scaling_of
from seqfinal_jax.results.run_folder import CellFolder, RunFolderError, read_config, read_result
from seqfinal_jax.training.objectives.risk import InputScaling

BATCH = 100
DataOf = Callable[[CellFolder], tuple[Sequence, InputScaling]]


def config_of(workdir: str | Path) -> ConfigDict:
    """The configuration of a run, from its config.json; fields that came later have their defaults."""
    stored = with_precision(read_config(workdir))
    load_run_plugins(workdir)
    config = base_config(stored["name"], stored["data"]["dataset"])
    known = flat(config)
    with config.unlocked():
        for name, value in flat(stored).items():
            if name in known:
                _put(config, name.split("."), value)
        config.plugins = ()  # they are loaded, as they were in the run
    return config


def _put(config: ConfigDict, path: list[str], value: Any) -> None:
    for part in path[:-1]:
        config = config[part]
    config[path[-1]] = tuple(value) if isinstance(value, list) else value


def data_reader(data_dir: str | None) -> DataOf:
    """A function that gives the sequence that a cell was fitted on, and how its pixels become inputs.

    Cells of one folder and data seed that follow each other share what was read. The function raises RunFolderError
    where the data at hand are not those that the cell recorded, ValueError where they cannot be read.
    """

    @lru_cache(maxsize=1)
    def built(workdir: Path, data_seed: int, recorded: str | None) -> tuple[Sequence, InputScaling]:
        config = config_of(workdir)
        source = source_of(config, data_dir)
        found = source.record.get("content_sha256")
        if recorded is not None and recorded != found:
            raise RunFolderError(
                f"{workdir}: its results rest on other data (contents {recorded[:12]} there, {str(found)[:12]} now); "
                f"name the folder of the same data with --data_dir"
            )
        return source.build("main", data_seed), read.input_scaling(config, published_scaling_of(source))

    def data_of(cell: CellFolder) -> tuple[Sequence, InputScaling]:
        result = read_result(cell)
        recorded = result.get("data", {}).get("content_sha256")
        return built(cell.path.parents[3], int(result["data_seed"]), recorded)

    return data_of


def batches(images: np.ndarray, labels: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Images and labels in batches of 100, the last one padded with samples of label -1."""
    short = -len(labels) % BATCH
    images = np.concatenate([images, np.zeros((short, *images.shape[1:]), images.dtype)])
    labels = np.concatenate([labels, np.full(short, -1)]).astype(np.int32)
    return jnp.asarray(images.reshape(-1, BATCH, *images.shape[1:])), jnp.asarray(labels.reshape(-1, BATCH))
