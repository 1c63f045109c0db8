"""Sizes of shifts: Wasserstein-2 distances, ratios, tables and picture."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from seqfinal_jax.analysis.shift_sizes import sizes, tables
from seqfinal_jax.analysis.shift_sizes.picture import shift_picture
from seqfinal_jax.analysis.shift_sizes.sizes import (
    ShiftSizes,
    principal_directions,
    shift_sizes,
)
from seqfinal_jax.analysis.shift_sizes.wasserstein import (
    TransportError,
    conditional_shift,
    squared_distances,
    wasserstein2,
)
from seqfinal_jax.data import Source, build_sequence
from tests.processes import forked

ROOT = Path(__file__).parents[2]
# Data specification, 9.7.
TOY = {
    "corruption:label_flip:rotation": (
        5,
        (693.3144, 700.9475, 2986.9710),
        (1209.0592, 2011.6750, 3086.5505),
        (3020.1077, 2976.2777, 2971.6746, 548.3368),
        (3555.0338, 3535.1013, 3063.5016, 908.2157),
        (827.7645, 1328.2783),
    ),
    "recolor:recolor:recolor": (
        5,
        (1115.6680, 1080.0021, 919.5422),
        (1475.9816, 1456.0542, 1265.6777),
        (2653.9984, 1792.0540, 991.3114, 615.8118),
        (2770.5890, 1992.0174, 1301.8863, 1002.9443),
        (787.3695, 1306.0402),
    ),
    "rotation_cond:rotation_cond:rotation_cond": (
        6,
        (3017.2948, 749.6354, 2881.9103),
        (3127.5169, 2415.0629, 2984.6573),
        (736.1063, 2971.4844, 2954.7227, 711.9417),
        (1171.2656, 3081.3175, 3050.6242, 1141.2533),
        (823.4348, 1318.1101),
    ),
}


def clouds():
    u = np.random.RandomState(0).normal(size=(60, 5))
    v = np.random.RandomState(1).normal(size=(40, 5)) + 1
    return u, np.arange(60) % 3, v, np.arange(40) % 3


def test_distances_that_are_known():
    line = np.array([[0.0], [1.0], [2.0]])
    assert wasserstein2(line[:2], line) == pytest.approx(np.sqrt(0.5), rel=1e-9)
    u, labels, v, other = clouds()
    assert wasserstein2(u, u + np.array([3, 4, 0, 0, 0])) == pytest.approx(5, rel=1e-12)
    assert wasserstein2(u, v) == pytest.approx(2.934141570, abs=1e-9)
    assert conditional_shift(u, labels, v, other) == pytest.approx(3.112540697, abs=1e-9)
    assert conditional_shift(v, other, u, labels) == pytest.approx(3.111962034, abs=1e-9)


def test_raw_pixels():
    images = np.random.default_rng(0).integers(0, 226, (40, 3072)).astype(np.float64)
    assert wasserstein2(images, images) == 0
    assert wasserstein2(images, np.random.default_rng(1).permutation(images)) == 0
    assert wasserstein2(images, images + 30) == pytest.approx(30 * np.sqrt(3072), rel=1e-6)


def test_no_distance_is_below_zero():
    points = 1e6 + np.random.default_rng(0).normal(size=(30, 4)) * 1e-6
    assert squared_distances(points, points).min() >= 0
    assert np.isfinite(wasserstein2(points, points[::-1]))


def test_what_cannot_be_computed_is_an_error(monkeypatch):
    u, labels, v, _ = clouds()
    with pytest.raises(TransportError, match=r"did not converge.*--max_iterations"):
        wasserstein2(u, v, max_iterations=3)
    with pytest.raises(TransportError, match="label 9 occurs in the second set alone"):
        conditional_shift(u, labels, v, np.full(40, 9))
    monkeypatch.setattr("seqfinal_jax.analysis.shift_sizes.wasserstein.MOST_POINTS", 50)
    with pytest.raises(TransportError, match=r"60 points on a side are too many.*--points=25"):
        wasserstein2(u, v)


def toy_b():
    """The smooth random images of the data specification, 9.7."""
    z = np.random.RandomState(123).normal(size=(60000, 12))
    labels = np.concatenate([np.arange(50000) % 10, np.arange(10000) % 10])
    z[:, 0] += 0.2 * (labels - 4.5)
    waves = ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2), (0, 3), (3, 0), (3, 3))
    scales = np.array([40, 28, 20, 15, 11, 8, 6, 5, 4, 3, 2.5, 2])
    angle = (np.arange(32) + 0.5) * np.pi / 32
    basis = np.stack([np.outer(np.cos(u * angle), np.cos(v * angle)) for u, v in waves])
    images = np.empty((60000, 32, 32, 3), np.uint8)
    for first in range(0, 60000, 5000):
        smooth = np.einsum("nk,khw->nhw", z[first : first + 5000] * scales, basis)
        for channel, gain in enumerate((1.0, 0.8, 0.6)):
            images[first : first + 5000, ..., channel] = np.clip(np.rint(128 + gain * smooth), 0, 255)
    return Source(
        "cifar10", images[:50000], labels[:50000].astype(np.int32), images[50000:], labels[50000:].astype(np.int32),
        10, tuple("abcdefghij"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def toy_source():
    source = toy_b()
    assert int(source.train_images.sum(dtype=np.int64)) == 19606544037
    assert int(source.test_images.sum(dtype=np.int64)) == 3932112261
    assert source.train_images[0, 0, :2].tolist() == [[50, 66, 81], [51, 67, 82]]
    return source


@pytest.mark.parametrize("shifts", list(TOY))
def test_the_whole_pipeline_on_made_images(toy_source, shifts):
    components, *expected, halves = TOY[shifts]
    sequence = build_sequence(
        "cifar10", shifts, 600, (400, 600, 400), 500, seed=1007, source=toy_source, cache=False
    )
    found = shift_sizes(sequence)
    assert found.components == components
    measured = [*found.consecutive.values(), *found.to_final.values()]
    for numbers, wanted in zip(measured, expected, strict=True):
        assert np.allclose(numbers, wanted, rtol=1e-4)
    assert np.allclose(list(found.halves.values()), halves, rtol=1e-4)


def test_a_label_flip_moves_the_conditional_distance_alone(toy_source):
    plain, flipped = (
        build_sequence("cifar10", shifts, 200, (100,), 100, seed=0, source=toy_source, cache=False)
        for shifts in ("none", "label_flip")
    )
    before, after = shift_sizes(plain), shift_sizes(flipped)
    assert after.consecutive["covariate"] == pytest.approx(before.consecutive["covariate"], rel=1e-9)
    assert after.consecutive["conditional"][0] > 1.05 * before.consecutive["conditional"][0]


def test_fewer_points_are_labelled_so(toy_source):
    sequence = build_sequence("cifar10", "rotation", 600, (400,), 300, seed=0, source=toy_source, cache=False)
    part = shift_sizes(sequence, points=200)
    assert part.points == 200
    rows = tables.ratio_rows({"toy": {0: part}})
    said, _ = tables.all_tables(rows, ["approximate: at most 200 samples of each step"])[0]
    assert said.endswith("n = 1); approximate: at most 200 samples of each step")


def test_directions_explain_what_they_should():
    points = np.random.default_rng(0).normal(size=(400, 6)) * np.array([10, 5, 1, 0.1, 0.1, 0.1]) + 7
    mean, directions = principal_directions([points[:150], points[150:]])
    assert np.allclose(mean, points.mean(axis=0))
    values, vectors = np.linalg.eigh(np.cov(points.T))
    assert directions.shape[1] == 2 and np.cumsum(values[::-1])[1] / values.sum() >= 0.95
    assert np.allclose(np.abs(directions.T @ vectors[:, [5, 4]]), np.eye(2), atol=1e-9)


def made_up(first, steps=3):
    growing = tuple(first + t for t in range(steps))
    both = dict.fromkeys(sizes.KINDS, growing)
    return ShiftSizes(3, both, dict.fromkeys(sizes.KINDS, (*growing, 2.0)), dict.fromkeys(sizes.KINDS, 2.0))


def test_tables_give_the_spread_over_seeds_and_n():
    rows = tables.ratio_rows({"b_b": {0: made_up(2.0), 1: made_up(4.0)}, "a": {0: made_up(2.0, 2)}})
    said, table = tables.all_tables(rows)[0]
    assert "n = 2" in said and list(table.columns) == ["0 to 1", "1 to 2", "2 to 3"]
    assert table.loc["b_b", "0 to 1"] == "1.50 ± 0.71" and table.loc["a", "2 to 3"] == ""
    assert "| b_b | 1.50 ± 0.71 |" in tables.to_markdown([(said, table)])
    latex = tables.to_latex([(said, table)])
    assert r"b\_b & 1.50 $\pm$ 0.71" in latex and r"\toprule" in latex
    assert shift_picture(rows).get_axes()


@pytest.mark.slow
def test_the_command_measures_once_and_keeps_it(tmp_path):
    command = [
        "seqfinal_jax.analysis.shift", "--config=configs/digits_rcl.py:smoke",
        "--config.seeds=0,", f"--out={tmp_path}",
    ]  # fmt: skip
    first, again = forked([command, command])
    assert first.returncode == 0, first.stderr
    assert "is there already" in again.stdout and "digits_rcl-smoke" in again.stdout
    rows = list(csv.DictReader(io.StringIO((tmp_path / "shifts.csv").read_text())))
    assert len(rows) == 4 * 3 and all(float(row["ratio"]) > 0 for row in rows)
    stored = json.loads((tmp_path / "measured" / "digits_rcl-smoke" / "seed0.json").read_text())
    assert len(stored["to_final"]["covariate"]) == 4
    assert {path.name for path in tmp_path.iterdir()} >= {
        "shifts.md",
        "shifts.tex",
        "shifts.png",
        "shifts.pdf",
    }
