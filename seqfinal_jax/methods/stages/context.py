"""What the nodes of one network are computed from, and the stored results of other nodes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.data.sequences.pool import ImagePool
from seqfinal_jax.methods.nodes import Choice, Model, Node, Stage, Transform
from seqfinal_jax.methods.stages.fingerprint import node_fingerprint
from seqfinal_jax.methods.stages.problem import stage_objective
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models.network import Network, Variables
from seqfinal_jax.results.store import Missing, StageResult, Store
from seqfinal_jax.training.engine.members import FitSettings
from seqfinal_jax.training.engine.programs import predict_batch
from seqfinal_jax.training.engine.progress import FitProgress
from seqfinal_jax.training.engine.streams import padded_length
from seqfinal_jax.training.objectives.risk import answered_right


@dataclass(frozen=True)
class Context:
    """What the nodes of one network are computed from.

    data_identity: for each variant of the sequence, what determines its data. settings: how a stage is trained on this
    hardware. describe: what is stored with every model, so that it can be used alone. log_fit: called after every fit.
    """

    network: Network
    training: Training
    pool: ImagePool
    device_data: dict[str, Any]
    data_identity: dict[str, Any]
    store: Store
    settings: Callable[[Stage], FitSettings]
    report: Callable[[Stage, int], FitProgress]
    describe: dict[str, Any] = field(default_factory=dict)
    log_fit: Callable[[dict[str, Any]], None] = lambda row: None

    def key(self, node: Node) -> str:
        """Hash of everything that determines a node's result, except the seed."""
        return node_fingerprint(node, self.network, self.training, self.data_identity)

    def has(self, node: Node, seed: int) -> bool:
        """Whether a node has a stored result; of a choice, whether any candidate has one."""
        if isinstance(node, Choice):
            return any(self.has(candidate, seed) for candidate in node.candidates)
        return self.store.has(self.key(node), seed)

    def result(self, node: Node, seed: int) -> StageResult:
        """A node's stored result; raises Missing where there is none."""
        return self.store.load(self.key(self.resolve(node, seed)), seed)

    def resolve(self, node: Node, seed: int) -> Model:
        """The stage or transformation that a node stands for, for a seed: of a choice the candidate that was chosen."""
        while isinstance(node, Choice):
            node = node.candidates[self.chosen(node, seed)]
        return node

    def chosen(self, node: Choice, seed: int) -> int:
        """The number of the candidate that was chosen for a seed."""
        key = self.key(node)
        return self.store.choice(key, seed) if self.store.has(key, seed) else self.best_candidate(node, seed)

    def choices(self, node: Node, seed: int) -> Iterator[Choice]:
        """The choices that led to a node's model of a seed, the last one first."""
        while isinstance(node, Choice):
            yield node
            node = node.candidates[self.chosen(node, seed)]
        before = node.inputs if isinstance(node, Transform) else (node.start,) if node.start else ()
        for source in before:
            yield from self.choices(source, seed)

    def candidate_rows(self, node: Choice, seed: int) -> list[dict[str, Any]]:
        """A row for each candidate of a choice with names, as of a grid."""
        rows, chosen = [], self.chosen(node, seed)
        for number, (candidate, name) in enumerate(zip(node.candidates, node.names, strict=True)):
            there = self.has(candidate, seed)
            accuracy = self._judged(candidate, seed, node.by) if there else float("nan")
            found = {"best_accuracy": accuracy, "failed": not there, "chosen": number == chosen}
            rows.append({"stage": "choice", "role": "choice", "member": number, **name, **found})
        return rows

    def best_candidate(self, node: Choice, seed: int) -> int:
        """The number of the candidate with the best accuracy, the first of equal ones; those without a result never win.

        Raises Missing where none has a result.
        """
        accuracies = {
            number: self._judged(candidate, seed, node.by)
            for number, candidate in enumerate(node.candidates)
            if self.has(candidate, seed)
        }
        if not accuracies:
            raise Missing(f"no candidate of a choice has a result for seed {seed}")
        return max(accuracies, key=lambda number: (accuracies[number], -number))

    def _judged(self, candidate: Node, seed: int, by: str) -> float:
        model, result = self.resolve(candidate, seed), self.result(candidate, seed)
        if by == "test":
            return self.accuracy(model, result.best, seed, model.train[-1], "test")
        return float(result.winner["best_accuracy"])

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
