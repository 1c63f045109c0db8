"""Ablated networks are one model for all steps, also after training; and starts of every version."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.models import Adapter, apply_network, build_network, build_steps, init_variables
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.models.per_step.network import apply_step
from seqfinal_jax.models.per_step.start import start_every_version
from seqfinal_jax.training.engine.programs import mask_groups
from seqfinal_jax.training.objectives.step_penalties import version_norms
from tests.models.narrow_steps import NARROW, images, narrow_steps, plain_answer, random_variables

BASE = build_network("resnet-2", 3, NARROW["resnet"])
EFFICIENT = {"all_layers_efficient": True}
NETWORKS = {
    "side": build_steps(BASE, 3, "side_tune", **EFFICIENT),
    "block": build_steps(BASE, 3, "side_tune", side="block", **EFFICIENT),
    "add": build_steps(BASE, 3, "low_rank_adapt", adapter=Adapter("add", 1), **EFFICIENT),
    "multiply": build_steps(BASE, 3, "low_rank_adapt", adapter=Adapter("multiply", 1), **EFFICIENT),
}


def answers(network, variables, mode=Pass()):
    passes = jax.jit(lambda v, x: [apply_step(network, v, t, x, mode)[0] for t in range(3)])
    return passes(variables, images())


@pytest.mark.parametrize(
    "form",
    [pytest.param(form, marks=pytest.mark.slow if form in ("side", "add") else ()) for form in NETWORKS],
)
def test_every_step_answers_as_the_first_model(form):
    network = replace(NETWORKS[form], ablated=True)
    variables = random_variables(network)
    expected = plain_answer(network.base, network.plain(variables, 0), images())[0]
    for logits in answers(network, network.without_effect(variables)):
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    found = plain_answer(network.base, network.plain(variables), images())[0]
    np.testing.assert_allclose(found, answers(network, variables)[2], rtol=1e-5, atol=1e-6)
    for logits in answers(network, variables, Pass(train=True))[1:]:  # whatever the modules have become
        np.testing.assert_allclose(logits, answers(network, variables, Pass(train=True))[0], rtol=1e-5)


@pytest.mark.parametrize("form", ["side", "add", "multiply"])
def test_the_values_alone_have_no_effect(form):
    """Without leaving the modules out: what they compute is nothing."""
    network = NETWORKS[form]
    variables = network.without_effect(random_variables(network))
    expected = answers(network, variables)[0]
    for logits in answers(network, variables)[1:]:
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_norms_of_side_modules_are_zero():
    network = NETWORKS["block"]
    params = network.without_effect(random_variables(network))["params"]
    for form in network.forms:
        norms = version_norms(form, params[form.group])
        assert norms[0] > 0 and (norms[1:] == 0).all()


@pytest.mark.parametrize("form", NETWORKS)
def test_masks_freeze_what_is_added(form):
    network = NETWORKS[form]
    params = random_variables(network)["params"]
    masks = replace(network, ablated=True).trained_from(0)
    kept = mask_groups(jax.tree.map(jnp.ones_like, params), jax.tree.map(jnp.asarray, masks))
    for group in network.group_names:
        assert all((leaf == 1).all() for leaf in jax.tree.leaves(kept[group]["base"]))
        for part in ("side", "adapters"):
            assert all((leaf == 0).all() for leaf in jax.tree.leaves(kept[group].get(part, {})))
        for leaf in jax.tree.leaves(kept[group].get("norms", {})):
            assert (leaf[0] == 1).all() and (leaf[1:] == 0).all()


def test_separate_stem_and_head_stay_trained():
    network = build_steps(BASE, 3, "side_tune")
    masks = replace(network, ablated=True).trained_from(0)
    assert masks["conv1"].tolist() == masks["fc"].tolist() == [1, 1, 1]
    start = random_variables(network)
    kept = network.without_effect(start)["params"]["fc"]
    jax.tree.map(np.testing.assert_array_equal, kept, start["params"]["fc"])


def test_a_plain_network_starts_every_version_but_the_heads():
    network = narrow_steps("resnet", "partial")
    fresh, single = random_variables(network), init_variables(network.base, jax.random.key(5))
    started = start_every_version(network, fresh, single)
    for step in range(3):
        own = network.plain(started, step)
        for kind in ("params", "batch_stats"):
            for group in single[kind]:
                expected = network.plain(fresh, step) if group == "fc" else single
                jax.tree.map(np.testing.assert_array_equal, own[kind][group], expected[kind][group])
    logits, _, outputs = apply_network(network.base, network.plain(started, 2), images())
    assert np.isfinite(logits).all() and len(outputs) == len(network.group_names)


def test_a_start_of_every_version_needs_separate_layers():
    network = narrow_steps("resnet", "side")
    with pytest.raises(ValueError, match="needs separate layers, found side_tune"):
        start_every_version(network, random_variables(network), {})
