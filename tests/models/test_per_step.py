"""Per-step networks: counts, version tables, ranks, names, and equalities with plain networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.models import build_network, init_variables
from seqfinal_jax.models.parts.groups import full_count
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.models.per_step.low_rank import Adapter, adapted, largest_rank
from seqfinal_jax.models.per_step.names import steps_from_torch, steps_to_torch
from seqfinal_jax.models.per_step.network import apply_step, build_steps, init_steps
from seqfinal_jax.models.per_step.side import side_modules
from seqfinal_jax.models.per_step.start import start_from_fewer, start_from_single
from seqfinal_jax.models.per_step.versions import pick, version_table
from tests.models.narrow_steps import (
    FORMS,
    NARROW,
    answer,
    cases,
    images,
    narrow_steps,
    plain_answer,
    random_variables,
)

# Extra trainable scalars for one added step at 10 classes, 1 to 4 blocks (published counts).
SIDE = {
    (): {"resnet": (310602, 679498, 1564746, 1601738), "densenet": (349386, 829770, 2159178, 6292554)},
    (8,): {"resnet": (57162, 75850, 113226, 122570), "densenet": (63690, 87882, 136266, 233034)},
    (64,): {"resnet": (347466, 495178, 790602, 864458), "densenet": (386250, 571722, 942666, 1684554)},
    (8, 16): {"resnet": (95178, 124234, 181194, 196298), "densenet": (106314, 145482, 222666, 375882)},
}
ADAPTER = {
    (1, False): {
        "convnet": (20874, 23434, 28554, 29834),
        "resnet": (53194, 63946, 85450, 90570),
        "densenet": (60234, 78506, 120810, 228458),
    },
    (1, True): {
        "convnet": (10151, 12711, 17831, 19111),
        "resnet": (42471, 53223, 74727, 79847),
        "densenet": (48935, 66631, 107783, 213127),
    },
    (3, False): {
        "convnet": (31242, 38410, 52746, 56330),
        "resnet": (120010, 149706, 209098, 223434),
        "densenet": (120138, 161770, 254634, 478762),
    },
    (3, True): {
        "convnet": (21563, 28731, 43067, 46651),
        "resnet": (110331, 140027, 199419, 213755),
        "densenet": (110011, 151195, 243163, 465499),
    },
}
JOINT = [
    ("convnet-2", 4, {}, 2717992),
    ("resnet-4", 4, {}, 44726568),
    ("densenet-4", 4, {}, 27856424),
    ("resnet-4", 4, {"mode": "side_tune"}, 15986856),
    ("convnet-2", 3, {"separate": "conv1,layer1:fc"}, 768148),
    ("resnet-2", 3, {"separate": "conv1,layer1:fc"}, 8818836),
]


def count(network) -> int:
    return full_count(network.shapes["params"])


def plain_count(base) -> int:
    return full_count(base.shapes["params"])


# Large networks take seconds to trace.
LARGE = [
    pytest.param(blocks, sizes, marks=pytest.mark.rare, id=f"{blocks}-{sizes}")
    for blocks in (3, 4)
    for sizes in SIDE
]


SMALL = [
    pytest.param(b, s, marks=pytest.mark.rare if b == 2 else (), id=f"{b}-{s}") for b in (1, 2) for s in SIDE
]


@pytest.mark.parametrize("blocks, sizes", [*SMALL, *LARGE])
def test_extra_parameters_of_side_modules(sizes, blocks):
    for family, counts in SIDE[sizes].items():
        base = build_network(f"{family}-{blocks}", 10)
        for efficient in (False, True):
            network = build_steps(base, 2, "side_tune", side=sizes, all_layers_efficient=efficient)
            assert count(network) - plain_count(base) == counts[blocks - 1]


@pytest.mark.parametrize("family", ["convnet", "resnet", "densenet"])
def test_block_side_modules_are_whole_networks(family):
    base = build_network(f"{family}-2", 10)
    assert count(build_steps(base, 3, "side_tune", side="block")) == 3 * plain_count(base)


@pytest.mark.parametrize("rank, efficient", list(ADAPTER))
@pytest.mark.parametrize("blocks", [1, 2, *(pytest.param(b, marks=pytest.mark.rare) for b in (3, 4))])
def test_extra_parameters_of_adapters(rank, efficient, blocks):
    for family, counts in ADAPTER[rank, efficient].items():
        base = build_network(f"{family}-{blocks}", 10)
        network = build_steps(
            base, 2, "low_rank_adapt", adapter=Adapter("add", rank), all_layers_efficient=efficient
        )
        assert count(network) - plain_count(base) == counts[blocks - 1]


@pytest.mark.parametrize("name, steps, options, expected", JOINT)
def test_totals_of_joint_networks(name, steps, options, expected):
    assert count(build_steps(build_network(name, 10), steps, **options)) == expected


@pytest.mark.rare
def test_per_layer_counts_of_side_modules():
    modules = {"resnet-2": (73984, 590848), "densenet-4": (73984, 295424, 1180672, 4720640)}
    for name, counts in modules.items():
        network = build_steps(build_network(name, 10), 2, "side_tune")
        shapes = network.shapes["params"]
        found = [full_count(shapes[f"layer{k}"]["side"]) for k in range(1, len(counts) + 1)]
        assert tuple(found) == counts


def test_version_tables():
    groups = ("conv1", "layer1", "layer2", "layer3", "fc")
    assert version_table(groups, 3) == ((0,) * 5, (1,) * 5, (2,) * 5)
    expected = ((0, 0, 0, 0, 0), (0, 0, 1, 0, 0), (1, 0, 1, 0, 0), (1, 1, 1, 0, 1))
    assert version_table(groups, 4, "layer2:conv1:layer1,fc") == expected
    with pytest.raises(ValueError, match="unknown layer 'layer9'; there are conv1"):
        version_table(groups, 3, "layer9")
    with pytest.raises(ValueError, match="has 2 entries, expected 1 or one for each of the 3"):
        version_table(groups, 4, "fc:fc")


@pytest.mark.parametrize(
    "name, limit",
    [
        ("convnet-1", 56),
        ("resnet-1", 56),
        ("convnet-2", 42),
        ("resnet-3", 42),
        ("convnet-4", 31),
        ("resnet-4", 31),
    ]
    + [(f"densenet-{b}", 25) for b in (1, 2, 3, 4)],
)
def test_largest_rank(name, limit):
    base = build_network(name, 10)
    build_steps(base, 2, "low_rank_adapt", adapter=Adapter("add", limit))
    with pytest.raises(
        ValueError, match=f"adapter.rank = {limit + 1} is too large .* largest rank there is {limit}"
    ):
        build_steps(base, 2, "low_rank_adapt", adapter=Adapter("add", limit + 1))


def test_ranks_of_stem_and_head():
    assert largest_rank(3, 64) == 2
    for classes, limit in ((10, 9), (20, 19), (2, 1)):
        network = build_steps(
            build_network("convnet-1", classes),
            2,
            "low_rank_adapt",
            adapter=Adapter("add", 56),
            all_layers_efficient=True,
        )
        assert [form.rank for form in network.forms] == [1, 56, limit]
    with pytest.raises(ValueError, match="at least 1"):
        build_steps(build_network("convnet-1", 10), 2, "low_rank_adapt", adapter=Adapter("add", 0))


def test_side_modules_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="layer_sizes to 'block'"):
        side_modules(build_network("convnet-1", 10), ())
    # 9·64·600 + 9·600·512 = 3,110,400 fits the 7,372,800 of the block, 3000 does not
    side_modules(build_network("resnet-1", 10), (600,))
    with pytest.raises(
        ValueError, match="15552000 kernel weights, which must be fewer than the block's 7372800"
    ):
        side_modules(build_network("resnet-1", 10), (3000,))
    with pytest.raises(ValueError, match="at least 1"):
        side_modules(build_network("resnet-1", 10), (0,))


TRACED = [
    ("convnet", "partial"),
    ("convnet", "block_all"),
    pytest.param("resnet", "side_sizes", marks=pytest.mark.slow),
    pytest.param("convnet", "multiply_all", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("family, form", TRACED)
def test_a_traced_step_gives_what_a_static_one_gives(family, form):
    network = narrow_steps(family, form)
    variables, x = random_variables(network), images()
    mode = Pass(train=True, sample_mask=jnp.arange(5) < 4)
    traced = jax.jit(lambda v, t: apply_step(network, v, t, x, mode)[:2])
    for t in (0, 2):
        static = jax.jit(lambda v, t=t: apply_step(network, v, t, x, mode)[:2])(variables)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), traced(variables, t), static
        )


@pytest.mark.parametrize("family, form", cases(*FORMS))
def test_names_round_trip_and_wrong_ones_are_named(family, form):
    network = narrow_steps(family, form)
    variables = random_variables(network)
    state = steps_to_torch(network, variables)
    jax.tree.map(np.testing.assert_array_equal, steps_from_torch(network, state), variables)
    first = sorted(state)[0]
    with pytest.raises(ValueError, match=f"missing {first}; surplus other"):
        steps_from_torch(network, {("other" if n == first else n): a for n, a in state.items()})


def test_published_keys_of_side_networks_are_read():
    network = narrow_steps("resnet", "side_sizes", steps=2)
    state = steps_to_torch(network, random_variables(network))
    published = {
        "layer2@1.side.conv0.weight": "blocks.1.1.0.weight",
        "layer2@1.side.conv1.weight": "blocks.1.1.1.weight",
        "layer2@1.side.bn.running_var": "blocks.1.1.2.running_var",
        "layer2@0.0.downsample.conv.weight": "blocks.1.0.0.downsample.0.weight",
        "conv1@1.bn.bias": "conv1.1.1.bias",
        "fc@1.linear.weight": "fc.1.2.weight",
    }
    renamed = {published.get(name, name): array for name, array in state.items()}
    found = steps_to_torch(network, steps_from_torch(network, renamed))
    jax.tree.map(np.testing.assert_array_equal, found, state)


@pytest.mark.parametrize("family, form", cases("separate", "partial", "add", "multiply_all"))
def test_extracted_and_merged_networks_answer_alike(family, form):
    network = narrow_steps(family, form)
    variables, x = random_variables(network), images()
    for step in range(3):
        expected = answer(network, variables, step, x)[0]
        found = plain_answer(network.base, network.plain(variables, step), x)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_merging_is_what_training_uses():
    network = narrow_steps("resnet", "add")
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: leaf.astype(float), random_variables(network)["params"]["layer2"])
        merged = adapted(params, 2, "add")["0"]["conv1"]["kernel"]
        factors = [jax.tree.map(lambda leaf, k=k: leaf[k], params["adapters"]["0"]["conv1"]) for k in (0, 1)]
        expected = np.array(params["base"]["0"]["conv1"]["kernel"])
        for factor in factors:
            for u in range(3):
                for v in range(3):
                    expected[u, v] += (np.asarray(factor["A_out"][u, v]) @ np.asarray(factor["A_in"][u, v])).T
        assert merged.dtype == np.float64
        np.testing.assert_allclose(merged, expected, rtol=1e-12, atol=1e-14)


def test_a_side_network_is_no_plain_one():
    network = narrow_steps("resnet", "side")
    variables = random_variables(network)
    network.plain(variables, 0)
    with pytest.raises(ValueError, match="side modules add to layer1"):
        network.plain(variables, 1)


@pytest.mark.parametrize("family, form", cases(*(form for form in FORMS if form != "partial")))
def test_starting_from_a_plain_network_and_from_fewer_steps(family, form):
    two, three = narrow_steps(family, form, 2), narrow_steps(family, form, 3)
    single = init_variables(two.base, jax.random.key(5))
    first = start_from_single(two, random_variables(two), single)
    jax.tree.map(np.testing.assert_array_equal, two.plain(first, 0), single)
    second = start_from_fewer(three, random_variables(three, seed=3), first)
    x = images()
    for step in (0, 1):
        expected = answer(two, first, step, x)[0]
        np.testing.assert_allclose(answer(three, second, step, x)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["add", "multiply"])
@pytest.mark.parametrize("efficient", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_identity_adapters_start_as_the_network_before(mode, efficient):
    base = build_network("resnet-2", 3, NARROW["resnet"])
    networks = [
        build_steps(
            base, t, "low_rank_adapt", adapter=Adapter(mode, 1, "identity"), all_layers_efficient=efficient
        )
        for t in (2, 3)
    ]
    single = jax.tree.map(lambda leaf: leaf + 0.1, init_variables(base, jax.random.key(5)))
    first = start_from_single(networks[0], random_variables_of_identity(networks[0]), single)
    second = start_from_fewer(networks[1], random_variables_of_identity(networks[1]), first)
    x = images()
    if efficient:
        expected = plain_answer(base, single, x)[0]
        np.testing.assert_allclose(answer(networks[1], second, 2, x)[0], expected, rtol=1e-4, atol=1e-4)
    else:  # stem and head are new, the blocks between them are not
        stem = jax.tree.map(np.array, single)
        stem["params"]["conv1"] = pick(second["params"]["conv1"], 2)
        stem["batch_stats"]["conv1"] = pick(second["batch_stats"]["conv1"], 2)
        expected = plain_answer(base, stem, x)[1][-2]
        np.testing.assert_allclose(answer(networks[1], second, 2, x)[1][-2], expected, rtol=1e-4, atol=1e-4)


def random_variables_of_identity(network):
    return init_steps(network, jax.random.key(2))


def test_versions_are_independent_draws():
    network = narrow_steps("convnet", "separate")
    kernels = init_steps(network, jax.random.key(0))["params"]["layer1"]["conv"]["kernel"]
    single = init_variables(network.base, jax.random.key(0))["params"]["layer1"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernels[0], single)
    assert len(np.unique(np.asarray(kernels).reshape(3, -1)[:, 0])) == 3


def test_a_version_table_of_its_own_counts_wherever_a_step_is_asked_for():
    network, x = narrow_steps("convnet", "separate"), images()
    variables = network.with_table(random_variables(network), ((0, 0, 0, 0), (0, 1, 0, 1), (0, 1, 0, 2)))
    for step in range(3):
        expected = answer(network, variables, step, x)[0]
        found = plain_answer(network.base, network.plain(variables, step), x)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    for end, step in ((0.0, 1), (1.0, 2)):
        found = network.on_line(variables, variables, end, x)
        np.testing.assert_allclose(found, answer(network, variables, step, x)[0], rtol=1e-4, atol=1e-4)
