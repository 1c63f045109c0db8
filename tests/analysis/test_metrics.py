"""Metrics: against numbers worked out by hand, in every table, with the statistics and in the report."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import seqfinal_jax
from seqfinal_jax.analysis import report
from seqfinal_jax.analysis.tables.command import main
from seqfinal_jax.analysis.tables.metrics import METRICS, metric
from seqfinal_jax.listing import main as list_command
from tests.analysis.run_folders import make_run_folder
from tests.plugin_files import forget

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
EXAMPLE = re.search(r"```python\n# brier\.py\n(.*?)```", PAGE, re.S)[1]
LOGS = np.log


def of(name, logits, labels):
    return METRICS.get(name).function(np.asarray(logits, np.float32), np.asarray(labels), ("a", "b"))


# Two classes with probabilities (0.9, 0.1), (0.8, 0.2), (0.6, 0.4), (0.3, 0.7); the second answer is wrong.
FOUR = LOGS([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
LABELS = [0, 1, 0, 1]


def test_numbers_by_hand():
    assert of("accuracy", FOUR, LABELS) == pytest.approx(3 / 4)
    assert of("worst_class", FOUR, LABELS) == pytest.approx(1 / 2)  # class 0: 2 of 2, class 1: 1 of 2
    nll = -(np.log(0.9) + np.log(0.2) + np.log(0.6) + np.log(0.7)) / 4
    assert of("nll", FOUR, LABELS) == pytest.approx(nll, rel=1e-6)
    # four bins with one sample each: |1 - 0.9|, |0 - 0.8|, |1 - 0.6|, |1 - 0.7|, a quarter of each
    assert of("ece", FOUR, LABELS) == pytest.approx((0.1 + 0.8 + 0.4 + 0.3) / 4, rel=1e-5)


def test_samples_of_a_bin_are_averaged_before_the_gap_is_taken():
    """0.81 and 0.85 lie in the bin (12/15, 13/15]: mean confidence 0.83, accuracy 1/2; 0.55 in (8/15, 9/15]."""
    logits = LOGS([[0.81, 0.19], [0.85, 0.15], [0.55, 0.45]])
    assert of("ece", logits, [0, 1, 0]) == pytest.approx((2 * 0.33 + 1 * 0.45) / 3, rel=1e-5)
    certain = [[50.0, 0.0], [50.0, 0.0]]  # confidence 1 is in the last bin
    assert of("ece", certain, [0, 1]) == pytest.approx(0.5)


def test_a_class_without_samples_and_logits_that_are_not_finite():
    assert of("worst_class", FOUR[:1], [0]) == 1.0
    assert of("accuracy", [[np.nan, 0.0], [np.inf, 0.0]], [0, 0]) == 0.0
    assert of("nll", [[1000.0, 0.0]], [1]) == pytest.approx(1000.0)


SHARE = {"erm_final": 0.6, "oracle": 0.98, "erm_all": 0.75, "erm_fine_tune": 0.85}
NAMES = ("left", "right")


def probability(method, seed):
    """Of the right class, in every sample of a cell; all answers are right, so ece = 1 - p and nll = -log p."""
    return SHARE[method] + 0.05 - 0.01 * seed if method == "erm_final" else SHARE[method] - 0.02 * seed


def write_predictions(cell, p, samples=20):
    labels = np.arange(samples, dtype=np.int32) % 2
    chance = np.where(np.eye(2)[labels] > 0, p, 1 - p)
    arrays = {"logits": np.log(chance).astype(np.float32), "labels": labels, "index": np.arange(samples)}
    np.savez(
        cell / "predictions.npz", **{f"{s}_{k}": v for s in ("valid", "test") for k, v in arrays.items()}
    )


@pytest.fixture
def run(tmp_path):
    methods, seeds = tuple(SHARE), range(7)
    accuracies = {(m, "convnet-1", s): SHARE[m] - s / 100 for m in methods for s in seeds}
    folder = make_run_folder(tmp_path / "run", accuracies, methods, tuple(seeds))
    for method, _, seed in accuracies:
        cell = folder / "cells" / method / "convnet-1" / f"seed{seed}"
        write_predictions(cell, probability(method, seed))
        stage = json.loads((cell / "result.json").read_text())["stages"][-1]["fingerprint"]
        place = folder / "stages" / stage / f"seed{seed}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "meta.json").write_text(json.dumps({"model": {"class_names": NAMES}}))
    return folder


def shown(capsys, *arguments, status=0):
    assert main([*map(str, arguments)]) == status
    found = capsys.readouterr()
    return found.err if status else found.out


def means(metric):
    return {m: np.mean([metric(probability(m, s)) for s in range(7)]) for m in SHARE}


def test_the_predictions_of_a_cell(run):
    found = seqfinal_jax.read_predictions(run / "cells" / "erm_all" / "convnet-1" / "seed2")
    assert found.test.logits.shape == (20, 2) and found.valid.labels[:3].tolist() == [0, 1, 0]
    assert found.class_names == NAMES and found.test.index[-1] == 19
    with pytest.raises(
        ValueError, match="is no completed cell; give a folder cells/METHOD/ARCHITECTURE/seedK"
    ):
        seqfinal_jax.read_predictions(run / "cells")
    (run / "cells" / "erm_all" / "convnet-1" / "seed2" / "predictions.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"predictions.npz cannot be read .*run again"):
        seqfinal_jax.read_predictions(run / "cells" / "erm_all" / "convnet-1" / "seed2")


def test_the_long_table_in_every_format(run, capsys):
    frame = pd.read_csv(io.StringIO(shown(capsys, run, "--metric=ece", "--format=csv")))
    ece = means(lambda p: 1 - p)
    assert dict(zip(frame["method"], frame["mean"], strict=True)) == pytest.approx(ece, rel=1e-5)
    text = shown(capsys, run, "--metric=ece", "--format=markdown")
    assert "Test ECE (%) at the final step, lower is better: digits\\_rcl" in text.replace("s_r", "s\\_r")
    assert f"{100 * ece['erm_all']:.1f} ± " in text
    best = f"{100 * ece['erm_fine_tune']:.1f}"  # the lowest but for the oracle, which does not compete
    assert re.search(rf"lowest mean on the test set \(without Oracle\): convnet-1 .* {best} ", text)
    latex = shown(capsys, run, "--metric=ece", "--format=latex")
    assert rf"\textbf{{{best} $\pm$" in latex and "the lowest mean among methods" in latex
    assert latex.count(r"\textbf{") == 2  # the best one, and what bold means
    nll = shown(capsys, run, "--metric=nll", "--format=markdown")
    assert "Test NLL at the final step, lower is better" in nll
    assert f"{means(lambda p: -np.log(p))['erm_all']:.3f} ± " in nll


def test_the_paper_layout(run, capsys):
    frame = pd.read_csv(io.StringIO(shown(capsys, run, "--metric=ece", "--layout=paper", "--format=csv")))
    own = frame[frame["row"] == "Conv-1"].set_index("method")
    assert own.loc["erm_fine_tune", "mark"] == "bold" and own.loc["erm_final", "mark"] != "bold"
    text = shown(capsys, run, "--metric=ece", "--layout=paper", "--format=markdown")
    assert (
        "test ECE, mean over seeds" in text
        and "lower is better; bold: at most 2 points above the best" in text
    )
    text = shown(capsys, run, "--metric=nll", "--layout=paper", "--format=latex")
    assert "Test NLL at the final step" in text and "lower is better; bold: the best method" in text


def test_the_layout_of_lengths(run, capsys):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "data": {"shifts": "rotation:recolor:none"}}))
    text = shown(capsys, run, "--metric=ece", "--layout=lengths", "--format=csv")
    frame = pd.read_csv(io.StringIO(text))
    own = frame[frame["row"] == "4 steps"].set_index("method")["mean"]
    assert own["erm_all"] == pytest.approx(means(lambda p: 1 - p)["erm_all"], rel=1e-5)


def test_a_lower_metric_is_claimed_as_better(run, capsys):
    """History has a lower calibration error in each of seven seeds: the least p that these can have is 2/128."""
    text = shown(capsys, run, "--metric=ece", "--against=erm_final", "--format=csv")
    frame = pd.read_csv(io.StringIO(text)).set_index("method")
    differences = [probability("erm_final", s) - probability("erm_fine_tune", s) for s in range(7)]
    assert frame.loc["erm_fine_tune", "difference"] == pytest.approx(np.mean(differences), rel=1e-4)
    assert frame.loc["erm_fine_tune", "p"] == pytest.approx(2 / 128)
    assert frame.loc["erm_fine_tune", "claim"] == "better" and frame.loc["oracle", "claim"].startswith("none")
    lines = shown(capsys, run, "--metric=nll", "--against=erm_final")
    assert "test NLL minus that of ERM final, paired by seed" in lines
    assert re.search(r"fine.*: -0\.\d{3} \[-0\.\d{3}, -0\.\d{3}\], p = 0.0156.*: better", lines)
    back = pd.read_csv(
        io.StringIO(shown(capsys, run, "--metric=ece", "--against=erm_fine_tune", "--format=csv"))
    )
    assert back.set_index("method").loc["erm_final", "claim"] == "worse"
    said = shown(capsys, run, "--metric=nll", "--against=erm_final", "--format=markdown")
    assert "test NLL minus that of the reference, the mean over the seeds" in said


def test_the_accuracy_is_that_of_the_run_and_the_default(run, capsys):
    for more in ((), ("--layout=paper",), ("--against=erm_final",)):
        flags = (run, "--format=markdown", *more)
        assert shown(capsys, *flags, "--metric=accuracy") == shown(capsys, *flags)


def test_names_that_are_none(run, capsys, tmp_path):
    said = shown(capsys, run, "--metric=eec", status=2)
    assert said.startswith(
        "error: unknown metric 'eec'; did you mean 'ece'? (known: accuracy, worst_class, ece, nll"
    )
    said = shown(capsys, run, "--metric=ece", "--layout=paper", "--select=test", status=2)
    assert "leave out the published program's files and --select=test" in said
    assert report.main([str(run), "--metric=eec"]) == 2
    assert "unknown metric 'eec'; did you mean 'ece'?" in capsys.readouterr().err
    with pytest.raises(ValueError, match="better: expected 'higher' or 'lower', found 'smaller'"):
        metric("mine", better="smaller")
    (run / "cells" / "erm_all" / "convnet-1" / "seed2" / "predictions.npz").unlink()
    assert "seed2 has no predictions.npz" in shown(capsys, run, "--metric=ece", status=2).replace(
        "cannot be read", ""
    )


def test_results_have_a_column_for_each_metric(run):
    frame = seqfinal_jax.load_results(run, metrics=("ece", "nll"))
    assert frame["test_ece"].to_numpy() == pytest.approx(
        [1 - probability(row.method, row.seed) for row in frame.itertuples()], rel=1e-4
    )
    assert {"test_nll", "path"} <= {*frame.columns}
    assert "test_ece" not in seqfinal_jax.load_results(run).columns


def test_the_report_has_a_column_for_each_metric(run, capsys):
    before = write_page(run)
    assert "Further metrics" not in before
    assert report.main([str(run), "--metric=ece", "--metric=worst_class"]) == 0
    page = (run / "report" / "index.html").read_text()
    assert "Further metrics" in page and "ECE (%)" in page and "worst class (%)" in page
    mean = means(lambda p: 1 - p)["erm_all"]
    assert f">{100 * mean:.1f} ± " in page
    assert write_page(run) == before


def test_a_metric_may_have_the_name_of_a_number_that_the_run_stored(run, capsys, own):
    """result.json has a test_loss of 1.25 in every cell, which is not what this metric says."""
    text = "from seqfinal_jax.analysis.tables.metrics import metric\n@metric('loss', better='lower')\n"
    path = own(f"{text}def loss(logits, labels, class_names):\n    return 7\n")
    text = shown(capsys, run, "--metric=loss", f"--plugins={path}", "--format=csv")
    assert set(pd.read_csv(io.StringIO(text))["mean"]) == {7.0}


def write_page(run):
    *_, page = report.write_report(run)
    return page.read_text()


@pytest.fixture
def own(tmp_path):
    def write(text):
        path = tmp_path / "brier.py"
        path.write_text(text)
        return path

    yield write
    forget(tmp_path)


def test_a_metric_of_a_users_file(run, capsys, own):
    """Two classes: the Brier score of a sample whose right class has p is 2 (1 - p)²."""
    assert EXAMPLE.count("\n") <= 60
    path = own(EXAMPLE)
    said = shown(capsys, run, "--metric=brier", status=2)
    assert "unknown metric 'brier'" in said
    text = shown(capsys, run, "--metric=brier", f"--plugins={path}", "--format=csv")
    frame = pd.read_csv(io.StringIO(text)).set_index("method")
    brier = means(lambda p: 2 * (1 - p) ** 2)
    assert frame["mean"].to_dict() == pytest.approx(brier, rel=1e-4)
    assert report.main([str(run), f"--plugins={path}"]) == 0
    page = (run / "report" / "index.html").read_text()
    assert ">Brier</button>" in page and f">{brier['erm_all']:.3f} ± " in page
    assert list_command(["metrics", f"--plugins={path}"]) == 0
    assert "brier" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return numpy.mean(logits)", "line 6: NameError: name 'numpy' is not defined"),
        ("return None", "line 4: metric 'brier' gave None for "),
        ("return float('nan')", "line 4: metric 'brier' gave nan for "),
    ],
)
def test_a_metric_that_fails_names_the_line_and_costs_no_report(run, capsys, own, body, said):
    text = "from seqfinal_jax.analysis.tables.metrics import metric\n\n\n@metric('brier', better='lower')\n"
    path = own(f"{text}def brier(logits, labels, class_names):\n    {body}\n")
    error = shown(capsys, run, "--metric=brier", f"--plugins={path}", status=2)
    assert f"error: {path}, {said}" in error and error.count("\n") == 1
    assert report.main([str(run), f"--plugins={path}"]) == 0
    page = (run / "report" / "index.html").read_text()
    assert "The metric <code>brier</code> could not be computed: " in page and str(path) in page
