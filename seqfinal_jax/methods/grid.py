"""Grids of hyper-parameters, in the published order, outermost first."""

import itertools
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """Values of each hyper-parameter; on ties of accuracy the earlier point wins.

    adjacent: strengths of the penalty between neighbouring time steps, only where a method has one.
    """

    learning_rate: tuple[float, ...] = (1e-3, 1e-4)
    weight_decay: tuple[float, ...] = (1e-4, 1e-2)
    adjacent: tuple[float, ...] = ()
    dropout: tuple[float, ...] = (0.0, 0.5)

    def points(self) -> list[dict[str, float]]:
        """All grid points, in order."""
        names = [n for n in ("learning_rate", "weight_decay", "adjacent", "dropout") if getattr(self, n)]
        values = itertools.product(*(getattr(self, name) for name in names))
        return [dict(zip(names, point, strict=True)) for point in values]
