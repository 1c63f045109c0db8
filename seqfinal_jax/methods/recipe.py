"""A method is a recipe: stages, each one fit that starts from the best member of an earlier one, and choices."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Union

from seqfinal_jax.methods.grid import JOINT_GRID, Grid
from seqfinal_jax.methods.joint_options import JointTerms
from seqfinal_jax.methods.options import Options
from seqfinal_jax.models.low_rank import Adapter
from seqfinal_jax.models.per_step import Mode
from seqfinal_jax.models.side import SideSizes
from seqfinal_jax.registry import Registry

Objective = Literal["erm", "irm", "dro", "joint"]
LayerSets = tuple[tuple[str, ...], ...] | Literal["surgical_rgn", "surgical_snr"]


@dataclass(frozen=True)
class Form:
    """A per-step network.

    But for the joint model its last step alone is trained; what earlier steps use comes from the start and is frozen.

    init_last: "fresh" weights, or those of the step before ("previous", separate mode only).
    separate: which layers are new at each later step (`per_step.version_table`). ablate: what is added has no effect.
    same_init: all versions start from the same random weights (separate mode only).
    """

    mode: Mode
    num_steps: int
    side: SideSizes = ()
    adapter: Adapter | None = None
    all_layers_efficient: bool = False
    init_last: Literal["fresh", "previous"] = "fresh"
    separate: str = "all"
    ablate: bool = False
    same_init: bool = False


@dataclass(frozen=True)
class Resume:
    """Going on from where another stage's winner stopped, as if it had had this patience and so many epochs."""

    to_epochs: int
    patience: int


@dataclass(frozen=True)
class Penalty:
    """What takes the place of weight decay: distance to earlier models, weighted by Fisher information or not."""

    anchors: tuple["Node", ...]
    power: int = 2
    fisher: bool = False
    places: int = 1


@dataclass(frozen=True)
class Stage:
    """One fit of a recipe.

    name: names the stage's random streams (shuffles, dropout) and appears in results; stages of equal content are
        one stage, whichever method asks for them.
    role: what it is for in its method: "start", "source", "probe" or "final".
    train, valid: time steps whose training samples are used, and whose validation samples select.
    objective: "erm" pools the training steps; "irm" and "dro" take each as a domain; "joint" gives each its own network.
    weights: one loss weight a training step, or None for 1.
    start: the stage (or choice) whose best member, per seed, gives the start variables; None for random ones.
    fresh: random weights although there is a `start` (it matters as an anchor only).
    variant: which build of the sequence: "main", "oracle" (a larger final step, its own draw), or with training samples
        of earlier steps that stand in for those of the final one, "nearest_neighbours" or "optimal_matching".
    layers: sets of layer groups, each trained with the whole grid; empty for all groups; or the surgical rule that
        ranks the groups at the time. Of the joint model, the groups that are separate; the others are shared.
    joint: terms of the joint objective. max_epochs: at most so many, where a search asks for fewer than the run.
    resume: the stage is its `start` trained on: the winner alone, from its last epoch, with its optimiser's state.
    """

    name: str
    role: str
    train: tuple[int, ...]
    valid: tuple[int, ...]
    grid: Grid
    objective: Objective = "erm"
    weights: tuple[float, ...] | None = None
    start: "Node | None" = None
    fresh: bool = False
    variant: str = "main"
    layers: LayerSets = ()
    penalty: Penalty | None = None
    form: Form | None = None
    joint: JointTerms | None = None
    max_epochs: int | None = None
    resume: Resume | None = None

    @property
    def label(self) -> str:
        """The name in results: stages that go on from another one share its streams' name."""
        return f"{self.name}-resumed" if self.resume else self.name

    def num_members(self, num_groups: int) -> int:
        """Fits of one seed, for a network of so many layer groups."""
        if self.resume:
            return 1
        sets = num_groups if isinstance(self.layers, str) else max(1, len(self.layers))
        return sets * len(self.grid.points())


@dataclass(frozen=True)
class Choice:
    """The candidate with the best accuracy on the final step's validation or test set, the first on ties."""

    candidates: tuple["Node", ...]
    by: Literal["validation", "test"] = "validation"


Node = Union[Stage, Choice]  # noqa: UP007  (the classes name it as text)


def all_stages(node: Node) -> Iterator[Stage]:
    """Every stage that must be fitted for a node, earlier ones first; some may come more than once."""
    if isinstance(node, Choice):
        for candidate in node.candidates:
            yield from all_stages(candidate)
        return
    if node.start is not None:
        yield from all_stages(node.start)
    for anchor in node.penalty.anchors if node.penalty else ():
        if anchor != node.start:
            yield from all_stages(anchor)
    yield node


def at_step(node: Node, step: int) -> Node:
    """The node of a sequential method that holds its model of an earlier time step.

    Raises ValueError when no stage was trained on that step alone.
    """
    if isinstance(node, Choice):
        return Choice(tuple(at_step(candidate, step) for candidate in node.candidates))
    if node.train == (step,):
        return node
    if node.start is None:
        raise ValueError(f"stage {node.name!r} does not follow the sequence: it has no model of step {step}")
    return at_step(node.start, step)


@dataclass(frozen=True)
class Setting:
    """What a recipe may depend on besides its own options."""

    num_steps: int
    grid: Grid
    family: str = "convnet"
    num_blocks: int = 1
    options: Options = Options()
    joint_grid: Grid = JOINT_GRID

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


Recipe = Callable[[Setting], Node]

RECIPES: Registry[Recipe] = Registry("method")


def recipe(name: str) -> Callable[[Recipe], Recipe]:
    """Registers a recipe under a method id."""
    return lambda function: RECIPES.add(name, function)
