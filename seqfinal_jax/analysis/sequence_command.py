"""What the commands share that look at the data of a configuration: the sequence itself, without any training."""

from collections.abc import Sequence
from pathlib import Path

from seqfinal_jax.config.parse import request_of
from seqfinal_jax.config.schema import RunSpec
from seqfinal_jax.data.sequences.source import SequenceSource, sequence_source


def source_of(spec: RunSpec, data_dir: str | Path | None) -> SequenceSource:
    """The sequence of a configuration; raises ValueError for data that cannot be used."""
    return sequence_source(request_of(spec, data_dir))


def seeds_of(spec: RunSpec, default: Sequence[int] = (1007,)) -> tuple[int, ...]:
    """The seeds of the data: those of the configuration, or the published one; one where the data have their own."""
    if spec.data_seed >= 0:
        return (spec.data_seed,)
    return spec.seeds or tuple(default)
