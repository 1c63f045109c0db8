"""Ratios of shift sizes, from distances as the published program stores them."""

from seqfinal_jax.analysis.shift_sizes.sizes import KINDS, ShiftSizes, shift_ratios
from tests.golden.case import Case, check

NAMES = {"consecutive": "ratios_table", "to final": "relative_to_final_ratios_table"}


@check(r"shift_ratios\.npz")
def check_shift_ratios(case: Case) -> None:
    given = ShiftSizes(
        0,
        {kind: tuple(case[f"in_{kind}_shift_w2s"].tolist()) for kind in KINDS},
        {kind: tuple(case[f"in_{kind}_shift_relative_to_final_test_w2s"].tolist()) for kind in KINDS},
        {kind: float(case[f"in_source_{kind}_shift_w2"]) for kind in KINDS},
    )
    ratios = shift_ratios(given)
    for kind in KINDS:
        for what, name in NAMES.items():
            key = f"out_{kind}_shift_{name}"
            case.compare(key, ratios[kind, what], key, 1e-12)
