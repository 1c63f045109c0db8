"""The data of a run folder, built again, and held against what the run recorded of them."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.analysis.run_code import load_run_plugins
from seqfinal_jax.analysis.sequence_command import source_of
from seqfinal_jax.config.parse import scaling_of, stored_spec
from seqfinal_jax.config.schema import RunSpec
from seqfinal_jax.data.sequences.sequence import Sequence
from seqfinal_jax.data.sequences.source import published_scaling_of
from seqfinal_jax.results.run_folder import CellFolder, RunFolderError, read_config, read_result
from seqfinal_jax.training.objectives.risk import InputScaling

BATCH = 100
DataOf = Callable[[CellFolder], tuple[Sequence, InputScaling]]


def spec_of(workdir: str | Path) -> RunSpec:
    """The configuration of a run, from its config.json; the run's plugins are loaded."""
    stored = read_config(workdir)
    load_run_plugins(workdir)
    return stored_spec(stored)


def data_reader(data_dir: str | None) -> DataOf:
    """A function that gives the sequence that a cell was fitted on, and how its pixels become inputs.

    Cells of one folder and data seed that follow each other share what was read. The function raises RunFolderError
    where the data at hand are not those that the cell recorded, ValueError where they cannot be read.
    """

    @lru_cache(maxsize=1)
    def built(workdir: Path, data_seed: int, recorded: str | None) -> tuple[Sequence, InputScaling]:
        spec = spec_of(workdir)
        source = source_of(spec, data_dir)
        found = source.record.get("content_sha256")
        if recorded is not None and recorded != found:
            raise RunFolderError(
                f"{workdir}: its results rest on other data (contents {recorded[:12]} there, {str(found)[:12]} now); "
                f"name the folder of the same data with --data_dir"
            )
        return source.build("main", data_seed), scaling_of(spec, published_scaling_of(source))

    def data_of(cell: CellFolder) -> tuple[Sequence, InputScaling]:
        result = read_result(cell)
        recorded = result.get("data", {}).get("content_sha256")
        return built(cell.run, int(result["data_seed"]), recorded)

    return data_of


def batches(images: np.ndarray, labels: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Images and labels in batches of 100, the last one padded with samples of label -1."""
    short = -len(labels) % BATCH
    images = np.concatenate([images, np.zeros((short, *images.shape[1:]), images.dtype)])
    labels = np.concatenate([labels, np.full(short, -1)]).astype(np.int32)
    return jnp.asarray(images.reshape(-1, BATCH, *images.shape[1:])), jnp.asarray(labels.reshape(-1, BATCH))
