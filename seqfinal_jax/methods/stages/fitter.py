"""Fits the stages of one architecture's recipes, each once, and stores their results."""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.data.sequences.pool import ImagePool
from seqfinal_jax.methods.nodes import Choice, Model, Node, Stage, Transform
from seqfinal_jax.methods.stages.claiming import Busy, NoClaims, StageClaims
from seqfinal_jax.methods.stages.fingerprint import describe_node, node_fingerprint
from seqfinal_jax.methods.stages.network import training_of
from seqfinal_jax.methods.stages.objectives import Anchor
from seqfinal_jax.methods.stages.problem import alike_in_size, stage_objective, stage_problem, training_set
from seqfinal_jax.methods.stages.start import member_masks, start_variables
from seqfinal_jax.methods.stages.store import StageResult, StageStore, stage_result
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.methods.stages.transform import transformed
from seqfinal_jax.models.network import Network, Variables
from seqfinal_jax.training.engine.compile_clock import compile_seconds
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import FitSettings, MemberSpec, winner
from seqfinal_jax.training.engine.programs import predict_batch
from seqfinal_jax.training.engine.progress import FitProgress
from seqfinal_jax.training.engine.resume import member_key
from seqfinal_jax.training.engine.streams import padded_length
from seqfinal_jax.training.objectives.risk import Batch, EmpiricalRisk, answered_right
from seqfinal_jax.training.objectives.surgical import layer_scores, nested_sets, rank_groups

log = logging.getLogger(__name__)
RECENT_STAGES = 2  # whose results stay in memory
LayerSets = tuple[tuple[str, ...], ...]


@dataclass
class StageFitter:
    """Fits and stores stages of one network. `data_identity` describes, for each variant, what determines its data.

    `fits` counts the trainings that were done, `log_fit` is called after every finished fit. Where another process has
    locked a stage, whatever needs the stage raises Busy.
    """

    network: Network
    training: Training
    pool: ImagePool
    device_data: dict[str, Any]
    data_identity: dict[str, Any]
    store: StageStore
    settings: Callable[[Stage], FitSettings]
    describe: dict[str, Any]
    report: Callable[[Stage, int], FitProgress]
    claims: StageClaims = NoClaims()
    log_fit: Callable[[dict[str, Any]], None] = lambda row: None
    fits: int = 0
    loaded: dict[str, dict[int, StageResult]] = field(default_factory=dict)
    diverged: set[tuple[str, int]] = field(default_factory=set)
    failed: dict[tuple[str, int], Exception] = field(default_factory=dict)

    def fingerprint(self, node: Node) -> str:
        """Hash of everything that determines a node's result, except the seed."""
        return node_fingerprint(node, self.network, self.training, self.data_identity)

    def results(self, node: Node, seeds: Sequence[int]) -> dict[int, StageResult]:
        """The node's result of every seed, from the store or fitted now (with all stages before it).

        Results contain the best variables; the last ones are in the store. Raises FloatingPointError for a seed of which
        every training diverged. A fit that failed before is not tried again: its error is raised again.
        """
        if isinstance(node, Choice):
            self._fit_candidates(node, seeds)
            return {seed: self.results(self.resolve(node, seed), [seed])[seed] for seed in seeds}
        name = self.fingerprint(node)
        found = {seed: self._known(name, seed) for seed in seeds}
        missing = [
            seed for seed, result in found.items() if result is None and (name, seed) not in self.diverged
        ]
        if missing:
            self._refuse_failed(name, missing)
            try:
                found |= (self._transform if isinstance(node, Transform) else self._fit)(node, missing)
            except Busy:
                raise
            except Exception as error:
                self.failed.update({(name, seed): error for seed in missing})
                raise
        self._refuse_diverged(node, name, seeds)
        self._keep_recent(name, found)
        return found

    def _fit_candidates(self, node: Choice, seeds: Sequence[int]) -> None:
        """Fits all candidates, the seeds of each in one fit; who diverged is told later. A busy one holds up no other."""
        busy = None
        with contextlib.suppress(FloatingPointError):
            for candidate in node.candidates:
                try:
                    self.results(candidate, seeds)
                except Busy as error:
                    busy = error
        if busy:
            raise busy

    def _known(self, name: str, seed: int) -> StageResult | None:
        """A result from memory or the store."""
        if seed in self.loaded.get(name, {}):
            return self.loaded[name][seed]
        return self.store.load(name, seed)

    def _keep_recent(self, name: str, found: dict[int, StageResult]) -> None:
        """Keeps the results of the stages that were asked for last in memory; the others are in the store."""
        self.loaded[name] = self.loaded.pop(name, {}) | found
        while len(self.loaded) > RECENT_STAGES:
            del self.loaded[next(iter(self.loaded))]

    def forget(self) -> None:
        """Frees the results that are in memory."""
        self.loaded.clear()

    def _refuse_failed(self, name: str, seeds: Sequence[int]) -> None:
        """Raises what the fit of a stage raised for one of these seeds."""
        for seed in seeds:
            if (name, seed) in self.failed:
                raise self.failed[name, seed]

    def _refuse_diverged(self, stage: Model, name: str, seeds: Sequence[int]) -> None:
        for seed in seeds:
            if (name, seed) in self.diverged:
                raise FloatingPointError(
                    f"stage {stage.name!r} of {self.network.name}, seed {seed}: the training loss or a parameter "
                    f"became non-finite at every grid point; try smaller values of config.grid.learning_rate"
                )

    def resolve(self, node: Node, seed: int) -> Model:
        """The stage that a node stands for, for a seed: of a choice the best candidate, the first of equal ones."""
        if not isinstance(node, Choice):
            return node
        best, best_accuracy, error = None, -1.0, None
        for candidate in node.candidates:
            try:
                result = self.results(candidate, [seed])[seed]
            except FloatingPointError as diverged:
                error = diverged
                continue
            stage = self.resolve(candidate, seed)
            accuracy = result.winner["best_accuracy"]
            if node.by == "test":
                accuracy = self.accuracy(stage, result.best, seed, stage.train[-1], "test")
            if accuracy > best_accuracy:
                best, best_accuracy = stage, accuracy
        if best is None:
            raise error or ValueError("a choice needs candidates")
        return best

    def chain(self, node: Node, seed: int) -> list[Model]:
        """The stages that led to a node's model of a seed, each once, the first one first."""
        stage = self.resolve(node, seed)
        before = stage.inputs if isinstance(stage, Transform) else (stage.start,) if stage.start else ()
        led = [each for source in before for each in self.chain(source, seed)]
        return list(dict.fromkeys([*led, stage]))

    def predict(
        self, stage: Model, variables: Variables, rows: np.ndarray, step: int | None = None
    ) -> np.ndarray:
        """Logits (n,k) of rows (n,) of the pool, in evaluation mode; of a per-step network `step`'s or the last one's."""
        objective = stage_objective(stage, self.network, self.training)
        size = padded_length(self.training.batch_size, len(rows))
        padded = np.concatenate([rows, np.zeros(-len(rows) % size, rows.dtype)]).astype(np.int32)
        variables, number = (
            jax.tree.map(jnp.asarray, variables),
            jnp.int32(stage.train[-1] if step is None else step),
        )
        parts = [
            predict_batch(objective, variables, self.device_data, jnp.asarray(part), number)
            for part in padded.reshape(-1, size)
        ]
        return np.concatenate([np.asarray(part) for part in parts])[: len(rows)]

    def accuracy(self, stage: Model, variables: Variables, seed: int, step: int, split: str) -> float:
        """Fraction of right answers on a split of a time step."""
        rows = self.pool.rows[stage.variant, seed][step][split]
        logits = self.predict(stage, variables, rows, step)
        return float(np.mean(np.asarray(answered_right(logits, self.pool.labels[rows]))))

    def layer_sets(self, stage: Stage, seed: int, start: Variables | None) -> LayerSets:
        """The sets of layers among which a stage chooses; surgical ones are ranked on the stage's training set."""
        if not isinstance(stage.layers, str):
            return stage.layers or ((),)
        objective = EmpiricalRisk(network=self.network, scaling=self.training.scaling)
        stored = training_set(stage, self.pool, seed).batches(self.training.batch_size)
        batches = Batch(*(jnp.asarray(getattr(stored, name)) for name in Batch._fields))
        variables = jax.tree.map(jnp.asarray, start)
        scores = layer_scores(objective, variables, self.device_data, batches, jnp.int32(stored.count))
        order = rank_groups(scores[stage.layers.removeprefix("surgical_")], self.network.group_names)
        log.info("stage %s, seed %d: %s ranks %s", stage.name, seed, stage.layers, ", ".join(order))
        return nested_sets(order, self.network.group_names)

    def _fit(self, stage: Stage, seeds: Sequence[int]) -> dict[int, StageResult]:
        starts = self.results(stage.start, seeds) if stage.start else {}
        anchors = {seed: self._anchors(stage, seed, seeds) for seed in seeds}
        name = self.fingerprint(stage)
        what = f"{stage.label} {self.network.name}"
        with self.claims.hold([f"{name}-seed{seed}" for seed in seeds], what):
            found = {
                seed: self.store.load(name, seed) for seed in seeds
            }  # others may have fitted it meanwhile
            kept = {seed: result for seed, result in found.items() if result}
            left = [seed for seed in seeds if seed not in kept]
            for together in alike_in_size(stage, self.training, self.pool, left):
                kept |= self._train(stage, together, starts, anchors)
            return kept

    def _train(
        self,
        stage: Stage,
        seeds: Sequence[int],
        starts: dict[int, StageResult],
        anchors: dict[int, list[Anchor]],
    ) -> dict[int, StageResult]:
        rows = {seed: self._rows(stage, seed, starts) for seed in seeds}
        members = [
            MemberSpec(seed, point, member_masks(stage, self.network, layers), group=seed)
            for seed in seeds
            for layers, point in rows[seed]
        ]
        name, began, compiled = self.fingerprint(stage), time.monotonic(), compile_seconds()
        problem = stage_problem(
            stage, self.network, self.training, self.pool, self.device_data,
            lambda member: self._start(stage, starts, member),
            lambda seed: stage.objective.constants(
                self.network, training_of(stage, self.training), self.device_data, anchors[seed]
            ),
        )  # fmt: skip
        if stage.resume:
            source = self.fingerprint(self.resolve(stage.start, seeds[0]))
            problem = replace(
                problem,
                earlier=lambda member: self.store.load(source, member.seed, whole=True).winner_result(),
            )
        progress, settings = self.store.progress(name), self.settings(stage)
        with contextlib.closing(self.report(stage, len(members))) as reporter:
            results = fit(problem, members, settings, reporter, progress)
            reporter.finished()
        self.fits += len(members)
        first, kept = 0, {}
        for seed in seeds:  # results are stored before anything else can fail
            own = results[first : first + len(rows[seed])]
            kept |= self._keep(stage, name, seed, rows[seed], own, settings)
            first += len(rows[seed])
        self._log(
            {
                "stage": stage.label, "architecture": self.network.name, "fingerprint": name,
                "seeds": " ".join(map(str, seeds)), "members": len(members),
                "epochs": sum(result.stop_epoch for result in results),
                "seconds": time.monotonic() - began, "compile_seconds": compile_seconds() - compiled,
            }
        )  # fmt: skip
        progress.clear(map(member_key, members))
        return kept

    def _log(self, row: dict[str, Any]) -> None:
        """Tells of a finished fit; a log that cannot be written costs a warning and nothing else."""
        try:
            self.log_fit(row)
        except OSError as error:
            log.warning("stage %s is stored, but its times are not logged: %s", row["stage"], error)

    def _rows(
        self, stage: Stage, seed: int, starts: dict[int, StageResult]
    ) -> list[tuple[tuple[str, ...], dict]]:
        if stage.resume:
            return [starts[seed].winner_row(tuple(stage.grid.points()[0]))]
        sets = self.layer_sets(stage, seed, starts[seed].best if seed in starts else None)
        return [(layers, point) for layers in sets for point in stage.grid.points()]

    def _anchors(self, stage: Stage, seed: int, seeds: Sequence[int]) -> list[Anchor]:
        models = [(self.resolve(node, seed), self.results(node, seeds)[seed]) for node in stage.anchors]
        return [Anchor(result.best, training_set(model, self.pool, seed)) for model, result in models]

    def _start(self, stage: Stage, starts: dict[int, StageResult], member: MemberSpec) -> Variables:
        if stage.start is None or stage.resume:
            return start_variables(stage, self.network, self.training, None, None, member)
        form = self.resolve(stage.start, member.seed).form
        previous = starts[member.seed].best
        return start_variables(stage, self.network, self.training, previous, form, member)

    def _keep(
        self, stage: Stage, name: str, seed: int, rows: list, results: list, settings: FitSettings
    ) -> dict[int, StageResult]:
        """Stores a seed's result; empty where all its members diverged."""
        chosen = winner(results, range(len(results)), settings.rule.ties)
        if chosen is None:
            self.diverged.add((name, seed))
            return {}
        described = [{"layers": ",".join(layers) or "all", **point} for layers, point in rows]
        result = stage_result(described, results, chosen)
        program = {"vectorise": settings.vectorise, "members_per_program": settings.members_per_program}
        self.store.save(
            name, seed, result, {"stage": describe_node(stage), "program": program, **self.describe}
        )
        return {seed: result.without_last()}

    def _transform(self, node: Transform, seeds: Sequence[int]) -> dict[int, StageResult]:
        """Computes a transformation for every seed, and stores it as a stage is stored."""
        inputs = [self.results(source, seeds) for source in node.inputs]
        name, kept = self.fingerprint(node), {}
        for seed in seeds:
            variables = [found[seed].best for found in inputs]
            result = transformed(
                node, self.network, self.training, self.pool, self.device_data, seed, variables, self.predict
            )
            if result is None:
                self.diverged.add((name, seed))
                continue
            self.store.save(name, seed, result, {"stage": describe_node(node), **self.describe})
            kept[seed] = result.without_last()
        return kept
