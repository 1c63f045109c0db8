"""What cells cost, in forward passes of one image through the plain network, as the run recorded it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

COST_COLUMNS = ("method", "architecture", "seed", "alone", "shared")


def costs(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Forward passes of every cell that has them recorded, `COST_COLUMNS`.

    alone: all stages behind the cell, as if no other method were fitted. shared: a stage that several methods of the
    same architecture and seed use counts for each of them in equal parts, so that the sum over methods is what was done.
    """
    users: dict[tuple[str, int, str], int] = {}
    known = [record for record in records if record.get("forward_passes")]
    for record in known:
        for stage in record["forward_passes"]:
            key = (record["architecture"], record["seed"], stage)
            users[key] = users.get(key, 0) + 1
    rows = []
    for record in known:
        place, passes = (record["architecture"], record["seed"]), record["forward_passes"]
        shared = sum(count / users[*place, stage] for stage, count in passes.items())
        rows.append((record["method"], *place, sum(passes.values()), shared))
    return pd.DataFrame(rows, columns=list(COST_COLUMNS))


def mean_costs(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Means over seeds by architecture and method: alone, shared; in the order of the records."""
    groups = costs(records).groupby(["architecture", "method"], sort=False)[["alone", "shared"]]
    return groups.mean()
