"""The data layer: base data sets, shifts, and the sequences made of them. NumPy only."""

from seqfinal_jax.data import digits  # noqa: F401  (registers its data set)
from seqfinal_jax.data.sequence import Sequence, Split, Step, build_sequence
from seqfinal_jax.data.shifts import SHIFTS, parse_shifts
from seqfinal_jax.data.sources import DATASETS, Source, SourceError, load_source

__all__ = [
    "DATASETS",
    "SHIFTS",
    "Sequence",
    "Source",
    "SourceError",
    "Split",
    "Step",
    "build_sequence",
    "load_source",
    "parse_shifts",
]
