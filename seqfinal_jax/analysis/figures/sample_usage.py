"""The usage figures of a run: how often methods that replace earlier samples by matched ones use each of them."""

import textwrap
from pathlib import Path

from seqfinal_jax.analysis.figures.matching_usage import usage_figure
from seqfinal_jax.analysis.figures.record import figure
from seqfinal_jax.analysis.tables.cell_tables import read_usage
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.analysis.tables.labels import method_name
from seqfinal_jax.results.run_folder import CellFolder, read_result

RULES = {"_nearest_neighbors_loss": "nearest neighbours", "_optimal_matching_loss": "optimal matching"}


@figure("sample_usage")
def sample_usage(workdir: str | Path) -> list[Path]:
    """Draws figures/sample_usage_<method>.png for every method that has cells with sample_usage.csv.

    The figure is that of the method's first seed; the samples depend on the seed of the data, not on the architecture.

    Args:
        workdir: a run folder.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    first: dict[str, CellFolder] = {}
    for cell in done_cells(workdir):
        known = first.get(cell.method)
        if (cell.path / "sample_usage.csv").is_file() and (known is None or cell.seed < known.seed):
            first[cell.method] = cell
    paths = []
    for method, cell in first.items():
        if counts := read_usage(cell):
            path = Path(workdir) / "figures" / f"sample_usage_{method}.png"
            paths.append(usage_figure(counts, path, _title(cell)))
    return paths


def _title(cell: CellFolder) -> str:
    """Rule, sequence and seed; the method's name where its id tells no rule."""
    rule = next(
        (name for part, name in RULES.items() if part in cell.method), method_name(cell.method).column
    )
    place = f"{read_result(cell)['sequence']}, seed {cell.seed}"
    return "\n".join(textwrap.wrap(f"Use of the training samples by {rule}: {place}", 78))
