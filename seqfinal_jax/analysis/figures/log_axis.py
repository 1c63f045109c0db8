"""Logarithmic axes on which zero has a place of its own and ticks are plain numbers."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TICKS = 11
NEAR = 2.5  # ticks closer than by this factor would run into one another


def zero_place(values: Iterable[float]) -> float:
    """Where zero is drawn: a decade below the smallest positive value (at 1 where there is none)."""
    positive = [value for value in values if value > 0]
    return min(positive) / 10 if positive else 1.0


def on_log(values: Any, zero: float) -> np.ndarray:
    """Places of values on the axis: themselves, zeros at `zero`."""
    values = np.asarray(values, float)
    return np.where(values > 0, values, zero)


def log_ticks(values: Iterable[float]) -> list[float]:
    """Ticks for positive values: the values where they are few and far apart, otherwise round numbers among them."""
    found = sorted({value for value in values if value > 0})
    apart = all(high / low > NEAR for low, high in itertools.pairwise(found))
    if len(found) <= MOST_TICKS and apart:
        return found
    return round_ticks(found[0], found[-1])


def round_ticks(low: float, high: float) -> list[float]:
    """Three or more powers of ten from `low` to `high` where there are, else finer steps, else even ones."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) >= 3:
            return ticks[:: math.ceil(len(ticks) / MOST_TICKS)]
    return [float(f"{tick:.3g}") for tick in np.linspace(low, high, 3)]


def short_number(value: float) -> str:
    """A number as short text: "0.01", "1000", "1e4", "1e-5"."""
    text = f"{value:g}"
    if value and abs(math.log10(abs(value))) > 3.5:
        digits, _, power = f"{value:.3e}".partition("e")
        text = f"{float(digits):g}e{int(power)}"
    return text


def set_log_axis(axes: "Axes", which: str, ticks: Sequence[float], zero: float | None = None) -> None:
    """Makes the axis "x" or "y" logarithmic with these ticks, and one labelled 0 at `zero`."""
    from matplotlib.ticker import NullFormatter, NullLocator

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    places = ([] if zero is None else [zero]) + list(ticks)
    labels = ([] if zero is None else ["0"]) + [short_number(tick) for tick in ticks]
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_ticks(places, labels)
