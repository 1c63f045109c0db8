"""The data of a run: examples of every time step and class, and how many there are."""

from pathlib import Path

from seqfinal_jax.analysis.data_pictures.sequence_pictures import count_figure, example_figure
from seqfinal_jax.analysis.figures.palette import save_png
from seqfinal_jax.analysis.figures.record import figure
from seqfinal_jax.results.examples import read_examples


@figure("data_examples")
def data_examples(workdir: str | Path) -> list[Path] | None:
    """Draws figures/data_examples.png and figures/class_counts.png, from the examples that a run keeps of its data.

    Args:
        workdir: a run folder.

    Raises:
        RunFolderError: the kept examples are damaged.
    """
    workdir = Path(workdir)
    examples = read_examples(workdir)
    if examples is None:
        return None
    folder = workdir / "figures"
    return [
        save_png(example_figure(examples), folder / "data_examples.png"),
        save_png(count_figure(examples), folder / "class_counts.png"),
    ]
