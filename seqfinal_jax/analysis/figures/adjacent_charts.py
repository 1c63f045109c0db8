"""The two figures of the adjacent penalty's effect: validation accuracy and parameter change against its strength."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from seqfinal_jax.analysis.figures.adjacent_effect import AdjacentEffect, summarised
from seqfinal_jax.analysis.figures.log_axis import log_ticks, on_log, round_ticks, set_log_axis, zero_place
from seqfinal_jax.analysis.figures.palette import (
    BLUE,
    CAPTION_SIZE,
    GREEN,
    GREY,
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    VERMILION,
    architecture_style,
    clean_axes,
    legend_below,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.figures.record import house_style
from seqfinal_jax.analysis.tables.labels import limit_methods, listed, method_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEYOND = 3.0  # factor from the ends of the line to the single points beside it
LIMIT_STYLES = {"weak": (VERMILION, "s", "left"), "strong": (GREEN, "D", "right")}
STRENGTH = "strength γ of the adjacent penalty"


@house_style()
def accuracy_chart(effect: AdjacentEffect, path: Path) -> Path:
    """Draws validation accuracy (%) against γ: the joint model as a line, ERM final and ERM all at its ends."""
    return save_png(_accuracy_figure(effect), path)


@house_style()
def change_chart(effect: AdjacentEffect, path: Path) -> Path:
    """Draws the change of each layer over all neighbouring steps against γ, both axes logarithmic."""
    return save_png(_change_figure(effect), path)


def _accuracy_figure(effect: AdjacentEffect) -> "Figure":
    figure, axes = _figure(
        effect, "Validation accuracy against the adjacent penalty", "the best grid point of each γ"
    )
    table = summarised(effect.accuracy)
    line = table[table["series"] == "joint"]
    _draw_line(axes, _in_percent(line), effect, {"color": BLUE, "marker": "o"})
    single = [_handle("joint model, mean over seeds" if _many(effect) else "joint model", BLUE, "o", "-")]
    for series, limit in limit_methods().items():
        color, marker, side = LIMIT_STYLES[limit]
        row = table[table["series"] == series]
        if len(row):
            _draw_line(axes, _in_percent(row), effect, {"color": color, "marker": marker}, _end(effect, side))
            single.append(
                _handle(method_name(series).legend + _lack(row["n"].iloc[0], effect), color, marker)
            )
    _draw_seeds(axes, effect)
    _note_counts(axes, line, effect)
    axes.set_ylabel("validation accuracy (%)", fontsize=LABEL_SIZE)
    legend_below(figure, single + ([_handle("a seed", GREY, ".")] if _many(effect) else []))
    return figure


def _change_figure(effect: AdjacentEffect) -> "Figure":
    figure, axes = _figure(
        effect, "Parameter change against the adjacent penalty", "the winner of each grid at its γ"
    )
    table, handles = summarised(effect.change), []
    zero = zero_place(table["mean"])
    for place, layer in enumerate(dict.fromkeys(effect.change["series"])):
        color, marker = architecture_style(place)
        line = table[table["series"] == layer]
        drawn = line.assign(mean=on_log(line["mean"], zero))
        _draw_line(axes, drawn, effect, {"color": color, "marker": marker})
        handles.append(_handle(layer, color, marker, "-"))
    has_zero = bool((table["mean"] == 0).any())
    _set_change_range(axes, table, zero if has_zero else None)
    _note_counts(axes, table.drop_duplicates("adjacent"), effect)
    axes.set_ylabel("root of summed squared l2 distances\nof neighbouring steps", fontsize=LABEL_SIZE)
    legend_below(figure, handles)
    return figure


def _figure(effect: AdjacentEffect, title: str, what: str) -> tuple["Figure", "Axes"]:
    """A figure with its titles and the axis of γ, the same in both figures."""
    figure = new_figure(7.2, 5.0)
    axes = figure.subplots()
    clean_axes(axes)
    zero = _zero(effect)
    set_log_axis(axes, "x", log_ticks(effect.strengths), zero if 0 in effect.strengths else None)
    axes.set_xlim(_end(effect, "left") / 2, _end(effect, "right") * 2)
    axes.set_xlabel(STRENGTH, fontsize=LABEL_SIZE)
    axes.set_title(_subtitle(effect, what), loc="left", fontsize=CAPTION_SIZE, color=GREY)
    title = textwrap.fill(f"{title}: {effect.sequence}, {effect.architecture}", 80)
    figure.suptitle(title, fontsize=TITLE_SIZE, color=INK)
    return figure, axes


def _subtitle(effect: AdjacentEffect, what: str) -> str:
    spread = "; mean ± sample standard deviation" if _many(effect) else ""
    lines = [
        f"protocol {effect.protocol}; {what}",
        f"selection: {effect.selection} ({effect.n_valid} samples)",
        f"seed{'s' * _many(effect)} {listed(effect.seeds)}, n = {len(effect.seeds)}"
        + (" unless noted" if _many(effect) else "")
        + spread,
    ]
    return "\n".join(textwrap.fill(line, 100) for line in lines)


def _draw_line(
    axes: "Axes",
    table: pd.DataFrame,
    effect: AdjacentEffect,
    look: dict[str, Any],
    place: float | None = None,
) -> None:
    """Means with their spread at each γ, or at `place`; dotted from zero to the smallest positive γ."""
    zero = _zero(effect)
    places = on_log(table["adjacent"], zero) if place is None else np.full(len(table), place)
    means, spread = table["mean"].to_numpy(), np.nan_to_num(table["spread"])
    style = {"elinewidth": 0.9, "capsize": 3 if _many(effect) else 0, "markersize": 5, "zorder": 3}
    axes.errorbar(places, means, spread, linestyle="none", **look, **style)
    positive = places > zero
    axes.plot(places[positive], means[positive], color=look["color"], linewidth=1.3)
    if not positive.all():
        axes.plot(places[:2], means[:2], color=look["color"], linewidth=1.1, linestyle=":")


def _draw_seeds(axes: "Axes", effect: AdjacentEffect) -> None:
    if _many(effect):
        ends = {name: _end(effect, LIMIT_STYLES[limit][2]) for name, limit in limit_methods().items()}
        points = effect.accuracy
        places = np.where(
            points["adjacent"].isna(), points["series"].map(ends), on_log(points["adjacent"], _zero(effect))
        )
        axes.scatter(places, 100 * points["value"], s=10, color=GREY, alpha=0.75, linewidths=0, zorder=4)


def _note_counts(axes: "Axes", table: pd.DataFrame, effect: AdjacentEffect) -> None:
    """The number of seeds above each γ that lacks some, in room made for it."""
    lacking = table[table["n"] < len(effect.seeds)]
    if len(lacking):
        (low, high), log = axes.get_ylim(), axes.get_yscale() == "log"
        axes.set_ylim(low, high * (high / low) ** 0.07 if log else high + 0.07 * (high - low))
    for row in lacking.itertuples():
        place = float(on_log(row.adjacent, _zero(effect)))
        axes.text(
            place, 0.99, f"n = {row.n}", transform=axes.get_xaxis_transform(), ha="center", va="top",
            fontsize=CAPTION_SIZE - 1, color=GREY, style="italic",
        )  # fmt: skip


def _set_change_range(axes: "Axes", table: pd.DataFrame, zero: float | None) -> None:
    positive = table.loc[table["mean"] > 0]
    low = float(positive["mean"].min()) if len(positive) else 1.0
    high = float((table["mean"] + table["spread"].fillna(0)).max()) if len(positive) else 10.0
    low, high = low / 1.4, high * 1.6
    set_log_axis(axes, "y", round_ticks(low, high), zero)
    axes.set_ylim(low if zero is None else zero / 1.6, high)


def _zero(effect: AdjacentEffect) -> float:
    """The place of γ = 0 in both figures."""
    return zero_place(effect.strengths)


def _end(effect: AdjacentEffect, side: str) -> float:
    """The place of a single point beside the line."""
    places = on_log(effect.strengths, _zero(effect))
    return float(places.min() / BEYOND if side == "left" else places.max() * BEYOND)


def _in_percent(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(mean=100 * table["mean"], spread=100 * table["spread"])


def _many(effect: AdjacentEffect) -> bool:
    return len(effect.seeds) > 1


def _lack(n: int, effect: AdjacentEffect) -> str:
    return "" if n == len(effect.seeds) else f" (n = {n})"


def _handle(label: str, color: str, marker: str, line: str = "none") -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, color=color, marker=marker, markersize=5, linestyle=line)
