"""The four tables of shift sizes: terminal, CSV, Markdown and LaTeX, with the spread over seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from seqfinal_jax.analysis.plain_text import latex_text, markdown_text
from seqfinal_jax.analysis.shift_sizes.sizes import KINDS, ShiftSizes, shift_ratios

MEANINGS = {
    "consecutive": "each step to the next, over the halves of the first step",
    "to final": "each step to the final test samples, over the final training samples",
}


def ratio_rows(measured: Mapping[str, Mapping[int, ShiftSizes]]) -> pd.DataFrame:
    """A row for each sequence, table, pair of steps and seed: sequence, kind, what, step, seed, ratio."""
    rows = [
        (name, kind, what, step + (what == "consecutive"), seed, ratio)
        for name in sorted(measured)
        for seed, sizes in measured[name].items()
        for (kind, what), ratios in shift_ratios(sizes).items()
        for step, ratio in enumerate(ratios)
    ]
    return pd.DataFrame(rows, columns=["sequence", "kind", "what", "step", "seed", "ratio"])


def table_of(rows: pd.DataFrame, kind: str, what: str) -> pd.DataFrame:
    """Texts such as "3.61 ± 0.02", one row per sequence, one column per step."""
    own = rows[(rows["kind"] == kind) & (rows["what"] == what)]
    texts = own.groupby(["sequence", "step"])["ratio"].agg(_text).unstack("step")
    return texts.fillna("")


def _text(ratios: pd.Series) -> str:
    mean = f"{ratios.mean():.2f}"
    return f"{mean} ± {ratios.std(ddof=1):.2f}" if len(ratios) > 1 else mean


def caption(rows: pd.DataFrame, kind: str, what: str, notes: Sequence[str] = ()) -> str:
    """What the table shows, of how many seeds."""
    seeds = sorted(rows["seed"].unique().tolist())
    spread = "mean ± standard deviation over data seeds" if len(seeds) > 1 else "data seed"
    said = (
        f"{kind.capitalize()} shift, Wasserstein-2: {MEANINGS[what]} ({spread} {', '.join(map(str, seeds))}, "
    )
    return said + f"n = {len(seeds)})" + "".join(f"; {note}" for note in notes)


def step_heads(table: pd.DataFrame, what: str) -> list[str]:
    """Heads of the columns."""
    return [f"{t - 1} to {t}" if what == "consecutive" else f"step {t}" for t in table.columns]


def all_tables(rows: pd.DataFrame, notes: Sequence[str] = ()) -> list[tuple[str, pd.DataFrame]]:
    """Captions and tables, the four of them."""
    found = []
    for kind in KINDS:
        for what in MEANINGS:
            table = table_of(rows, kind, what)
            table.columns = step_heads(table, what)
            found.append((caption(rows, kind, what, notes), table))
    return found


def to_markdown(tables: Sequence[tuple[str, pd.DataFrame]]) -> str:
    """All tables, each under its caption."""
    parts = []
    for said, table in tables:
        lines = [["sequence", *table.columns], ["---"] * (1 + table.shape[1]), *_rows(table)]
        parts.append(f"{markdown_text(said)}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def _rows(table: pd.DataFrame) -> list[list[str]]:
    return [[markdown_text(name), *row] for name, row in zip(table.index, table.values, strict=True)]


def to_latex(tables: Sequence[tuple[str, pd.DataFrame]]) -> str:
    """All tables, for a document that uses booktabs."""
    parts = [
        table.rename_axis("sequence")
        .reset_index()
        .map(lambda text: latex_text(str(text)))
        .to_latex(index=False, escape=False, caption=latex_text(said))
        for said, table in tables
    ]
    return "\n".join(parts)


def mean_ratios(rows: pd.DataFrame, kind: str, what: str) -> tuple[list[str], np.ndarray]:
    """Names of sequences and their mean ratios (sequences, steps), for a picture; NaN where a step is missing."""
    own = rows[(rows["kind"] == kind) & (rows["what"] == what)]
    table = own.groupby(["sequence", "step"])["ratio"].mean().unstack("step")
    return list(table.index), table.to_numpy()
