"""ConvNets: counts, shapes, groups, dropout places, names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.models import NetworkConfig, apply_network, build_network, init_variables
from seqfinal_jax.models.families.densenet import DenseBlock
from seqfinal_jax.models.network import random_dropout, smallest_map
from seqfinal_jax.models.parts.groups import full_count, reported_count
from seqfinal_jax.models.parts.layers import Pass

# All trainable scalars of the spec's table for 10, 20, 2 and 100 classes, and the number of tensors.
COUNTS = {
    "convnet-1": (310_602, 315_732, 306_498, 356_772, 8),
    "convnet-2": (679_498, 684_628, 675_394, 725_668, 11),
    "convnet-3": (1_564_746, 1_569_876, 1_560_642, 1_610_916, 14),
    "convnet-4": (1_601_738, 1_606_868, 1_597_634, 1_647_908, 17),
    "resnet-1": (7_425_354, 7_430_484, 7_421_250, 7_471_524, 20),
    "resnet-2": (8_278_602, 8_283_732, 8_274_498, 8_324_772, 35),
    "resnet-3": (11_033_674, 11_038_804, 11_029_570, 11_079_844, 50),
    "resnet-4": (11_181_642, 11_186_772, 11_177_538, 11_227_812, 62),
    "densenet-1": (1_242_698, 1_248_468, 1_238_082, 1_294_628, 103),
    "densenet-2": (1_744_906, 1_751_316, 1_739_778, 1_802_596, 142),
    "densenet-3": (3_064_458, 3_072_148, 3_058_306, 3_133_668, 217),
    "densenet-4": (6_964_106, 6_974_356, 6_955_906, 7_056_356, 364),
}
# As the published table counts them, by layer, for 10 classes.
REPORTED = {
    "convnet-1": (9408, 294912, 5130),
    "convnet-2": (9408, 73728, 589824, 5130),
    "convnet-3": (9408, 73728, 294912, 1179648, 5130),
    "convnet-4": (9408, 36864, 73728, 294912, 1179648, 5130),
    "resnet-1": (9408, 7372800, 5130),
    "resnet-2": (9408, 516096, 7667712, 5130),
    "resnet-3": (9408, 516096, 2064384, 8257536, 5130),
    "resnet-4": (9408, 147456, 516096, 2064384, 8257536, 5130),
    "densenet-1": (9408, 1212416, 5770),
    "densenet-2": (9408, 364544, 1343488, 6410),
    "densenet-3": (9408, 364544, 1040384, 1605632, 7690),
    "densenet-4": (9408, 364544, 1040384, 3325952, 2129920, 10250),
}


def shapes(network):
    return jax.eval_shape(lambda key: init_variables(network, key), jax.random.key(0))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in ("densenet-3", "densenet-4") else ()) for n in COUNTS],
)
def test_parameter_counts(name):
    *totals, tensors = COUNTS[name]
    for classes, total in zip((10, 20, 2, 100), totals, strict=True):
        params = shapes(build_network(name, classes))["params"]
        assert full_count(params) == total
        assert len(jax.tree.leaves(params)) == tensors
    network = build_network(name, 10)
    params = shapes(network)["params"]
    assert tuple(reported_count(params[group]) for group in network.group_names) == REPORTED[name]


@pytest.mark.parametrize(
    ("blocks", "sizes"), [(1, [8, 4]), (2, [8, 4, 2]), (3, [8, 4, 2, 1]), (4, [8, 8, 4, 2, 1])]
)
def test_maps_of_every_group(blocks, sizes):
    network = build_network(f"convnet-{blocks}", 10)
    outputs = jax.eval_shape(
        lambda v, x: apply_network(network, v, x)[2],
        shapes(network),
        jax.ShapeDtypeStruct((2, 32, 32, 3), "float32"),
    )
    assert [output.shape[1] for output in outputs[:-1]] == sizes
    assert outputs[-1].shape == (2, 10)
    assert network.group_names == ("conv1", *(f"layer{k}" for k in range(1, blocks + 1)), "fc")
    assert smallest_map(network) == sizes[-1] ** 2


def test_sizes_come_from_the_configuration():
    config = NetworkConfig(image_shape=(16, 16, 1), stem_width=4, widths=(6, 8), strides=(1, 2))
    params = shapes(build_network("convnet-2", 3, config))["params"]
    assert params["conv1"]["conv"]["kernel"].shape == (7, 7, 1, 4)
    assert params["layer1"]["conv"]["kernel"].shape == (3, 3, 4, 6)
    assert params["fc"]["linear"]["kernel"].shape == (8, 3)
    narrow = shapes(build_network("convnet-2", 3, NetworkConfig(width_factor=0.25)))["params"]
    assert narrow["layer2"]["conv"]["kernel"].shape == (3, 3, 32, 128)


def test_initial_weights_depend_on_the_key_and_nothing_else():
    network = build_network("convnet-1", 3, NetworkConfig(image_shape=(16, 16, 3), width_factor=0.125))
    first, again, other = (init_variables(network, jax.random.key(k)) for k in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(
        first["params"]["fc"]["linear"]["bias"], other["params"]["fc"]["linear"]["bias"]
    )


def test_dropout_follows_every_group_but_the_last():
    network = build_network("convnet-2", 3, NetworkConfig(image_shape=(16, 16, 3), width_factor=0.125))
    variables = init_variables(network, jax.random.key(0))
    x = jnp.asarray(np.random.RandomState(0).normal(size=(4, 16, 16, 3)).astype(np.float32))
    options = {"drop": random_dropout(jnp.float32(0.5), jax.random.key(1))}
    plain = apply_network(network, variables, x, Pass(train=True))[0]
    dropped = apply_network(network, variables, x, Pass(train=True), **options)[0]
    assert not np.array_equal(plain, dropped)
    evaluated = apply_network(network, variables, x, **options)[0]
    np.testing.assert_array_equal(evaluated, apply_network(network, variables, x)[0])


def test_block_relu_is_an_option():
    x = jnp.asarray(np.random.RandomState(0).normal(size=(4, 16, 16, 3)).astype(np.float32))
    least = {}
    for relu in (False, True):
        network = build_network(
            "convnet-1", 3, NetworkConfig(image_shape=(16, 16, 3), width_factor=0.125, block_relu=relu)
        )
        outputs = apply_network(network, init_variables(network, jax.random.key(0)), x, Pass(train=True))[2]
        least[relu] = float(outputs[1].min())
    assert least[False] < 0 == least[True]


@pytest.mark.parametrize(
    ("name", "message"),
    [("convnt-1", "did you mean 'convnet'"), ("convnet", "FAMILY-BLOCKS"), ("convnet-5", "1 to 4")],
)
def test_wrong_names_say_what_is_wrong(name, message):
    with pytest.raises(ValueError, match=message):
        build_network(name, 10)


def test_a_network_needs_two_classes():
    with pytest.raises(ValueError, match="at least 2 classes"):
        build_network("convnet-1", 1)


@pytest.mark.parametrize("kept", [4, 3])
def test_every_dense_layer_normalises_by_the_moments_of_all_that_came_before(kept):
    block = DenseBlock(layers=3, growth=2, transition=False)
    x = jnp.asarray(np.random.RandomState(0).normal(size=(4, 3, 3, 5)), jnp.float32)
    variables = block.init(jax.random.key(0), x, Pass())
    mode = Pass(train=True, sample_mask=jnp.arange(4) < kept)
    out, moved = block.apply(variables, x, mode, mutable=["batch_stats"])
    for i in (1, 2, 3):
        seen = np.asarray(out)[:kept, ..., : 5 + 2 * (i - 1)]
        stats = moved["batch_stats"][f"dense{i}"]["bn1"]
        np.testing.assert_allclose(stats["mean"], 0.1 * seen.mean((0, 1, 2)), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            stats["var"], 0.9 + 0.1 * seen.var((0, 1, 2), ddof=1), rtol=1e-4, atol=1e-6
        )
