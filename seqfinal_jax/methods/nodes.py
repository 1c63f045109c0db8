"""The graph of a method: stages (fits), choices among candidates, and transformations of earlier results.

A node is immutable. It is identified by its `key`, a hash of its own fields and of the keys of the nodes it comes
from, so comparing and hashing nodes costs the same however long the chain behind them is.
"""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Literal, Union, get_args

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.stages.objectives import Pooled, StageObjective
from seqfinal_jax.models.per_step.low_rank import Adapter
from seqfinal_jax.models.per_step.network import Mode
from seqfinal_jax.models.per_step.side import SideSizes
from seqfinal_jax.records.bound_values import bound_values
from seqfinal_jax.records.code_identity import code_digest, qualified_name
from seqfinal_jax.records.digests import text_digest
from seqfinal_jax.results.rows import GRID_COLUMNS, HALVED, JOINT_COLUMNS
from seqfinal_jax.training.engine.early_stopping import Keep
from seqfinal_jax.training.engine.optimisers import OPTIMISERS, Optimiser

LayerSets = tuple[tuple[str, ...], ...] | Literal["surgical_rgn", "surgical_snr"]


@dataclass(frozen=True)
class StepForm:
    """A network with one model per time step.

    Only its last step is trained, except in the joint model; the weights of earlier steps come from the start and are
    frozen.

    init_last: "fresh" weights, or those of the previous step ("previous", separate mode only).
    separate: which layers are new at each later step (`per_step.version_table`). ablate: added modules have no effect.
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
    """Continues the best training of another stage, as if it had had this patience and this limit of epochs."""

    to_epochs: int
    patience: int


def described(value: Any) -> Any:
    """A value of a node as plain data; values that may give different results give different data.

    Nodes become their keys, functions and classes their names with the digest of their code (empty for this package's
    own) and what they hold of the function that made them, data classes their class and fields, without those that the
    run fills in (`of_run`). Raises TypeError for a value of any other type, and ValueError for a function that cannot be
    told from another one.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, _Node):
        return value.key
    if isinstance(value, (tuple, list)):
        return [described(part) for part in value]
    if isinstance(value, Mapping):
        return {str(name): described(part) for name, part in value.items()}
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        named = [f.name for f in fields(value) if f.init and "of_run" not in f.metadata]
        own = {name: described(getattr(value, name)) for name in named}
        return {"class": _named(type(value)), "version": getattr(value, "version", 1), **own}
    if isinstance(value, partial):
        parts = (value.func, value.args, value.keywords)
        return {"partial": [_bound("a partial", value.func, str(k), part) for k, part in enumerate(parts)]}
    if inspect.ismethod(value):
        return {"method": _named(value.__func__), "of": _bound("a method", value, "self", value.__self__)}
    if callable(value) and hasattr(value, "__qualname__"):
        return _named(value)
    raise TypeError(
        f"{value!r} cannot be part of a stage: expected numbers, strings, tuples of them, frozen data classes or "
        f"functions of a module"
    )


def _named(thing: Any) -> list[Any]:
    """A function's or class's name, digest and, where it has any, the values that it holds besides its text."""
    own = {name: _bound("a closure", thing, name, value) for name, value in bound_values(thing).items()}
    return [qualified_name(thing), code_digest(thing), *([own] if own else [])]


def _bound(kind: str, thing: Any, name: str, value: Any) -> Any:
    """A value that a function holds, as plain data."""
    try:
        return described(value)
    except (TypeError, RecursionError):
        raise ValueError(
            f"{getattr(thing, '__qualname__', thing)} is {kind} over {name} = {' '.join(repr(value).split())}, which "
            f"cannot be written down, so that it could not be told from one with another value; give the value in "
            f"`candidates`, or make it a field of a frozen data class with __call__"
        ) from None


class _Node:
    """What nodes have in common: equality and hash by `key`."""

    key: str

    def __post_init__(self) -> None:
        text = json.dumps([type(self).__name__, *(described(v) for v in self._parts())], sort_keys=True)
        object.__setattr__(self, "key", text_digest(text, 12))

    def _parts(self) -> Iterator[Any]:
        return (getattr(self, f.name) for f in fields(self) if f.init)  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, eq=False)
class Stage(_Node):
    """One stage of a recipe: the trainings of all grid points on some time steps.

    name: names the stage's random streams (shuffles, dropout) and appears in results; stages of equal content are
        one stage, whichever method asks for them.
    role: its purpose in the method: "start", "source", "probe" or "final".
    train, valid: time steps whose training samples are used for training, and whose validation samples for selection.
    objective: the loss, and the streams of minibatches that it uses (`stages.objectives`).
    start: the node whose best training, per seed, gives the start variables; None for random ones.
    anchors: nodes towards whose models the objective has a penalty (`Anchored`).
    fresh: starts from random weights although there is a `start`, which then serves as an anchor only.
    variant: the build of the sequence: "main"; "oracle" (a larger final step, drawn separately); or "nearest_neighbours"
        or "optimal_matching", where samples of earlier steps that match those of the final one replace the others.
    layers: sets of layer groups, each trained with the whole grid; empty for all groups; or the surgical rule that
        ranks the groups before the training. For the joint model, the groups that are separate; the others are shared.
    max_epochs: the limit of epochs, for a search that needs fewer than the run allows.
    resume: the stage continues its `start`: the best training only, from its last epoch, with its optimiser's state.
    allowed_as: nodes that need not be fitted themselves; the stage may make as many updates as all of their stages
        together, and never stops early.
    optimiser: the stage's own, an `Optimiser` or the name of a registered one; None for that of the run.
    keep: "last" keeps the model of the last allowed epoch, without stopping early; by default that of the best epoch.

    Raises TypeError for an objective that is not a StageObjective, and ValueError for an unknown optimiser.
    """

    name: str
    role: str
    train: tuple[int, ...]
    valid: tuple[int, ...]
    grid: Grid
    objective: StageObjective = Pooled()
    start: "Node | None" = None
    anchors: tuple["Node", ...] = ()
    fresh: bool = False
    variant: str = "main"
    layers: LayerSets = ()
    form: StepForm | None = None
    max_epochs: int | None = None
    resume: Resume | None = None
    allowed_as: tuple["Node", ...] = ()
    optimiser: Optimiser | str | None = None
    keep: Keep = "best"
    key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the objective and computes the key."""
        if not isinstance(self.objective, StageObjective):
            raise TypeError(
                f"stage {self.name!r}: objective = {self.objective!r}; expected a StageObjective such as Pooled()"
            )
        if isinstance(self.optimiser, str):
            object.__setattr__(self, "optimiser", OPTIMISERS.get(self.optimiser))
        if self.keep not in get_args(Keep):
            raise ValueError(f"stage {self.name!r}: keep = {self.keep!r}; expected 'best' or 'last'")
        super().__post_init__()

    @property
    def label(self) -> str:
        """The name in results; a stage that continues another one shares the name of its random streams."""
        return f"{self.name}-resumed" if self.resume else self.name

    @property
    def sources(self) -> tuple["Node", ...]:
        """The start and the anchors."""
        start = () if self.start is None else (self.start,)
        return (*start, *(anchor for anchor in self.anchors if anchor != self.start))

    def num_members(self, num_groups: int) -> int:
        """The number of trainings per seed, for a network with this number of layer groups."""
        if self.resume:
            return 1
        sets = num_groups if isinstance(self.layers, str) else max(1, len(self.layers))
        return sets * len(self.grid.points())


@dataclass(frozen=True, eq=False)
class Choice(_Node):
    """The candidate with the best accuracy on the final step's validation or test set; the first of equal ones.

    names: what each candidate is called in results, such as {"k": 2}; all of them stand in `grid.csv`, the chosen one's
        in `results.csv`. Empty for candidates without names.

    Raises ValueError for another number of names than of candidates, and for one that is empty or a column of grids.
    """

    candidates: tuple["Node", ...]
    by: Literal["validation", "test"] = "validation"
    names: Sequence[Mapping[str, float | str]] = ()
    key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the names and computes the key."""
        if self.names and len(self.names) != len(self.candidates):
            raise ValueError(
                f"a choice of {len(self.candidates)} candidates has {len(self.names)} names; give each one a name"
            )
        for number, name in enumerate(self.names):
            if not name:
                raise ValueError(f"candidate {number} has no name; give it one, such as {{'k': {number}}}")
            if taken := [
                each for each in name if each in ("stage", "role", *GRID_COLUMNS, *JOINT_COLUMNS, HALVED)
            ]:
                raise ValueError(f"names of a choice: {taken[0]!r} is a column of every grid; rename it")
        super().__post_init__()

    @property
    def sources(self) -> tuple["Node", ...]:
        """The candidates."""
        return self.candidates


@dataclass(frozen=True, eq=False)
class Transform(_Node):
    """Variables computed from those of other nodes without training.

    function: (variables of each of `inputs`, then the candidate's values by name) -> variables; pure, on trees of arrays:
        a named function, or a frozen data class with __call__, whose fields are then a part of the fingerprint.
    inputs: the nodes whose best variables it takes; they must be of one network.
    candidates: values to try; the one with the best accuracy on the validation samples of `valid` is chosen, the first
        of equal ones.
    statistics: time steps from whose training samples the batch-norm statistics are estimated again, for every
        candidate; empty to keep those that the function returns.
    valid: time steps whose validation samples are used for the choice; empty for those of the last input.
    name: appears in results. version: raise it when the function's results change.
    """

    function: Callable[..., Any]
    inputs: tuple["Node", ...]
    candidates: tuple[tuple[tuple[str, float], ...], ...] = ((),)
    statistics: tuple[int, ...] = ()
    valid: tuple[int, ...] = ()
    name: str = ""
    role: str = "final"
    version: int = 1
    key: str = field(init=False, repr=False)

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: "Node | Sequence[Node]",
        candidates: Sequence[Mapping[str, float]] = ({},),
        statistics: Sequence[int] = (),
        valid: Sequence[int] = (),
        name: str = "",
        role: str = "final",
        version: int = 1,
    ) -> None:
        nodes = (inputs,) if isinstance(inputs, _Node) else tuple(inputs)
        if not nodes or not candidates:
            raise ValueError("a transformation needs at least one input and one candidate")
        values = {
            "function": function, "inputs": nodes, "statistics": tuple(statistics),
            "candidates": tuple(tuple(dict(each).items()) for each in candidates),
            "valid": tuple(valid) or stage_of(nodes[-1]).valid, "role": role, "version": version,
            "name": name or _called(function),
        }  # fmt: skip
        for field_name, value in values.items():
            object.__setattr__(self, field_name, value)
        self.__post_init__()

    @property
    def sources(self) -> tuple["Node", ...]:
        """The inputs."""
        return self.inputs

    @property
    def label(self) -> str:
        """The name in results."""
        return self.name

    @property
    def like(self) -> Stage:
        """The stage of the last input, whose network, data and steps the result shares."""
        return stage_of(self.inputs[-1])

    @property
    def train(self) -> tuple[int, ...]:
        """The time steps that the last input was trained on."""
        return self.like.train

    @property
    def variant(self) -> str:
        """The build of the sequence of the last input."""
        return self.like.variant

    @property
    def form(self) -> StepForm | None:
        """The per-step network of the last input."""
        return self.like.form

    @property
    def objective(self) -> StageObjective:
        """The objective of the last input."""
        return self.like.objective

    def num_members(self, num_groups: int) -> int:
        """Always 0, as nothing is trained."""
        return 0


def _called(function: Any) -> str:
    """The name of a function, of that of a partial, or of the class of a callable."""
    function = function.func if isinstance(function, partial) else function
    return getattr(function, "__name__", "") or type(function).__name__


Node = Union[Stage, Choice, Transform]  # noqa: UP007  (the classes name it as text)
Model = Stage | Transform


def stage_of(node: Node) -> Stage:
    """The stage that tells a node's network and data: of a choice the first candidate's, of a transformation the last
    input's."""
    while not isinstance(node, Stage):
        node = node.candidates[0] if isinstance(node, Choice) else node.inputs[-1]
    return node


def all_nodes(*ends: Node) -> list[Node]:
    """Every node that these nodes need, themselves included, each once, earlier ones first."""
    found: dict[Node, None] = {}
    waiting: list[tuple[Node, bool]] = [(end, False) for end in reversed(ends)]
    while waiting:
        node, expanded = waiting.pop()
        if node in found:
            continue
        if expanded:
            found[node] = None
        else:
            waiting.append((node, True))
            waiting.extend((source, False) for source in reversed(node.sources))
    return list(found)


def all_stages(*ends: Node) -> list[Stage]:
    """Every stage that must be trained for these nodes, each once, earlier ones first."""
    return [node for node in all_nodes(*ends) if isinstance(node, Stage)]


def at_step(node: Node, step: int) -> Node:
    """The node of a sequential method with its model of an earlier time step.

    Raises ValueError when no stage was trained on that step alone.
    """
    while True:
        if isinstance(node, Choice):
            return Choice(tuple(at_step(candidate, step) for candidate in node.candidates))
        if node.train == (step,):
            return node
        before = node.start if isinstance(node, Stage) else node.inputs[-1]
        if before is None:
            raise ValueError(
                f"stage {node.name!r} does not follow the sequence: it has no model of step {step}"
            )
        node = before


def has_model_of_every_step(node: Node, steps: Sequence[int]) -> bool:
    """Whether a method gives a model for each of these time steps, as the joint model and sequential methods do."""
    if stage_of(node).objective.network_per_step:
        return True
    try:
        for step in steps:
            at_step(node, step)
    except ValueError:
        return False
    return True
