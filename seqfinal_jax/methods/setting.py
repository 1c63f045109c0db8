"""The information that a recipe may use."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from seqfinal_jax.methods.grid import JOINT_GRID, Grid
from seqfinal_jax.methods.options import Options


@dataclass(frozen=True)
class Setting:
    """The information that a recipe may use.

    grid: the run's grid; its strengths of the adjacent penalty are for stages with such a penalty, see `plain_grid`.
    family, num_blocks: of the network. options: those that the method uses (`options.effective`).
    fields: values of the method's own fields. axes: values of the method's own axes of the grid.
    """

    num_steps: int
    grid: Grid
    family: str = "convnet"
    num_blocks: int = 1
    options: Options = Options()
    joint_grid: Grid = JOINT_GRID
    fields: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def final_step(self) -> int:
        """The last time step."""
        return self.num_steps - 1

    @property
    def all_steps(self) -> tuple[int, ...]:
        """0, 1, ..., final step."""
        return tuple(range(self.num_steps))

    @property
    def history(self) -> tuple[int, ...]:
        """All steps but the final one."""
        return self.all_steps[:-1]

    @property
    def plain_grid(self) -> Grid:
        """Learning rate, weight decay and dropout."""
        return replace(self.grid, adjacent=())

    @property
    def own_grid(self) -> Grid:
        """The plain grid and the axes that the method declares."""
        return self.plain_grid.with_axes(tuple(self.axes.items()))
