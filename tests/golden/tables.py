"""The published table: every cell's text and mark, from made-up accuracies."""

import numpy as np
import pandas as pd

from seqfinal_jax.analysis.tables.labels import method_name
from seqfinal_jax.analysis.tables.original import frame_of
from seqfinal_jax.analysis.tables.paper_layout import best_tested_decay, paper_table
from tests.golden.case import Case, check

PUBLISHED_HEADS = {"erm_final": "4k", "oracle": "20k"}


@check(r"tables\.npz")
def check_tables(case: Case) -> None:
    given = pd.DataFrame(
        {
            "Model": case["in_model"], "Method": case["in_method"], "Shift sequence": case["in_setup"],
            "Seed": case["in_seed"], "Test accuracy": case["in_test_accuracy"],
        }
    )  # fmt: skip
    case.informational("tolerance")
    cells = frame_of(given)
    decays = [m for m in cells["method"].unique() if method_name(m).column.startswith("SFT")]
    table = paper_table(
        best_tested_decay(cells, decays, "sequential_fine_tune"), published=True, decays=decays
    )
    columns = {PUBLISHED_HEADS.get(m, method_name(m).column): m for half in table.halves for m in half}
    places = list(zip(case["cell_row"].tolist(), case["cell_column"].tolist(), strict=True))
    found = [table.cells[row, columns[column]] for row, column in places]
    wrong = [
        (place, cell.shown(), cell.mark, text, mark)
        for place, cell, text, mark in zip(places, found, case["cell_text"], case["cell_mark"], strict=True)
        if cell.shown() != text or cell.mark != mark
    ]
    case.compare_to(f"texts and marks {wrong[:3]}", len(wrong), np.asarray(0), 0)
    spread = [cell.shown(with_spread=True) for cell in found]
    differ = [
        (place, mine, theirs)
        for place, mine, theirs in zip(places, spread, case["cell_text_with_std"], strict=True)
        if theirs and mine != theirs
    ]
    case.compare_to(f"texts with spread {differ[:3]}", len(differ), np.asarray(0), 0)
