"""Grids of hyper-parameters, in the published order: learning rate outermost, then weight decay, then dropout."""

import itertools
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """Values of each hyper-parameter; on ties of accuracy the earlier point wins."""

    learning_rate: tuple[float, ...] = (1e-3, 1e-4)
    weight_decay: tuple[float, ...] = (1e-4, 1e-2)
    dropout: tuple[float, ...] = (0.0, 0.5)

    def points(self) -> list[dict[str, float]]:
        """All grid points, in order."""
        names = ("learning_rate", "weight_decay", "dropout")
        values = itertools.product(*(getattr(self, name) for name in names))
        return [dict(zip(names, point, strict=True)) for point in values]
