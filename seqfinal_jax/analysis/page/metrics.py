"""The further metrics that a report shows: a column for each, one row per method and network."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from seqfinal_jax.analysis.tables.labels import MISSING
from seqfinal_jax.analysis.tables.metrics import Metric, with_metrics
from seqfinal_jax.analysis.tables.results_table import ResultsTable, summary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MetricRow:
    """One method and network: texts such as "3.1 ± 0.2", and the means, for sorting."""

    method: str
    architecture: str
    texts: tuple[str, ...]
    means: tuple[float, ...]


@dataclass(frozen=True)
class MetricTable:
    """The metrics that could be computed with their rows, and the names and reasons of those that could not."""

    metrics: tuple[Metric, ...]
    rows: tuple[MetricRow, ...]
    failed: tuple[tuple[str, str], ...]


def metric_table(table: ResultsTable, workdirs: Sequence[Path], metrics: Sequence[Metric]) -> MetricTable:
    """Means and sample standard deviations of metrics over seeds; a metric that fails is a warning."""
    found: dict[Metric, pd.DataFrame] = {}
    failed = []
    for each in dict.fromkeys(metrics):
        try:
            frame = summary(with_metrics(table.cells, workdirs, [each]), each.field)
        except ValueError as error:
            log.warning("metric %s cannot be computed: %s", each.id, error)
            failed.append((each.id, str(error)))
            continue
        found[each] = frame.set_index(["method", "architecture"])
    keys = [(m, a) for a in table.architectures for m in table.methods if table.entries[m, a].done]
    rows = tuple(_row(*key, found) for key in keys) if found else ()
    return MetricTable(tuple(found), rows, tuple(failed))


def _row(method: str, architecture: str, found: dict[Metric, pd.DataFrame]) -> MetricRow:
    entries = [(metric, frame.loc[(method, architecture)]) for metric, frame in found.items()]
    texts = tuple(_text(metric, entry["mean"], entry["spread"]) for metric, entry in entries)
    return MetricRow(method, architecture, texts, tuple(float(entry["mean"]) for _, entry in entries))


def _text(metric: Metric, mean: float, spread: float) -> str:
    return f"{metric.text(mean)} ± {MISSING if pd.isna(spread) else metric.text(spread)}"
