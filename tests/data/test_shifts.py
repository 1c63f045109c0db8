import numpy as np
import pytest

from seqfinal_jax.data.shifts import SHIFTS, pixels, published, shift
from seqfinal_jax.data.shifts.shift import (
    accumulate,
    apply_shifts,
    check_needs,
    parse_shifts,
    shift_notes,
    source_state,
)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("rotation", (("rotation",),)),
        (" corruption , label_flip: none :recolor", (("corruption", "label_flip"), (), ("recolor",))),
        ("rotation,rotation", (("rotation",),)),
        ("rotation+recolor:corruption", (("rotation", "recolor"), ("corruption",))),
        ("rotation,rotation_cond,recolor_cond,recolor", (("rotation_cond", "recolor_cond"),)),
    ],
)
def test_parse(text, steps):
    assert parse_shifts(text) == steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotation:label_filp", r"step 2: unknown shift 'label_filp'; did you mean 'label_flip'"),
        ("rotation_condition", r"did you mean 'rotation_cond'"),
        ("rotation::recolor", r"step 2 has an empty name; write 'none'"),
        ("rotation,", r"step 1 has an empty name"),
        ("rotation+", r"step 1 has an empty name"),
        ("", r"step 1 has an empty name"),
        ("none,rotation", r"step 1 names 'none' beside other shifts"),
    ],
)
def test_parse_refuses(text, message):
    with pytest.raises(ValueError, match=message):
        parse_shifts(text)


def test_notes_on_hidden_shifts_and_idle_flips():
    assert shift_notes("rotation:recolor") == ()
    assert shift_notes("none:rotation,rotation_cond") == ("step 2: rotation_cond hides rotation",)
    assert shift_notes("recolor_cond,recolor") == ("step 1: recolor_cond hides recolor",)
    eight = shift_notes(":".join(["label_flip"] * 8))
    assert [note.split(":")[0] for note in eight] == ["step 4", "step 8"]


def test_the_source_is_neutral_and_shifts_add_up():
    states = accumulate(parse_shifts("rotation,corruption:rotation_cond,recolor:recolor_cond,corruption"), 4)
    assert states[0] == source_state(4)
    assert [state.counts.get("corruption", 0) for state in states] == [0, 1, 1, 2]
    turned, tinted = SHIFTS.get("rotation"), SHIFTS.get("recolor")
    assert published.angles(states[2].occurred(turned)) == (60, 0, 60, 0)
    assert published.tints(states[3].occurred(tinted)) == ((60, 0, 0), (30, 30, 0), (30, 0, 30), (60, 0, 0))
    assert published.tints(states[2].occurred(tinted)) == ((30, 0, 0),) * 4
    assert [each.name for each in states[3].acting()] == ["corruption", "rotation", "recolor"]


@pytest.mark.parametrize(
    ("classes", "count", "even", "odd"),
    [
        (10, 1, 0.07, 0.13),
        (10, 2, 0.04, 0.16),
        (10, 3, 0.01, 0.19),
        (20, 1, 0.035, 0.065),
        (20, 2, 0.02, 0.08),
        (20, 3, 0.005, 0.095),
    ],
)
def test_label_shift_probabilities(classes, count, even, odd):
    state = accumulate((("label_shift",),) * count, classes)[-1]
    np.testing.assert_allclose(state.class_probs, [even, odd] * (classes // 2), atol=1e-12)


@pytest.mark.parametrize("classes", [10, 20])
def test_a_fourth_label_shift_is_refused(classes):
    with pytest.raises(ValueError, match=r"step 4 \(label_shift\): at most 3 label_shift"):
        accumulate((("label_shift",),) * 4, classes)


def test_subpop_schedule():
    states = accumulate((("subpop",),) * 3, 20, 5)
    third = 1 / 3
    assert [state.subclass_probs for state in states] == [
        (0.5, 0.5, 0, 0, 0),
        (third, third, third, 0, 0),
        (0, third, third, third, 0),
        (0, 0, third, third, third),
    ]
    with pytest.raises(ValueError, match="at most 3 subpop"):
        accumulate((("subpop",),) * 4, 20, 5)
    with pytest.raises(ValueError, match=r"step 1 \(subpop\): subpop needs a data set with sub-classes"):
        accumulate((("subpop",),), 10)
    with pytest.raises(ValueError, match="5 sub-classes or none, found 3"):
        source_state(10, 3)


@pytest.mark.parametrize(
    ("count", "digits"), [(1, "9876543210"), (2, "1098765432"), (3, "8901234567"), (4, "0123456789")]
)
def test_label_flips(count, digits):
    state = accumulate((("label_flip",),) * count, 10)[-1]
    ((_, flipped),) = shifted(np.zeros((10, 2, 2, 1), np.uint8), np.arange(10, dtype=np.int32), state)
    assert "".join(map(str, flipped)) == digits
    assert flipped.dtype == np.int32


def shifted(images, labels, state):
    return apply_shifts([(images, labels)], state, np.random.RandomState(0), (0,))


def ramp():
    """Four images whose values run 0, 1, ..., 255 over and over in the order (N, 3, 32, 32)."""
    return np.arange(4 * 3 * 32 * 32, dtype=np.int64).astype(np.uint8).reshape(4, 3, 32, 32)


def test_noise_is_the_published_noise():
    noise = np.random.RandomState(6906).randint(-3, 3, (4, 3, 32, 32))
    assert noise.ravel()[:10].tolist() == [0, -3, 1, 0, -1, -1, 0, 0, -3, -2]
    assert noise.sum() == -6034
    assert np.bincount(noise.ravel() + 3).tolist() == [2039, 2070, 1988, 2055, 2061, 2075]
    grey = np.full((4, 32, 32, 3), 100, np.uint8)
    drawn = pixels.add_noise(grey, np.random.RandomState(6906)).astype(int) - 100
    np.testing.assert_array_equal(drawn.transpose(0, 3, 1, 2), noise)


def test_three_passes_of_noise():
    rng, images, means = np.random.RandomState(6906), ramp().transpose(0, 2, 3, 1), []
    for _ in range(3):
        images = pixels.add_noise(images, rng)
        means.append(images.mean())
    np.testing.assert_allclose(means, [127.010986, 126.504639, 126.016602], atol=1e-6)


def test_mean_of_the_ramp_after_noise_of_every_value():
    noisy = np.add.outer(np.arange(256), np.arange(pixels.NOISE_LOW, pixels.NOISE_HIGH)).clip(0, 255)
    assert noisy.mean() == pytest.approx(127.003906, abs=5e-7)


def test_noise_of_the_picture_of_shifts():
    grey = np.full((2, 32, 32, 3), 100, np.uint8)
    noise = pixels.add_noise(grey, np.random.RandomState(1007)).astype(int).transpose(0, 3, 1, 2) - 100
    assert noise.ravel()[:8].tolist() == [-1, -1, 2, -2, -3, -1, -1, -1]
    assert noise.sum() == -3363


def test_chunks_do_not_change_the_noise(monkeypatch):
    images = np.full((40, 8, 8, 3), 9, np.uint8)
    whole = pixels.add_noise(images, np.random.RandomState(1))
    monkeypatch.setattr(pixels, "NOISE_CHUNK", 7)
    np.testing.assert_array_equal(pixels.add_noise(images, np.random.RandomState(1)), whole)


def test_noise_clips_and_goes_split_by_split():
    black, white = np.zeros((2, 4, 4, 3), np.uint8), np.full((3, 4, 4, 3), 255, np.uint8)
    state = accumulate(parse_shifts("corruption:corruption"), 2)[-1]
    splits = [(black, np.zeros(2, np.int32)), (white, np.zeros(3, np.int32))]
    (dark, _), (light, _) = apply_shifts(splits, state, np.random.RandomState(5), (5,))
    assert dark.max() <= 4
    assert light.min() >= 249
    rng = np.random.RandomState(5)
    for _ in range(2):
        black, white = pixels.add_noise(black, rng), pixels.add_noise(white, rng)
    np.testing.assert_array_equal(dark, black)
    np.testing.assert_array_equal(light, white)


def rotated_numbers(angle):
    """The image 1..1024 rotated; digits of a number up to 1024 travel in the red and green channels."""
    numbers = np.arange(1, 1025).reshape(32, 32)
    image = np.stack([numbers % 256, numbers // 256, numbers * 0], axis=2).astype(np.uint8)
    turned = pixels.rotate(image[None], angle)[0].astype(np.int64)
    return turned[..., 0] + 256 * turned[..., 1], numbers


@pytest.mark.parametrize(
    ("angle", "entries", "nonzero", "total", "weighted"),
    [
        (30, (89, 259, 112), 868, 444850, 281508050),
        (60, (286, 72, 182), 868, 444850, 258903725),
        (90, (544, 16, 315), 1024, 524800, 268960000),
        (120, (798, 88, 509), 868, 444850, 197067525),
        (180, (1008, 512, 855), 1024, 524800, 179481600),
        (-30, (73, 771, 326), 868, 444850, 281508050),
        (-60, (227, 937, 516), 868, 444850, 258903725),
        (-90, (481, 1009, 710), 1024, 524800, 268960000),
    ],
)
def test_rotation(angle, entries, nonzero, total, weighted):
    turned, numbers = rotated_numbers(angle)
    assert (turned[0, 16], turned[16, 0], turned[5, 9]) == entries
    assert (np.count_nonzero(turned), turned.sum()) == (nonzero, total)
    assert (turned * numbers).sum() == weighted


def test_rotation_by_90_is_a_quarter_turn_and_by_360_nothing():
    turned, numbers = rotated_numbers(90)
    np.testing.assert_array_equal(turned, np.rot90(numbers))
    np.testing.assert_array_equal(rotated_numbers(360)[0], numbers)


def test_rotated_white_has_black_corners():
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    means = [pixels.rotate(white, angle).mean() for angle in (30, 60, 90)]
    np.testing.assert_allclose(means, [216.152344, 216.152344, 255], atol=1e-6)


def test_rotation_and_tint_go_by_the_true_label():
    labels = np.array([0, 1, 2], np.int32)
    images = np.random.RandomState(0).randint(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    steps = parse_shifts("rotation_cond:recolor_cond:label_flip")
    state = accumulate(steps, 4)[-1]
    ((turned, flipped),) = shifted(images, labels, state)
    assert flipped.tolist() == [3, 2, 1]
    for k, angle in enumerate((30, -30, 30)):
        expected = pixels.rotate(images[k : k + 1], angle)[0].astype(int)
        expected[..., k] += 30
        np.testing.assert_array_equal(turned[k], expected.clip(0, 255))


def test_tint_of_the_ramp():
    image = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)[None]
    means = [
        pixels.tint_classes(image, np.zeros(1, int), ((tint, 0, 0),))[..., 0].mean() for tint in (30, 60, 90)
    ]
    np.testing.assert_allclose(means, [155.683594, 180.351562, 201.503906], atol=1e-6)


def test_a_neutral_state_leaves_images_alone():
    images = np.random.RandomState(0).randint(0, 256, (2, 5, 5, 3)).astype(np.uint8)
    ((same, labels),) = shifted(images, np.array([1, 0], np.int32), source_state(2))
    np.testing.assert_array_equal(same, images)
    assert labels.tolist() == [1, 0]


@pytest.fixture
def own_shift():
    """Registers shifts of a user's own, and takes them away again."""
    before = list(SHIFTS)
    yield shift
    for name in [name for name in SHIFTS if name not in before]:
        SHIFTS._remove(name)


def test_a_shift_of_ones_own_has_its_place_and_a_generator_that_moves_no_other_draw(own_shift):
    @own_shift("speckle", place=25)
    def speckle(images, labels, occurred, generator):
        return np.where(generator.random(images.shape) < 0.1 * occurred.times, 255, images).astype(np.uint8)

    images = np.random.RandomState(0).randint(0, 256, (20, 8, 8, 3)).astype(np.uint8)
    labels = np.zeros(20, np.int32)
    states = [accumulate(parse_shifts(text), 2)[-1] for text in ("corruption", "corruption,speckle:speckle")]
    splits = [(images, labels), (images, labels)]
    plain, speckled = (apply_shifts(splits, state, np.random.RandomState(3), (3,)) for state in states)
    assert [each.name for each in states[1].acting()] == ["corruption", "speckle"]
    for (clean, _), (dotted, _) in zip(plain, speckled, strict=True):
        assert 0.15 < (clean != dotted).mean() < 0.25
        assert set(np.unique(dotted[clean != dotted])) == {255}
    assert (speckled[0][0] != speckled[1][0]).any()  # each split draws its own


@pytest.mark.parametrize(
    "wrong",
    [
        lambda images, labels, *_: images / 255,
        lambda images, labels, *_: images[1:],
        lambda images, labels, *_: (images, labels + 9),
        lambda images, labels, *_: None,
    ],
)
def test_a_function_that_gives_something_else_is_named(own_shift, wrong):
    own_shift("wrong")(wrong)
    images, labels = np.zeros((3, 4, 4, 1), np.uint8), np.zeros(3, np.int32)
    with pytest.raises(ValueError, match=r"shift 'wrong' must give images as uint8 \(3, 4, 4, 1\)"):
        shifted(images, labels, accumulate(parse_shifts("wrong"), 2)[-1])


def test_shifts_say_what_images_they_need():
    check_needs(parse_shifts("rotation:corruption:label_flip"), (28, 28, 1))
    with pytest.raises(ValueError, match="step 2: recolor needs colour images, and these have 1 channel"):
        check_needs(parse_shifts("rotation:recolor"), (28, 28, 1))
    with pytest.raises(ValueError, match="step 1: rotation_cond needs square images, and these are 32x16"):
        check_needs(parse_shifts("rotation_cond"), (32, 16, 3))
