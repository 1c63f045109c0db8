"""Pictures of a configuration's data, before anything is trained.

Command   python -m seqfinal_jax.analysis.images --config=configs/cifar10_rcl.py [--data_dir=DIR] [--out=FOLDER]

Writes examples of every time step and class, class counts, and, where the data are a base data set with shifts, an image
under repeated shifts and one of every sub-class; each as PNG and PDF.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from seqfinal_jax.config.command_line import CommandParser, one_line_errors, plain_messages

# The classes that the published pictures show, and what they call them.
PAPER_COLUMNS = {
    "cifar10": ((0, 1, 2, 3, 5), ("plane", "car", "bird", "cat", "dog")),
    "cifar100": ((9, 18, 2, 8, 12), ("man-made", "vehicle", "flower", "carnivore", "mammal")),
}
MOST_CLASSES = 10
EACH = {2: 3}  # examples of a class, by the number of classes


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws and names the pictures; exits with 2 for a configuration or data that cannot be used."""
    with one_line_errors():
        for path in draw_pictures(sys.argv[1:] if arguments is None else arguments):
            print(path)
    return 0


def draw_pictures(arguments: Sequence[str]) -> list[Path]:
    """The pictures of the configuration that the command line names."""
    parser = CommandParser(__doc__)
    parser.add_argument("--out", help="folder for the pictures; default pictures/NAME")
    given = parser.read(arguments)
    plain_messages()
    from seqfinal_jax.analysis.data_pictures import base_pictures, sequence_pictures
    from seqfinal_jax.analysis.figures.palette import save_picture
    from seqfinal_jax.analysis.figures.record import house_style
    from seqfinal_jax.analysis.sequence_command import seeds_of, source_of
    from seqfinal_jax.config.parse import parse
    from seqfinal_jax.data.sequences.examples import examples_of
    from seqfinal_jax.data.sequences.source import ShiftedSequence, named_steps

    spec = parse(given.config)
    source = source_of(spec, given.flags.data_dir)
    sequence = source.build("main", seeds_of(spec)[0])
    classes, titles = PAPER_COLUMNS.get(source.name, (range(min(MOST_CLASSES, sequence.num_classes)), ()))
    each = EACH.get(sequence.num_classes, 1)
    examples = examples_of(sequence, named_steps(source), classes, each)
    with house_style():
        figures = {
            "examples": sequence_pictures.example_figure(examples, titles),
            "class_counts": sequence_pictures.count_figure(examples),
        }
        if isinstance(source, ShiftedSequence):
            figures["repeated_shifts"] = base_pictures.repeated_shifts(source.source)
            if source.source.num_subclasses > 1:
                for place, figure in enumerate(base_pictures.subclass_pictures(source.source), start=1):
                    figures[f"sub_classes_{place}"] = figure
        folder = Path(given.flags.out or f"pictures/{spec.name}").expanduser()
        return [path for name, figure in figures.items() for path in save_picture(figure, folder / name)]


if __name__ == "__main__":
    sys.exit(main())
