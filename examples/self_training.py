"""Gradual self-training (Kumar et al. 2020, arXiv 2002.11361): labels of the first step only.

What it may see: the labels of step 0, and the images of all later steps. The labels of later steps train and select
nothing: each model's answers are the labels of the next one, in training and in validation. The accuracies in tables are
measured on the true labels, and only there.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from seqfinal_jax.methods import Stage, method
from seqfinal_jax.methods.stages.objectives import Pooled


@dataclass(frozen=True)
class PseudoLabelled(Pooled):
    """Risk on the answers of the stage's anchor, which select the epoch and the grid point as well."""

    selection = "pseudo-labels of the final step; no label of a later step"

    def constants(self, network, training, data, anchors):
        teacher, variables = self.risk(network, training), jax.tree.map(jnp.asarray, anchors[0].variables)
        rows = jnp.arange(len(data["labels"]))
        padded = jnp.pad(rows, (0, -len(rows) % 100)).reshape(-1, 100)
        answers = jax.lax.map(
            lambda part: jnp.argmax(teacher.logits(variables, data, part, None), -1), padded
        )
        return answers.ravel()[: len(rows)].astype(jnp.int32)

    def loss(self, params, context):
        return super().loss(params, context._replace(data={**context.data, "labels": context.constants}))

    def evaluation_sums(self, logits, data, batch, constants):
        return super().evaluation_sums(logits, {**data, "labels": constants}, batch, constants)


@method(
    "my_self_training", column="GST", legend="gradual self-training", family="sequential", comparable=False
)
def my_self_training(setting):
    """Labels of the first step only; every model labels the next step for its successor."""
    node = Stage("source", "source", (0,), (0,), setting.plain_grid)
    for step in setting.all_steps[1:]:
        role = "final" if step == setting.final_step else "source"
        node = Stage(
            f"self-{step}",
            role,
            (step,),
            (step,),
            setting.plain_grid,
            PseudoLabelled(),
            start=node,
            anchors=(node,),
        )
    return node
