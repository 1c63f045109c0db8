"""How long the chosen models were trained, and whether longer training would still have changed them.

A stage's *late gain* is recorded with every result: the mean validation accuracy over the last quarter of the epochs that
it was allowed, minus that over the third quarter; 0 where it stopped earlier. Results of versions before it was recorded
say nothing of it.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DAGGER = "†"
REMEDY = "not trained to the end: raise config.training.least_updates"
ERRORS = 2.0  # standard errors over seeds that a mean late gain must exceed

Record = Mapping[str, Any]


@dataclass(frozen=True)
class TrainingLength:
    """How long a method's chosen models of one architecture were trained, over seeds.

    seeds: how many were looked at. updates: the mean number of optimiser updates behind a model, over all its stages; NaN
    where they are not recorded. epochs: of each stage "mean best epoch / epochs allowed". untrained: models that are the
    start of their last stage (best epoch 0). gain: the largest mean late gain of a stage, a fraction. improving: whether
    the mean late gain of a stage exceeds both the difference that matters and two standard errors.
    """

    seeds: int
    updates: float
    epochs: tuple[str, ...]
    untrained: int
    gain: float
    improving: bool


def training_length(
    records: Sequence[Record], method: str, architecture: str, smallest: float, seeds: Collection[int] = ()
) -> TrainingLength:
    """The training length of a method, from the results that are there; seeds: only those, by default all.

    smallest: the difference that matters, a fraction.
    """
    own = [
        record
        for record in records
        if (record["method"], record["architecture"]) == (method, architecture)
        and (not seeds or record["seed"] in seeds)
    ]
    stages = _by_stage(own)
    gains = [_gains(found) for found in stages.values()]
    means = [float(values.mean()) for values in gains if len(values)]
    updates = [_updates(record) for record in own]
    return TrainingLength(
        len(own),
        float(np.mean(updates)) if updates else math.nan,
        tuple(f"{name}: {_epochs(found)}" for (_, name), found in stages.items()),
        sum(record["best_epoch"] == 0 for record in own),
        max(means, default=math.nan),
        any(is_improving(values, smallest) for values in gains),
    )


def is_improving(gains: np.ndarray, smallest: float) -> bool:
    """Whether the late gains of a stage, one for each seed, say that it was still improving; never for one seed."""
    if len(gains) < 2:
        return False
    mean, error = gains.mean(), gains.std(ddof=1) / math.sqrt(len(gains))
    return bool(mean > smallest + 1e-12 and mean > ERRORS * error)


def _by_stage(records: Sequence[Record]) -> dict[tuple[int, str], list[Record]]:
    """The stages of results that stand at the same place and have the same name."""
    found: dict[tuple[int, str], list[Record]] = {}
    for record in records:
        for place, stage in enumerate(record.get("stages", ())):
            found.setdefault((place, stage["stage"]), []).append(stage)
    return found


def _gains(stages: Sequence[Record]) -> np.ndarray:
    """The late gains that are recorded."""
    return np.array([stage["late_gain"] for stage in stages if stage.get("late_gain") is not None], float)


def _updates(record: Record) -> float:
    """Updates behind a model; NaN where a stage does not say."""
    return float(sum(stage.get("updates", math.nan) for stage in record.get("stages", ())))


def _epochs(stages: Sequence[Record]) -> str:
    best = np.mean([stage["best_epoch"] for stage in stages])
    allowed = dict.fromkeys(stage.get("epochs_allowed", "–") for stage in stages)
    return f"{best:.0f} / {', '.join(map(str, allowed))}"
