"""The language of `fine_tune_layers`."""

import pytest

from seqfinal_jax.methods.recipes.layer_language import (
    StepLayers,
    layer_groups,
    layer_subsets,
    layers_name,
    parse_layers,
)

TWO_BLOCKS = ("conv1", "layer1", "layer2", "fc")


def stages(text, blocks=2):
    (step,) = parse_layers(text, blocks, 3, sequential=False)
    assert step.kind == "stages"
    return [",".join(stage) for stage in step.stages]


def test_all_is_every_group_and_sets_are_in_group_order():
    assert parse_layers("all", 2, 3, sequential=False) == (StepLayers("stages", (TWO_BLOCKS,)),)
    assert parse_layers("fc,layer2,conv1,layer1", 2, 3, sequential=False) == parse_layers("all", 2, 3, False)
    assert stages("layer2,conv1-fc,layer1") == ["conv1,layer2", "layer1,fc"]


def test_a_stage_may_come_back():
    assert stages("fc-all-fc") == ["fc", "conv1,layer1,layer2,fc", "fc"]


def test_gradual_unfreezing_adds_one_group_a_stage():
    assert stages("gradual_unfreeze_first_to_last") == [
        "conv1", "conv1,layer1", "conv1,layer1,layer2", "conv1,layer1,layer2,fc",
    ]  # fmt: skip
    assert stages("gradual_unfreeze_last_to_first") == [
        "fc", "layer2,fc", "layer1,layer2,fc", "conv1,layer1,layer2,fc",
    ]  # fmt: skip
    assert stages("gradual_unfreeze_last_to_first", blocks=1) == ["fc", "layer1,fc", "conv1,layer1,fc"]


@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
@pytest.mark.parametrize("direction", ["first_to_last", "last_to_first"])
def test_gradual_unfreezing_has_a_stage_a_group(blocks, direction):
    assert len(stages(f"gradual_unfreeze_{direction}", blocks)) == blocks + 2


def test_a_sequential_spec_has_one_entry_a_target_step():
    assert parse_layers("fc", 2, 3, sequential=True) == (StepLayers("stages", (("fc",),)),) * 3
    assert parse_layers("search", 2, 5, sequential=True) == (StepLayers("search"),) * 5
    assert parse_layers("surgical_rgn:fc:fc-all", 2, 3, sequential=True) == (
        StepLayers("surgical_rgn"),
        StepLayers("stages", (("fc",),)),
        StepLayers("stages", (("fc",), TWO_BLOCKS)),
    )
    assert len(parse_layers("fc", 2, 1, sequential=True)) == 1
    assert len(parse_layers("search", 2, 5, sequential=False)) == 1


@pytest.mark.parametrize(
    ("text", "sequential", "message"),
    [
        ("", False, "fine_tune_layers='': a layer's name is missing; known: conv1, layer1, layer2, fc"),
        ("fc-", False, "fine_tune_layers='fc-', stage 2: a layer's name is missing"),
        ("fc,,all", False, "a layer's name is missing"),
        ("layer3", False, "unknown layer 'layer3'; did you mean 'layer2'?"),
        ("fc-conv2", False, "stage 2: unknown layer 'conv2'; did you mean 'conv1'?"),
        ("serch", False, "unknown layer 'serch'; did you mean 'search'?"),
        ("fc, conv1", False, "unknown layer ' conv1'; did you mean 'conv1'?"),
        ("conv1,fc,conv1", False, "layer 'conv1' is named twice in 'conv1,fc,conv1'"),
        ("search-all", False, "stage 1: 'search' must stand alone in its time step"),
        ("fc-linear_probe_fine_tune", False, "stage 2: 'linear_probe_fine_tune' must stand alone in its time step"),
        ("all,fc", False, "'all' must stand alone in its set of layers"),
        ("all:fc", False, '":" separates time steps, and only sequential methods have several'),
        ("all:fc", True, "has 2 entries; the sequence has 3 target steps, so give 3 entries, or one for all"),
        ("all:fc-head:fc", True, "fine_tune_layers='all:fc-head:fc', time step 2, stage 2: unknown layer 'head'; "),
        ("all::fc", True, "time step 2: a layer's name is missing"),
    ],
)  # fmt: skip
def test_errors_point_at_the_part(text, sequential, message):
    with pytest.raises(ValueError) as error:
        parse_layers(text, 2, 3, sequential)
    assert message in str(error.value)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(("blocks", "count"), [(1, 7), (2, 15), (3, 31), (4, 63)])
def test_a_search_tries_every_subset_once(blocks, count):
    groups = layer_groups(blocks)
    subsets = layer_subsets(groups)
    assert len(subsets) == len(set(subsets)) == count
    assert all(subset == tuple(group for group in groups if group in subset) for subset in subsets)


def test_the_order_of_subsets():
    found = [",".join(subset) for subset in layer_subsets(("conv1", "layer1", "fc"))]
    assert found == ["conv1", "conv1,layer1", "conv1,layer1,fc", "conv1,fc", "layer1", "layer1,fc", "fc"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("all", "fine_tune"),
        ("fc", "fine_tune_fc"),
        ("fc-all", "linear_probe_then_fine_tune"),
        ("linear_probe_fine_tune", "linear_probe_then_fine_tune"),
        ("gradual_unfreeze_first_to_last", "gradual_unfreeze_first_to_last_fine_tune"),
        ("fc-layer2,fc-layer2,layer1,fc-all", "gradual_unfreeze_last_to_first_fine_tune"),
        ("fc-layer1,layer2-all", "fine_tune_fc-layer1,layer2-all"),
        ("fc,conv1", "fine_tune_conv1,fc"),
        ("surgical_snr", "fine_tune_surgical_snr"),
    ],
)
def test_names_follow_from_the_stages(text, name):
    for sequential in (False, True):
        assert layers_name(parse_layers(text, 2, 3, sequential), 2) == name


def test_the_name_of_steps_that_differ():
    steps = parse_layers("all:linear_probe_fine_tune:surgical_rgn", 2, 3, sequential=True)
    assert layers_name(steps, 2) == "fine_tune_all:fc-all:surgical_rgn"
    assert layers_name(parse_layers("fc:fc:fc", 2, 3, sequential=True), 2) == "fine_tune_fc"
