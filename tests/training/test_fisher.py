"""Fisher information by hand."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.training.engine.streams import EvaluationSet
from seqfinal_jax.training.objectives.fisher import fisher_of
from seqfinal_jax.training.objectives.risk import Objective
from tests.training.tiny import tiny_network


@dataclass(frozen=True)
class OneFactor(Objective):
    """Logits (factor·x, 0): at factor 0 a sample's gradient is x/2 where the label is 1, and -x/2 where it is 0."""

    def logits(self, variables, data, index, step):
        first = variables["params"]["factor"] * data["images"][index]
        return jnp.stack([first, jnp.zeros_like(first)], axis=-1)


DATA = {"images": jnp.asarray([1.0, 2.0, 4.0]), "labels": jnp.asarray([0, 1, 0], jnp.int32)}


@pytest.mark.parametrize(
    ("batch_size", "per_sample", "weights", "wanted"),
    [
        (3, False, None, 2.25),  # (-0.5 + 1 - 2)^2
        (2, False, None, 4.25),  # (-0.5 + 1)^2 + (-2)^2
        (2, True, None, 5.25),  # 0.25 + 1 + 4
        (3, True, (2.0, 1.0, 0.5), 3.0),  # 1 + 1 + 1
    ],
)
def test_squares_of_summed_or_single_gradients_over_the_number_of_samples(
    batch_size, per_sample, weights, wanted
):
    samples = EvaluationSet(0, np.arange(3), None if weights is None else np.asarray(weights))
    variables = {"params": {"factor": jnp.zeros(())}, "batch_stats": {}}
    fisher = fisher_of(OneFactor(network=tiny_network()), variables, DATA, samples, batch_size, per_sample)
    np.testing.assert_allclose(fisher["factor"], wanted / 3, rtol=1e-6)
