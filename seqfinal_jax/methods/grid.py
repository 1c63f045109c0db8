"""Grids of hyper-parameters, in the published order, outermost first."""

import itertools
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Grid:
    """Values of each hyper-parameter; of points with equal accuracy the earlier one is chosen.

    adjacent: strengths of the penalty between consecutive time steps, for methods that have one.
    final_weight: weight of the final step's loss in the joint model. efficient_decay: weight decay of its
        parameter-efficient parts; empty to use the weight decay of the other parts.
    own: axes that a method declares itself, (name, values) each; innermost.
    """

    learning_rate: tuple[float, ...] = (1e-3, 1e-4)
    weight_decay: tuple[float, ...] = (1e-4, 1e-2)
    adjacent: tuple[float, ...] = ()
    dropout: tuple[float, ...] = (0.0, 0.5)
    final_weight: tuple[float, ...] = ()
    efficient_decay: tuple[float, ...] = ()
    own: tuple[tuple[str, tuple[float, ...]], ...] = ()

    def points(self) -> list[dict[str, float]]:
        """All grid points, in order."""
        order = ("efficient_decay", "learning_rate", "weight_decay", "adjacent", "dropout", "final_weight")
        axes = {name: getattr(self, name) for name in order} | dict(self.own)
        names = [name for name, values in axes.items() if values]
        values = itertools.product(*(axes[name] for name in names))
        return [dict(zip(names, point, strict=True)) for point in values]

    def with_axes(self, axes: tuple[tuple[str, tuple[float, ...]], ...]) -> "Grid":
        """The grid with a method's own axes."""
        return replace(self, own=(*self.own, *axes))


# The joint model's grid; its strengths of the adjacent penalty depend on the penalty's type.
JOINT_GRID = Grid((1e-3,), (1e-4,), (), (0.5,), (3.0,))
