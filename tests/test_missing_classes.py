"""A class without samples: an error at the final step, a warning that tables repeat elsewhere."""

import pytest

from seqfinal_jax.analysis.tables.results_table import results_table
from tests.runs import smoke_run

ONE = {"methods": ("erm_final",), "grid__dropout": (0.0,)}


def test_a_class_without_a_training_sample_at_the_final_step_is_an_error(tmp_path):
    sizes = {"data__source_size": 200, "data__target_sizes": (200, 200, 15)}
    for dry_run in (True, False):
        with pytest.raises(ValueError, match="step 3: none of its 4 training samples is of class"):
            smoke_run(tmp_path / "run", dry_run=dry_run, **ONE, **sizes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("step", "sizes"), [(1, (15, 100, 100)), (2, (100, 15, 100))])
def test_elsewhere_it_is_a_warning_that_the_table_repeats(tmp_path, caplog, step, sizes):
    smoke_run(tmp_path, **ONE, data__target_sizes=sizes)
    said = f"step {step}: none of its 4 training samples is of class 'zero', 'one'"
    assert said in caplog.text
    noted = [line for line in results_table(tmp_path).captions if line.startswith("data: ")]
    assert any(said in line and "(seeds 0)" in line for line in noted)
