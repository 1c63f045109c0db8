"""From a stage of a recipe to a fit of the engine, and to its stored result."""

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jax
import numpy as np

from seqfinal_jax.data.pool import ImagePool
from seqfinal_jax.methods.recipe import Stage
from seqfinal_jax.methods.store import StageResult, StageStore, stage_result
from seqfinal_jax.models.network import Network, init_variables, smallest_map
from seqfinal_jax.training.compile_clock import compile_seconds
from seqfinal_jax.training.early_stopping import StopRule
from seqfinal_jax.training.fit import fit
from seqfinal_jax.training.members import MemberSpec, Problem, Settings, winner
from seqfinal_jax.training.objectives import EmpiricalRisk, InputScaling
from seqfinal_jax.training.progress import FitProgress
from seqfinal_jax.training.streams import EvaluationSet, Stream, epoch_batches, fold, shuffled

log = logging.getLogger(__name__)
RESULTS_VERSION = 1  # raise by hand when the same configuration comes to give other results


@dataclass(frozen=True)
class Training:
    """What every stage of a run has in common."""

    rule: StopRule
    batch_size: int
    scaling: InputScaling
    train_metrics: str = "running"
    init_per_grid_point: bool = False
    precision: str = "highest"


@dataclass
class StageFitter:
    """Fits and stores stages of one network. `data_identity` says for each variant what determines its data.

    `fits` counts the members that were trained, `log_fit` is told of every finished fit.
    """

    network: Network
    training: Training
    pool: ImagePool
    device_data: dict[str, Any]
    data_identity: dict[str, Any]
    store: StageStore
    settings: Settings
    describe: dict[str, Any]
    report: Callable[[Stage, int], FitProgress]
    log_fit: Callable[[dict[str, Any]], None] = lambda row: None
    fits: int = 0
    loaded: dict[tuple[str, int], StageResult] = field(default_factory=dict)
    diverged: set[tuple[str, int]] = field(default_factory=set)

    def fingerprint(self, stage: Stage) -> str:
        """Hash of all that determines a stage's result, but for the seed."""
        return stage_fingerprint(stage, self.network, self.training, self.data_identity)

    def results(self, stage: Stage, seeds: Sequence[int]) -> dict[int, StageResult]:
        """The stage's result of every seed, from the store or fitted now (with all stages before it)."""
        name = self.fingerprint(stage)
        for seed in seeds:
            if (name, seed) not in self.loaded:
                stored = self.store.load(name, seed)
                if stored is not None:
                    self.loaded[name, seed] = stored
        missing = [
            seed for seed in seeds if (name, seed) not in self.loaded and (name, seed) not in self.diverged
        ]
        if missing:
            self._fit(stage, missing)
        for seed in seeds:
            if (name, seed) in self.diverged:
                raise FloatingPointError(
                    f"stage {stage.name!r} of {self.network.name}, seed {seed}: the training loss or a parameter "
                    f"became non-finite at every grid point; try smaller values of config.grid.learning_rate"
                )
        return {seed: self.loaded[name, seed] for seed in seeds}

    def _fit(self, stage: Stage, seeds: Sequence[int]) -> None:
        starts = self.results(stage.start, seeds) if stage.start else {}
        points = stage.grid.points()
        members = [
            MemberSpec(seed, point, dict.fromkeys(self.network.group_names, 1), group=seed)
            for seed in seeds
            for point in points
        ]
        name, began, compiled = self.fingerprint(stage), time.monotonic(), compile_seconds()
        progress = self.store.progress(name)
        problem = self._problem(stage, {seed: result.best for seed, result in starts.items()})
        with contextlib.closing(self.report(stage, len(members))) as reporter:
            results = fit(problem, members, self.settings, reporter, progress)
        self.fits += len(members)
        self.log_fit(
            {
                "stage": stage.name, "architecture": self.network.name, "fingerprint": name,
                "seeds": " ".join(map(str, seeds)), "members": len(members),
                "epochs": sum(result.stop_epoch for result in results),
                "seconds": time.monotonic() - began, "compile_seconds": compile_seconds() - compiled,
            }
        )  # fmt: skip
        for place, seed in enumerate(seeds):
            rows = range(place * len(points), (place + 1) * len(points))
            self._keep(stage, name, seed, points, [results[row] for row in rows])
        progress.clear()

    def _keep(self, stage: Stage, name: str, seed: int, points: list, results: list) -> None:
        chosen = winner(results, range(len(results)))
        if chosen is None:
            self.diverged.add((name, seed))
            return
        result = stage_result(points, results, chosen)
        program = {
            "vectorise": self.settings.vectorise,
            "members_per_program": self.settings.members_per_program,
        }
        self.store.save(
            name, seed, result, {"stage": describe_stage(stage), "program": program, **self.describe}
        )
        self.loaded[name, seed] = result

    def _problem(self, stage: Stage, starts: dict[int, Any]) -> Problem:
        training, network = self.training, self.network
        single = self._drops_single_samples(stage, seed=next(iter(self.pool.rows))[1])

        def start(member: MemberSpec) -> Any:
            if stage.start:
                return starts[member.seed]
            parts = ["init", network.name, network.num_classes]
            if training.init_per_grid_point:
                parts.append(json.dumps(dict(member.hyper), sort_keys=True))
            return init_variables(network, jax.random.key(fold(member.seed, *parts)))

        return Problem(
            objective=EmpiricalRisk(network, training.scaling),
            data=self.device_data,
            batches=lambda seed, epoch: epoch_batches(
                [self.stream(stage, seed)], shuffled(seed, stage.name), epoch, training.batch_size, single
            ),
            evaluation=lambda seed: self.evaluation(stage, seed),
            start=start,
            role=stage.name,
        )

    def _drops_single_samples(self, stage: Stage, seed: int) -> bool:
        """Whether a last minibatch of one sample is left out: where a batch norm would see one value a channel."""
        single = smallest_map(self.network) == 1
        if single and len(self.stream(stage, seed).rows) % self.training.batch_size == 1:
            log.warning(
                "stage %s, %s: the last minibatch has one sample and is left out, because a batch norm would see one "
                "value a channel",
                stage.name,
                self.network.name,
            )
        return single

    def stream(self, stage: Stage, seed: int) -> Stream:
        """The training samples of a stage, pooled over its steps."""
        parts = self.pool.of((stage.variant, seed), stage.train, "train")
        weights = None
        if stage.weights is not None:
            weights = np.concatenate([np.full(len(p), w) for p, w in zip(parts, stage.weights, strict=True)])
        return Stream(stage.train[-1], np.concatenate(parts), weights)

    def evaluation(self, stage: Stage, seed: int) -> dict[str, EvaluationSet]:
        """The validation set that selects and, with `train_metrics="eval"`, the training set."""
        valid = np.concatenate(self.pool.of((stage.variant, seed), stage.valid, "valid"))
        sets = {"valid": EvaluationSet(stage.valid[-1], valid)}
        if self.training.train_metrics == "eval":
            stream = self.stream(stage, seed)
            sets["train"] = EvaluationSet(stream.step, stream.rows, stream.weights)
        return sets


def describe_stage(stage: Stage) -> dict[str, Any]:
    """A stage without the stages before it, as plain data."""
    return asdict(replace(stage, start=None))


def stage_fingerprint(
    stage: Stage, network: Network, training: Training, data_identity: dict[str, Any]
) -> str:
    """Hash of stage, chain of starts, network, training, data and RESULTS_VERSION; not of role and seed."""
    content = describe_stage(stage)
    del content["role"]
    start = stage_fingerprint(stage.start, network, training, data_identity) if stage.start else None
    described = {
        "version": RESULTS_VERSION,
        "stage": content,
        "start": start,
        "network": [network.name, network.num_classes, asdict(network.config)],
        "training": asdict(training),
        "data": data_identity[stage.variant],
    }
    text = json.dumps(described, sort_keys=True)
    return f"{stage.name}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"
