"""How large the shifts of a sequence are: Wasserstein-2 distances between its steps, as tables and a picture.

Command   python -m seqfinal_jax.analysis.shift --config=configs/cifar10_rcl.py --data_dir=DIR [--out=FOLDER]

No network is involved: training images are projected to the directions that explain 95 % of their variance, and distances
are exact (POT). Every sequence and seed is a JSON file in FOLDER/measured; the tables hold all that is found there.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqfinal_jax.config.command_line import CommandParser, one_line_errors, plain_messages


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints and writes; exits with 2 for a configuration or data that cannot be used."""
    with one_line_errors():
        measure(sys.argv[1:] if arguments is None else arguments)
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add("--out", default="shifts", help="folder for measurements, tables and the picture")
    add(
        "--points",
        type=int,
        default=0,
        help="draws so many samples of each step, an approximation that overstates distances; 0 takes all",
    )
    add(
        "--max_iterations",
        type=int,
        default=10_000_000,
        help="largest number of iterations of the transport solver, for each distance",
    )
    return parser


def measure(arguments: Sequence[str]) -> None:
    """Measures every seed of the configuration that is not measured yet, then writes all tables of the folder."""
    given = _parser().read(arguments)
    asked = given.flags
    if asked.points < 0 or asked.max_iterations < 1:
        raise ValueError("--points and --max_iterations are counts: expected 0 or more, and 1 or more")
    plain_messages()
    from rich.console import Console

    from seqfinal_jax.analysis.sequence_command import seeds_of, source_of
    from seqfinal_jax.config.parse import parse

    spec, console = parse(given.config), Console(highlight=False)
    source, folder = source_of(spec, asked.data_dir), Path(asked.out).expanduser()
    for seed in seeds_of(spec):
        path = folder / "measured" / spec.name / f"seed{seed}.json"
        identity = json.loads(
            json.dumps([source.identity("main"), source.record.get("content_sha256"), asked.points])
        )
        if path.is_file() and json.loads(path.read_text()).get("identity") == identity:
            console.print(f"{path} is there already", soft_wrap=True)
            continue
        write_measured(path, identity, source, seed, asked, console)
    write_tables(folder, console)


def write_measured(path: Path, identity: Any, source: Any, seed: int, asked: Any, console: Any) -> None:
    """Measures one seed, with a line of progress for each distance, and stores it."""
    from seqfinal_jax.analysis.shift_sizes.sizes import shift_sizes
    from seqfinal_jax.results.run_folder import write_whole

    began = time.perf_counter()
    with console.status(f"seed {seed}: building the sequence") as status:
        sequence = source.build("main", seed)
        count, total = 0, 2 * sequence.num_steps

        def told(names: str) -> None:
            nonlocal count
            count += 1
            status.update(
                f"seed {seed}: distance {count} of {total}, {names} ({time.perf_counter() - began:.0f} s)"
            )

        sizes = shift_sizes(sequence, pixels_of(source), asked.points, asked.max_iterations, told)
    seconds = time.perf_counter() - began
    record = {
        "identity": identity,
        "dataset": source.name,
        "seed": seed,
        "seconds": seconds,
        **dataclasses.asdict(sizes),
    }
    write_whole(path, json.dumps(record, indent=1))
    console.print(f"wrote {path} ({seconds:.0f} s)", soft_wrap=True)


def pixels_of(source: Any) -> Any:
    """Images to what the published program feeds to its networks: pixels 0..255, or scaled where it scales them."""
    import numpy as np

    from seqfinal_jax.data.sequences.source import published_scaling_of

    scaling = published_scaling_of(source)
    if scaling is None:
        return np.asarray
    mean, deviation = (np.asarray(part) for part in scaling)
    return lambda images: (images / 255 - mean) / deviation


def read_measured(folder: Path) -> dict[str, dict[int, Any]]:
    """All measurements of a folder, by sequence and seed."""
    from seqfinal_jax.analysis.shift_sizes.sizes import ShiftSizes

    names = [field.name for field in dataclasses.fields(ShiftSizes)]
    found: dict[str, dict[int, Any]] = {}
    for path in sorted(folder.glob("measured/*/seed*.json")):
        try:
            record = json.loads(path.read_text())
            sizes = ShiftSizes(**{name: record[name] for name in names})
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete it, and it is measured again") from None
        found.setdefault(path.parent.name, {})[int(record["seed"])] = sizes
    return found


def write_tables(folder: Path, console: Any) -> None:
    """Prints the four tables, and writes them as CSV, Markdown and LaTeX, with a picture."""
    from rich.table import Table

    from seqfinal_jax.analysis.figures.palette import save_picture
    from seqfinal_jax.analysis.figures.record import house_style
    from seqfinal_jax.analysis.shift_sizes import picture, tables
    from seqfinal_jax.results.run_folder import write_whole

    measured = read_measured(folder)
    rows = tables.ratio_rows(measured)
    drawn = sorted({sizes.points for seeds in measured.values() for sizes in seeds.values() if sizes.points})
    notes = [f"approximate: at most {count} samples of each step" for count in drawn]
    found = tables.all_tables(rows, notes)
    for said, table in found:
        shown = Table("sequence", *table.columns, title=said, title_justify="left")
        for name, row in zip(table.index, table.values, strict=True):
            shown.add_row(name, *row)
        console.print(shown)
    written = [
        write_whole(folder / "shifts.csv", rows.to_csv(index=False)),
        write_whole(folder / "shifts.md", tables.to_markdown(found)),
        write_whole(folder / "shifts.tex", tables.to_latex(found)),
    ]
    with house_style():
        written += save_picture(picture.shift_picture(rows), folder / "shifts")
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
