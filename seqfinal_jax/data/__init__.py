"""The data layer: base data sets, shifts, recorded data, and the sequences made of them. No JAX."""

from seqfinal_jax.data.base import cifar, digits, idx  # noqa: F401  (they register their data sets)
from seqfinal_jax.data.base.sources import DATASETS, Source, SourceError, load_source
from seqfinal_jax.data.images import own_images  # noqa: F401
from seqfinal_jax.data.recorded import own_data, portraits, yearbook  # noqa: F401
from seqfinal_jax.data.sequences.sequence import Sequence, Split, Step, build_from_spec, build_sequence
from seqfinal_jax.data.sequences.spec import SequenceSpec, fingerprint, sequence_spec
from seqfinal_jax.data.shifts import SHIFTS
from seqfinal_jax.data.shifts.shift import parse_shifts

__all__ = [
    "DATASETS",
    "SHIFTS",
    "Sequence",
    "SequenceSpec",
    "Source",
    "SourceError",
    "Split",
    "Step",
    "build_from_spec",
    "build_sequence",
    "fingerprint",
    "load_source",
    "parse_shifts",
    "sequence_spec",
]
