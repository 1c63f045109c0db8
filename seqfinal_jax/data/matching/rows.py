"""Row numbers of the earlier samples that stand in for the final ones, kept on disk by the contents of the data."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seqfinal_jax.data.matching.links import MEMORY_GIB, Samples, links_back, matching_rule
from seqfinal_jax.data.sequences.pool import ImagePool
from seqfinal_jax.data.stored_arrays import add_array, cache_dir, read_arrays, write_arrays

# Raised by hand whenever the same data would give other samples.
MATCHING_VERSION = 1
log = logging.getLogger(__name__)


def matched_rows(
    images: np.ndarray,
    labels: np.ndarray,
    rows: Sequence[np.ndarray],
    how: str,
    memory_gib: float = MEMORY_GIB,
    cache: bool = True,
) -> list[np.ndarray]:
    """The training samples of earlier steps that stand in for those of the final one.

    Args:
        images: (N, ...) images of all steps.
        labels: (N,) their labels.
        rows: row numbers (n_t,) of the training samples of steps 0..F.
        how: 'nearest_neighbours' or 'optimal_matching'.
        memory_gib: largest matrix of distances that optimal matching may make, in GiB.
        cache: keeps the choice on disk under a hash of these samples (folder: environment variable
            SEQFINAL_CACHE_DIR).

    Returns:
        Row numbers (n_F,) for each of the steps 0..F-1, repeats among them.

    Raises:
        ValueError: `how` is unknown, a step lacks a class of the final one, or optimal matching would need more
            memory; the message names step and class.
    """
    matching_rule(how)
    steps = [Samples(images[numbers], labels[numbers]) for numbers in rows]
    key = matching_key(steps, how)
    chosen = _cached(how, key) if cache else None
    if chosen is None:
        chosen = [link.positions for link in links_back(steps, how, memory_gib)]
        if cache and chosen:
            _keep(how, key, chosen)
    return [numbers[positions] for numbers, positions in zip(rows, chosen, strict=False)]


def with_matched(
    pool: ImagePool, how: str, seeds: Sequence[int], memory_gib: float = MEMORY_GIB
) -> ImagePool:
    """The pool with a variant `how` of the main sequence of every seed: training samples of earlier steps stand in
    for those of the final one. No image is copied; errors are those of `matched_rows`, with the option to change.
    """
    rows = dict(pool.rows)
    for seed in seeds:
        steps = pool.rows["main", seed]
        train = [step["train"] for step in steps]
        try:
            matched = matched_rows(pool.images, pool.labels, train, how, memory_gib)
        except ValueError as error:
            raise ValueError(f"config.joint.loss_samples = {how!r}, seed {seed}: {error}") from error
        stand_in = [{**step, "train": own} for step, own in zip(steps, matched, strict=False)]
        rows[how, seed] = (*stand_in, steps[-1])
    return replace(pool, rows=rows)


def usage_counts(rows: Sequence[np.ndarray], matched: Sequence[np.ndarray]) -> list[np.ndarray]:
    """How often each training sample is used after matching; unused ones count 0, final ones 1.

    Args:
        rows: row numbers (n_t,), each once, of the training samples of steps 0..F.
        matched: row numbers (n_F,) of steps 0..F-1, as `matched_rows` gives them.

    Returns:
        Counts (n_t,) int64 of steps 0..F, in the order of `rows`.
    """
    counts = []
    for numbers, chosen in zip(rows, [*matched, rows[-1]], strict=True):
        order = np.argsort(numbers)
        places = order[np.searchsorted(numbers, chosen, sorter=order)]
        counts.append(np.bincount(places, minlength=len(numbers)))
    return counts


def matching_key(steps: Sequence[Samples], how: str) -> str:
    """A hash of the rule, its version and all samples (type, shape and contents)."""
    digest = hashlib.sha256(f"{how} version {MATCHING_VERSION} steps {len(steps)}".encode())
    for step in steps:
        add_array(digest, step.images)
        add_array(digest, step.labels.astype(np.int64))
    return digest.hexdigest()


def _cached(how: str, key: str) -> list[np.ndarray] | None:
    path = cache_dir() / f"{how}-{key[:16]}.npz"
    stored = read_arrays(path, key, ["positions"])
    if stored is None:
        return None
    log.info("matching of %d steps: %s, read from %s", len(stored["positions"]), how.replace("_", " "), path)
    return list(stored["positions"])


def _keep(how: str, key: str, chosen: list[np.ndarray]) -> None:
    path = cache_dir() / f"{how}-{key[:16]}.npz"
    write_arrays(path, key, {"positions": np.stack(chosen)}, "the matching")
