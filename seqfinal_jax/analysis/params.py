"""The table of parameter counts: python -m seqfinal_jax.analysis.params [--architectures A,B] [--classes 10,20]
[--plugins FILE,...].

"reported" counts as the published table does (kernels and the head's bias, without shortcut kernels), "all" counts every
trainable scalar.
"""

import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd

from seqfinal_jax.config.command_line import FlagParser
from seqfinal_jax.models.families.architectures import published_architectures
from seqfinal_jax.records.plugins import load_plugins, names_of

FORMATS = ("terminal", "csv", "markdown", "latex")


def parameter_table(architectures: Sequence[str], classes: Sequence[int]) -> pd.DataFrame:
    """One row per network and head size: counts in total, and by layer group as reported.

    Raises ValueError for an unknown architecture or a head of fewer than two classes.
    """
    from seqfinal_jax.models import build_network  # needed to trace shapes only; no array is made
    from seqfinal_jax.models.parts.groups import full_count, reported_count

    rows = []
    for name in architectures:
        for count in classes:
            network = build_network(name, count)
            params = network.shapes["params"]
            layers = {group: reported_count(params[group]) for group in network.group_names}
            row = {
                "network": name,
                "classes": count,
                "reported": sum(layers.values()),
                "all": full_count(params),
            }
            rows.append({**row, **layers})
    groups = dict.fromkeys(column for row in rows for column in row if column != "fc")
    columns = [*groups, "fc"]
    return pd.DataFrame(rows, columns=columns).astype({c: "Int64" for c in columns if c != "network"})


def render(table: pd.DataFrame, style: str) -> str:
    """The table as text in one of FORMATS; a group that a network lacks is blank."""
    cells = table.astype(object).where(table.notna(), "")
    if style == "csv":
        return cells.to_csv(index=False, lineterminator="\n")
    texts = cells.map(lambda value: f"{value:,}" if isinstance(value, int) else str(value))
    lines = [list(map(str, texts.columns)), *texts.to_numpy().tolist()]
    if style == "latex":
        body = " \\\\\n".join(" & ".join(line) for line in lines)
        return f"\\begin{{tabular}}{{l{'r' * (len(texts.columns) - 1)}}}\n{body} \\\\\n\\end{{tabular}}\n"
    if style == "markdown":
        lines.insert(1, ["---", *["---:"] * (len(texts.columns) - 1)])
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "".join(
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        + "\n"
        for line in lines
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 2 for a usage error."""
    parser = FlagParser(__doc__)
    parser.add_argument("--architectures", default=",".join(published_architectures()))
    parser.add_argument("--classes", default="10", help="head sizes by comma")
    parser.add_argument("--format", choices=FORMATS, default="terminal")
    parser.add_argument("--plugins", default="", help="files that define networks of your own, with commas")
    return parser.run(_print, arguments)


def _print(options: Any) -> None:
    load_plugins(names_of(options.plugins))
    classes = [int(part) for part in options.classes.split(",")]
    table = parameter_table([part.strip() for part in options.architectures.split(",")], classes)
    sys.stdout.write(render(table, options.format))


if __name__ == "__main__":
    sys.exit(main())
