"""The memory estimate that sizes chunks on an accelerator."""

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.models import build_network
from seqfinal_jax.models.per_step.network import build_steps
from seqfinal_jax.models.traced import COPIES, WORKING_SPACE, equations, member_bytes, network_bytes


def test_equations_of_inner_programs_are_seen_and_of_a_branch_the_longer_one():
    def program(x):
        y = jax.lax.cond(x[0] > 0, lambda x: jnp.sin(jnp.cos(x)), lambda x: x, x)
        return jax.jit(jnp.exp)(y)

    names = [each.primitive.name for each in equations(jax.make_jaxpr(program)(jnp.ones(3)).jaxpr)]
    assert {"sin", "cos", "exp"} <= set(names)


def test_variables_are_counted_exactly():
    variables, _ = network_bytes(build_network("convnet-1", 10), 100)
    statistics = 2 * (64 + 512)
    assert variables == 4 * (310_602 + statistics)  # 310,602 parameters: the published count


def test_the_working_space_grows_with_the_minibatch_and_holds_the_feature_maps():
    network = build_network("convnet-1", 10)
    small, large = (network_bytes(network, size)[1] for size in (50, 100))
    np.testing.assert_allclose(large, 2 * small, rtol=0.02)
    maps = 4 * 100 * (16 * 16 * 64 + 8 * 8 * 64 + 4 * 4 * 512)
    # Batch norm, ReLU and pooling go over the largest map many times.
    assert large > WORKING_SPACE * 10 * maps


def test_a_member_of_a_per_step_network_counts_all_its_steps():
    network = build_network("convnet-1", 10)
    plain, steps = network_bytes(network, 100), network_bytes(build_steps(network, 3, "separate", "all"), 100)
    assert steps == (3 * plain[0], 3 * plain[1])
    assert member_bytes(network, 100) == COPIES * plain[0] + plain[1]
