"""All images of a run in one array; stages select from it by row numbers only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from seqfinal_jax.data.sequences.class_gaps import class_gaps
from seqfinal_jax.data.sequences.sequence import Sequence

# Image arrays are padded to a multiple of this, so that runs of similar size share compiled programs.
ROW_BUCKET = 16384

Key = tuple[str, int]


@dataclass(frozen=True)
class ImagePool:
    """images (N,h,w,c) uint8, labels and source_index (N,) int32 of every sequence, and where its splits lie.

    `rows[(variant, seed)][step][split]` are row numbers (n,); a split that is absent is missing from the mapping.
    `notes[(variant, seed)]` are remarks on the data that a table of results should carry.
    """

    images: np.ndarray
    labels: np.ndarray
    source_index: np.ndarray
    rows: Mapping[Key, tuple[Mapping[str, np.ndarray], ...]]
    notes: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)

    def split_rows(self, key: Key, steps: tuple[int, ...], split: str) -> list[np.ndarray]:
        """Row numbers of one split of some steps, one array per step."""
        return [self.rows[key][step][split] for step in steps]


def pool_sequences(sequences: Mapping[Key, Sequence]) -> ImagePool:
    """Lays the images of all sequences (by variant and seed) into one array.

    Raises ValueError where the final step's training samples lack a class.
    """
    images, labels, source_index, rows, first = [], [], [], {}, 0
    for key, sequence in sequences.items():
        steps = []
        for step in sequence.steps:
            places = {}
            for name in ("train", "valid", "test"):
                split = getattr(step, name)
                if split is None:
                    continue
                images.append(split.images)
                labels.append(split.labels)
                source_index.append(split.source_index)
                places[name] = np.arange(first, first + len(split.labels))
                first += len(split.labels)
            steps.append(places)
        rows[key] = tuple(steps)
    padding = -first % ROW_BUCKET
    images.append(np.zeros((padding, *images[0].shape[1:]), images[0].dtype))
    labels.append(np.zeros(padding, np.int32))
    source_index.append(np.full(padding, -1))
    whole_labels, index = (np.concatenate(parts).astype(np.int32) for parts in (labels, source_index))
    notes = {key: sequence.warnings + class_gaps(sequence) for key, sequence in sequences.items()}
    return ImagePool(np.concatenate(images), whole_labels, index, rows, notes)
