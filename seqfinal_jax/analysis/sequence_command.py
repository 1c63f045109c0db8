"""What the commands share that look at the data of a configuration: the sequence itself, without any training."""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from seqfinal_jax.config import read
from seqfinal_jax.config.build import add_own_fields
from seqfinal_jax.config.check import check_config
from seqfinal_jax.data.sequences.source import SequenceSource, sequence_source
from seqfinal_jax.records.plugins import load_plugins, names_of


def source_of(config: ConfigDict, data_dir: str | Path | None) -> SequenceSource:
    """The sequence of a configuration; raises ValueError for one that is wrong, and for data that cannot be used."""
    load_plugins(names_of(config.plugins))
    add_own_fields(config)
    check_config(config)
    return sequence_source(read.sequence_request(config, data_dir))


def seeds_of(config: ConfigDict, default: Sequence[int] = (1007,)) -> tuple[int, ...]:
    """The seeds of the data: those of the configuration, or the published one; one where the data have their own."""
    if config.data_seed >= 0:
        return (config.data_seed,)
    return tuple(config.seeds) or tuple(default)
