"""The answer in two sentences."""

import math

import pandas as pd
import pytest

from seqfinal_jax.analysis.answer import answers
from seqfinal_jax.analysis.report import report_run
from tests.analysis.run_folders import make_run_folder


def cells(n, **methods):
    """Each method's (validation, test) accuracy; seeds move all alike, and the method a little."""
    rows = []
    for method, (valid, test) in methods.items():
        for seed in range(n):
            common = 0.01 * (seed % 3)
            own = 0.002 * (-1) ** seed if method not in ("erm_final", "oracle") else 0
            rows.append(
                ("convnet-1", method, seed, valid + common, test + common + own, "validation accuracy", 20)
            )
    columns = ["architecture", "method", "seed", "valid_accuracy", "test_accuracy", "selection", "n_valid"]
    return pd.DataFrame(rows, columns=columns)


FINAL, ORACLE = (0.40, 0.40), (0.60, 0.50)


def test_a_clear_gain_is_said_with_its_share_of_the_gap():
    [answer] = answers(
        cells(6, erm_final=FINAL, oracle=ORACLE, erm_fine_tune=(0.47, 0.44), erm_all=(0.3, 0.3))
    )
    assert answer.gain.comparison.method == "erm_fine_tune" and answer.gap == pytest.approx(0.4)
    first, second, third, _ = answer.sentences
    assert first.startswith(
        "convnet-1: History is worth using here: ERM + fine-tune, the best of 2 ways by validation"
    )
    assert "reaches 45.0 % on the test set, 4.0 points" in first
    assert "4.0 points above the final step alone (95 % interval +3.8 to +4.2, p = 0.031, 6 seeds)" in first
    assert second.startswith("That closes 40 % of the gap")
    assert third == "20 validation samples of the final step chose the models and the way."


def test_the_way_is_chosen_by_validation_accuracy_not_by_test():
    [answer] = answers(cells(6, erm_final=FINAL, erm_fine_tune=(0.47, 0.44), irm_fine_tune=(0.46, 0.49)))
    assert answer.gain.comparison.method == "erm_fine_tune" and math.isnan(answer.gap)


def test_the_way_is_chosen_on_the_seeds_that_methods_share():
    """I-FT has two of six seeds, with higher validation accuracies; D-FT all of them at first."""
    table = cells(
        6, erm_final=FINAL, erm_fine_tune=(0.47, 0.44), irm_fine_tune=(0.9, 0.9), dro_fine_tune=(0.469, 0.44)
    )
    table = table[(table["method"] != "irm_fine_tune") | (table["seed"] < 2)]
    [answer] = answers(table)
    assert answer.gain.comparison.method == "erm_fine_tune"
    assert "the best of 2 ways" in answer.sentences[0]
    assert "Left out for lack of seeds: I-FT." in " ".join(answer.sentences)
    # D-FT lacks the weakest seed: the mean over its own seeds is the highest, on the shared ones it is not.
    uneven = table[(table["method"] != "dro_fine_tune") | (table["seed"] > 0)]
    [answer] = answers(uneven)
    means = uneven.groupby("method")["valid_accuracy"].mean()
    assert means["dro_fine_tune"] > means["erm_fine_tune"]
    assert answer.gain.comparison.method == "erm_fine_tune" and answer.gain.comparison.seeds == tuple(
        range(6)
    )
    assert "The way was chosen on seeds 1, 2, 3, 4, 5, which all compared methods have." in " ".join(
        answer.sentences
    )


def test_the_better_final_on_validation_is_the_reference_and_the_difference_to_the_other_is_said():
    """The longer training is 3 points better on validation and 2 on test."""
    table = cells(6, erm_final=FINAL, erm_fine_tune=(0.47, 0.44), erm_final_long=(0.43, 0.42))
    [answer] = answers(table)
    assert answer.gain.comparison.reference == "erm_final_long" and answer.ways == 1
    first, second, *_ = answer.sentences
    assert (
        "2.0 points above the final step alone, trained longer, the better of the two by validation" in first
    )
    assert second.startswith("It is 4.0 points above the final step alone (95 % interval")
    table.loc[table["method"] == "erm_final_long", "valid_accuracy"] -= 0.1
    [answer] = answers(table)
    assert answer.gain.comparison.reference == "erm_final"


def test_several_architectures_are_several_answers_and_are_adjusted():
    one = cells(6, erm_final=FINAL, erm_fine_tune=(0.47, 0.44))
    both = answers(pd.concat([one, one.assign(architecture="convnet-2")]))
    assert [answer.gain.comparison.adjusted for answer in both] == [4 / 64, 4 / 64]
    assert "6 seeds do not suffice" in both[0].sentences[0]
    assert "p = 0.031, 0.062 adjusted for 2 architectures, 6 seeds" in both[0].sentences[0]
    assert "7 seeds or more could support a claim." in both[0].sentences


def test_few_seeds_make_no_claim():
    [answer] = answers(cells(3, erm_final=FINAL, oracle=ORACLE, erm_fine_tune=(0.47, 0.44)))
    assert "3 seeds do not suffice to say" in answer.sentences[0]
    assert "(no interval, p = 0.25, 3 seeds)" in answer.sentences[0]
    assert "6 seeds or more could support a claim." in answer.sentences
    [answer] = answers(cells(1, erm_final=FINAL, erm_fine_tune=(0.47, 0.44)))
    assert "one seed cannot say" in answer.sentences[0] and "interval" not in answer.sentences[0]


def test_history_that_hurts_and_differences_that_do_not_matter():
    [answer] = answers(cells(6, erm_final=FINAL, erm_fine_tune=(0.3, 0.33)))
    assert "History does not help here" in answer.sentences[0] and "7.0 points below" in answer.sentences[0]
    [answer] = answers(cells(6, erm_final=FINAL, erm_fine_tune=(0.47, 0.405)))
    assert "no difference can be claimed (the difference is under 1 point)" in answer.sentences[0]
    table = cells(6, erm_final=FINAL, erm_fine_tune=(0.47, 0.44))
    table.loc[(table["method"] == "erm_fine_tune") & (table["seed"] == 0), "test_accuracy"] = 0.39
    assert "no difference can be claimed (the seeds differ too much)" in answers(table)[0].sentences[0]


def test_what_was_not_run_is_named():
    [answer] = answers(cells(2, erm_fine_tune=(0.47, 0.44)))
    assert answer.sentences == (
        "convnet-1: no answer, because the final step alone (erm_final) was not run.",
    )
    [answer] = answers(cells(2, erm_final=FINAL, oracle=ORACLE))
    assert "a method that uses history was not run" in answer.sentences[0]


def records(seeds, **methods):
    """A result for each method and seed: the stages' late gains, best epoch 4 of 20 and 320 updates each."""
    return [
        {
            "method": method, "architecture": "convnet-1", "seed": seed, "best_epoch": best,
            "stages": [
                {"stage": f"stage{place}", "best_epoch": best, "epochs_allowed": 20, "updates": 320, "late_gain": gain}
                for place, gain in enumerate(gains)
            ],
        }
        for method, (best, gains) in methods.items()
        for seed in range(seeds)
    ]  # fmt: skip


def test_a_method_that_is_still_improving_makes_no_claim():
    """Quarters of 0.50 and 0.52 in every seed: a gain of 2 points, above a margin of 1 and not above one of 3."""
    table = cells(6, erm_final=FINAL, erm_fine_tune=(0.6, 0.7))
    own = records(6, erm_final=(4, [0.0]), erm_fine_tune=(4, [0.02, 0.0]))
    [answer] = answers(table, 0.01, own)
    assert answer.gain.improving == ("erm_fine_tune",) and not answer.gain.called
    assert answer.gain.claim == "none: FT not trained to the end"
    assert (
        "no difference can be claimed (FT not trained to the end: raise config.training.least_updates)"
        in (answer.sentences[0])
    )
    assert "FT was still improving: its validation accuracy rose by 2.0 points" in " ".join(answer.sentences)
    [answer] = answers(table, 0.03, own)
    assert answer.gain.called and "still improving" not in " ".join(answer.sentences)
    [answer] = answers(table, 0.01, records(6, erm_final=(4, [0.02]), erm_fine_tune=(4, [0.0])))
    assert answer.gain.improving == ("erm_final",) and not answer.gain.called


def test_the_answer_says_updates_and_untrained_models():
    table = cells(6, erm_final=FINAL, erm_fine_tune=(0.6, 0.7))
    own = records(6, erm_final=(0, [0.0]), erm_fine_tune=(0, [0.0, 0.0]))
    said = " ".join(answers(table, 0.01, own)[0].sentences)
    assert "Its models made 640 updates over all their stages, those of the final step alone 320" in said
    assert "The chosen model of Final is untrained (best epoch 0, its random start) in 6 of 6 seeds." in said
    assert "FT is untrained (best epoch 0, the start of its last stage) in 6 of 6 seeds." in said
    old = [{**each, "stages": [{"stage": "stage0", "best_epoch": 4}]} for each in own]
    said = " ".join(answers(table, 0.01, old)[0].sentences)
    assert "updates over all" not in said and "improving" not in said
    said = " ".join(answers(table, 0.01, own[:6] + old[6:])[0].sentences)  # one of the two says it
    assert "updates over all" not in said


@pytest.mark.parametrize("seeds", range(1, 8))
def test_no_sentence_has_a_figure_that_is_not_known(seeds):
    table = cells(seeds, erm_final=FINAL, erm_final_long=(0.3, 0.3), erm_fine_tune=(0.6, 0.45))
    for each in (table, table.drop(columns="n_valid")):
        said = " ".join(answers(each)[0].sentences)
        assert "nan" not in said and "oracle" not in said
        assert ("95 % interval" in said) == (seeds >= 6) and ("could support a claim" in said) == (seeds < 6)
        assert ("validation samples" in said) == ("n_valid" in each)
    assert ("one seed cannot say" in said) == (seeds == 1) and ("p = " in said) == (seeds > 1)


def test_a_gap_that_is_too_small_or_not_closed_is_not_said():
    for oracle, tuned in ((0.415, 0.44), (0.5, 0.39)):
        table = cells(6, erm_final=FINAL, oracle=(0.6, oracle), erm_fine_tune=(0.6, tuned))
        assert "gap" not in " ".join(answers(table)[0].sentences)


def test_how_the_way_was_found_is_said():
    one = cells(6, erm_final=FINAL, erm_fine_tune=(0.6, 0.45))
    assert "ERM + fine-tune, the only way that was run, reaches" in answers(one)[0].sentences[0]
    two = cells(6, erm_final=FINAL, erm_fine_tune=(0.6, 0.45), erm_all=(0.6, 0.45))
    two = two[(two["method"] != "erm_all") | (two["seed"] < 1)]
    assert "ERM + fine-tune, the only way with enough seeds, reaches" in answers(two)[0].sentences[0]
    one["selection"] = "TEST accuracy of the final step"
    assert "Its decay of learning rates was chosen on TEST data, as published." in answers(one)[0].sentences


def test_a_control_that_was_not_run_is_named():
    [answer] = answers(cells(6, erm_final=FINAL, erm_fine_tune=(0.6, 0.7)))
    assert answer.sentences[-1] == ("Controls that were not run: Final+ (erm_final_long), LP (linear_probe).")
    table = cells(6, erm_final=FINAL, erm_final_long=FINAL, linear_probe=(0.6, 0.7), erm_fine_tune=(0.6, 0.7))
    assert not any("Controls" in sentence for sentence in answers(table)[0].sentences)


def test_the_report_begins_with_it(tmp_path, capsys):
    accuracies = {
        (method, "convnet-1", seed): base
        + 0.01 * (seed % 3)
        + 0.001 * (-1) ** seed * (method == "erm_fine_tune")
        for method, base in (("erm_final", 0.4), ("oracle", 0.5), ("erm_fine_tune", 0.45))
        for seed in range(6)
    }
    workdir = make_run_folder(tmp_path / "run", accuracies, seeds=tuple(range(6)))
    report_run(workdir)
    said = (
        "convnet-1: History is worth using here: ERM + fine-tune, the only way that was run, reaches 46.0 %"
    )
    assert said in capsys.readouterr().out.replace("\n", " ")
    page = (workdir / "report" / "index.html").read_text()
    assert said in page and page.index("History is worth") < page.index('id="results"')
