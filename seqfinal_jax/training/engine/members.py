"""The data types of the engine: members (single trainings), problems, settings, chunks, results."""

import json
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from seqfinal_jax.models.network import Variables
from seqfinal_jax.results.checkpoints import ProgressStore
from seqfinal_jax.training.engine.early_stopping import StopRule, Ties, Track, rank
from seqfinal_jax.training.engine.optimisers import ADAM, Optimiser
from seqfinal_jax.training.engine.programs import Evaluation, Member, Program, State, Vectorise
from seqfinal_jax.training.engine.streams import Batches, EvaluationSet
from seqfinal_jax.training.objectives.risk import Objective


@dataclass(frozen=True)
class MemberSpec:
    """One member: its seed, hyper-parameters, and for each layer group 1 (trained) or 0 (frozen); versions of a
    per-step network have masks of their own (`programs.mask_groups`).

    `group` names the members among which the best one is wanted, usually the seed.
    """

    seed: int
    hyper: Mapping[str, float]
    trainable: Mapping[str, Any]
    group: Hashable = None

    @property
    def identity(self) -> str:
        """A string that is equal for equal members."""
        masks = jax.tree.map(lambda mask: np.asarray(mask).tolist(), dict(self.trainable))
        return json.dumps([self.seed, dict(self.hyper), masks, str(self.group)], sort_keys=True)


@dataclass(frozen=True)
class Problem:
    """The definition of a fit.

    data: {"images" (N,h,w,c), "labels" (N,)}, on a device or on the host.
    batches(seed, epoch): minibatches of an epoch, counted from 1; a pure function.
    evaluation(seed): named sets; "valid" selects. With a set "train" the history holds its figures, otherwise
        those of the training passes.
    start(member): start variables. constants(seed): arrays that the objective needs, fixed for the fit.
    role: names the stage's random streams (dropout keys).
    earlier(member): the result from whose last epoch a member goes on, its optimiser's state by names; None for fits
        that begin at epoch 0. Only with one member per program.
    """

    objective: Objective
    data: dict[str, Any]
    batches: Callable[[int, int], Batches]
    evaluation: Callable[[int], dict[str, EvaluationSet]]
    start: Callable[[MemberSpec], Variables]
    role: str
    constants: Callable[[int], Any] = lambda seed: None
    optimiser: Optimiser = ADAM
    earlier: "Callable[[MemberSpec], MemberResult] | None" = None


@dataclass(frozen=True)
class FitSettings:
    """The settings of a fit. `keep_all` keeps the variables of losing members too."""

    rule: StopRule = StopRule()
    vectorise: Vectorise = "map"
    members_per_program: int = 1
    evaluation_batch_size: int = 100
    keep_all: bool = False
    devices: tuple[Any, ...] | None = None


@dataclass
class MemberResult:
    """The result of a member: history per epoch (0 first), and its variables unless another member was better.

    optimiser: the state of the optimiser and of the objective (None where it has none), all that another epoch needs.
    halved: whether it was stopped at a rung, because it was among the worse half.
    """

    best_accuracy: float
    best_epoch: int
    stop_epoch: int
    failed: bool
    history: dict[str, np.ndarray]
    best: Variables | None
    last: Variables | None
    optimiser: Any
    halved: bool = False

    @property
    def best_loss(self) -> float:
        """The validation loss at the best epoch."""
        return float(self.history["valid_loss"][self.best_epoch])


@dataclass
class Chunk:
    """Members in one program, with their state on the host. `rows` are places in the fit's list (-1: filler)."""

    rows: np.ndarray
    members: Member
    state: State
    best: Variables
    seeds: tuple[int, ...]
    constants: Any
    evaluation: dict[str, Evaluation]
    track: Track
    history: dict[str, np.ndarray]
    epoch: int = -1


Report = Callable[["Chunk", list[MemberSpec]], None]


@dataclass
class Fit:
    """A fit while it runs: results by member, filled as members stop."""

    problem: Problem
    members: list[MemberSpec]
    settings: FitSettings
    report: Report | None = None
    store: ProgressStore | None = None
    results: list[MemberResult | None] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)
    unsaved: list[int] = field(default_factory=list)
    rung: int | None = None

    @property
    def program(self) -> Program:
        """What is compiled for it."""
        return Program(self.problem.objective, self.problem.optimiser, self.settings.vectorise)


def winner(results: Sequence[MemberResult], rows: Sequence[int], ties: Ties = "first") -> int | None:
    """The row of the best validation accuracy; failed members never win.

    On ties it is the first row, with `ties="loss"` the first of those whose best epoch has the lowest validation loss.
    """

    alive = [row for row in sorted(rows) if not results[row].failed]
    return min(
        alive, key=lambda row: rank(results[row].best_accuracy, results[row].best_loss, ties), default=None
    )


def drop_losers(run: Fit, group: Hashable) -> None:
    """Frees the variables of all finished members of a group but the leading one; `run.lock` must be held."""
    if run.settings.keep_all:
        return
    rows = [r for r, spec in enumerate(run.members) if spec.group == group and run.results[r] is not None]
    leader = winner(run.results, rows, run.settings.rule.ties)
    for row in rows:
        if row != leader:
            result = run.results[row]
            result.best = result.last = result.optimiser = None
