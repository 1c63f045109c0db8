"""A form of versions of one's own works without a change elsewhere."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.models.network import apply_group
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.models.per_step.form import Form, frozen_by
from seqfinal_jax.models.per_step.names import steps_from_torch, steps_to_torch
from seqfinal_jax.models.per_step.network import apply_step, init_steps
from seqfinal_jax.models.per_step.start import start_from_fewer
from seqfinal_jax.models.per_step.versions import pick
from seqfinal_jax.training.objectives.step_penalties import adjacent_norm, parameter_norms
from tests.models.narrow_steps import answer, images, narrow_steps


@dataclass(frozen=True)
class Shifted(Form):
    """A form that the package does not have: every later version adds a constant per channel to the output."""

    later = "shift"

    def init(self, base, key, drawn):
        _, width = {"layer1": (4, 6)}[self.group]
        shift = {"value": jnp.full((self.count - 1, width), 10.0)}
        stats = {"base": drawn[0]["batch_stats"]}
        return {"params": {"base": drawn[0]["params"], "shift": shift}, "batch_stats": stats}

    def apply(self, params, stats, version, x, mode):
        mode = frozen_by(mode, lambda masks: masks["base"])
        x, moved = apply_group(self.module, params["base"], stats["base"], x, mode)
        acting = jnp.arange(self.count - 1) < version
        return x + jnp.sum(jnp.where(acting[:, None], params["shift"]["value"], 0), axis=0), {"base": moved}


def test_a_form_of_ones_own_needs_no_change_elsewhere():
    plain = narrow_steps("convnet", "separate")
    forms = [
        Shifted(form.group, form.module, form.count, efficient=True) if form.group == "layer1" else form
        for form in plain.forms
    ]
    network, x = replace(plain, forms=tuple(forms)), images()
    variables = init_steps(network, jax.random.key(0))
    outputs = answer(network, start_from_fewer(network, variables, variables), 2, x)[1]
    stem = network.base.groups[0][1].apply(pick_group(variables, "conv1", 2), x, Pass())
    block = network.base.groups[1][1].apply(pick_group(network.plain(variables, 0), "layer1"), stem, Pass())
    np.testing.assert_allclose(outputs[1], block + 20, rtol=1e-4, atol=1e-4)
    traced = jax.jit(lambda step: apply_step(network, variables, step, x)[2][1])(2)
    np.testing.assert_allclose(traced, outputs[1], rtol=1e-4, atol=1e-4)
    assert network.trained_from(1)["layer1"]["shift"].tolist() == [1, 1]
    assert network.trained_from(2)["layer1"]["shift"].tolist() == [0, 1]
    assert not network.without_effect(variables)["params"]["layer1"]["shift"]["value"].any()
    # Six channels of 10 for each version: step 1 has one of them, step 2 uses version 2 alone.
    assert parameter_norms(network, variables["params"])[1] == 2 * 6 * 100
    without = replace(network, forms=(forms[0], replace(plain.forms[1], count=1), *forms[2:]))
    assert adjacent_norm(network, variables["params"]) == adjacent_norm(without, variables["params"])
    named = steps_to_torch(network, variables)
    assert named["layer1@2.value"].tolist() == [10] * 6
    jax.tree.map(np.testing.assert_array_equal, steps_from_torch(network, named), variables)
    with pytest.raises(ValueError, match="shift modules add to layer1"):
        network.plain(variables, 1)


def pick_group(variables, group, version=None):
    own = {kind: tree[group] for kind, tree in variables.items()}
    return own if version is None else pick(own, version)
