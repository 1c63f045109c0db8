"""Classes that a split of a sequence lacks: an error where nothing could be learned, a note elsewhere."""

import numpy as np

from seqfinal_jax.data.sequences.sequence import Sequence, Split


def class_gaps(sequence: Sequence) -> tuple[str, ...]:
    """A note for every split that has no sample of some class.

    Raises ValueError where the training samples of the final step lack a class that the sequence has.
    """
    present = _present(sequence)
    notes = []
    for t, step in enumerate(sequence.steps):
        for name, split in (("training", step.train), ("validation", step.valid), ("test", step.test)):
            if split is None or not (absent := sorted(present - set(split.labels.tolist()))):
                continue
            said = _said(sequence, t, name, split, absent)
            if name == "training" and t == sequence.final_step:
                raise ValueError(
                    f"{said}; a model could not learn it there. Give the final step more samples"
                )
            notes.append(said)
    return tuple(notes)


def _present(sequence: Sequence) -> set[int]:
    """The classes that occur anywhere; all of them for a sequence of shifts."""
    found = {label for step in sequence.steps for label in np.unique(step.train.labels).tolist()}
    tests = [step.test.labels for step in sequence.steps if step.test is not None]
    return found | {label for labels in tests for label in np.unique(labels).tolist()}


def _said(sequence: Sequence, step: int, name: str, split: Split, absent: list[int]) -> str:
    names = ", ".join(repr(sequence.class_names[label]) for label in absent[:5])
    more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    where = f"step {step} ({sequence.step_names[step]})" if sequence.step_names else f"step {step}"
    return f"{where}: none of its {len(split)} {name} samples is of class {names}{more}"
