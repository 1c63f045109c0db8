"""A method is a recipe: a chain of stages, each one fit that starts from the best member of an earlier one."""

from collections.abc import Callable
from dataclasses import dataclass

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.names import ALIASES
from seqfinal_jax.registry import Registry


@dataclass(frozen=True)
class Stage:
    """One fit of a recipe.

    name: names the stage's random streams (shuffles, dropout) and appears in results; stages of equal name and
        content are one stage, whichever method asks for them.
    role: what it is for in its method: "start", "source", "probe" or "final".
    train, valid: time steps whose training samples are pooled, and whose validation samples select.
    weights: one loss weight a training step, or None for 1.
    start: the stage whose best member (per seed) gives the start variables; None for random ones.
    variant: which build of the sequence, "main" or "oracle" (a larger final step, its own draw).
    """

    name: str
    role: str
    train: tuple[int, ...]
    valid: tuple[int, ...]
    grid: Grid
    weights: tuple[float, ...] | None = None
    start: "Stage | None" = None
    variant: str = "main"

    def chain(self) -> list["Stage"]:
        """All stages that lead here, the first one first."""
        return [*(self.start.chain() if self.start else []), self]


@dataclass(frozen=True)
class Setting:
    """What a recipe may depend on: the number of time steps and the grid of hyper-parameters."""

    num_steps: int
    grid: Grid

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


Recipe = Callable[[Setting], Stage]

RECIPES: Registry[Recipe] = Registry("method")


def recipe(name: str) -> Callable[[Recipe], Recipe]:
    """Registers a recipe under a method id."""
    return lambda function: RECIPES.add(name, function)


def build_recipe(method: str, setting: Setting) -> Stage:
    """The final stage of a method (its id or published name); raises ValueError that names the nearest method."""
    return RECIPES.get(ALIASES.get(method, method))(setting)
