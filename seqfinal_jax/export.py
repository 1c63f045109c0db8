"""A model of a run folder in the format of another program.

Command   seqfinal export CELL --format=orbax|safetensors|torch --out=DIR

CELL is the folder of a cell, runs/NAME/cells/METHOD/ARCHITECTURE/seedK. DIR is made; it holds the weights of the reported
model and description.json: its layers, the order of dimensions, the scaling of images, and the classes. Read it with

  orbax        orbax.checkpoint.StandardCheckpointer().restore("/absolute/path/of/DIR/orbax")
  safetensors  safetensors.numpy.load_file("DIR/model.safetensors")
  torch        torch.load("DIR/model.pt", weights_only=True)
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqfinal_jax.config.command_line import FlagParser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exports a model; 2 for a cell, format or folder that cannot be used."""
    from seqfinal_jax.analysis.run_code import add_code_flags

    parser = FlagParser(__doc__)
    parser.add_argument("cell", type=Path, help="folder of a cell, or of a stage's seed")
    parser.add_argument("--format", choices=("orbax", "safetensors", "torch"), default="safetensors")
    parser.add_argument("--out", type=Path, required=True, help="folder that is made for the model")
    add_code_flags(parser)
    return parser.run(_export, arguments)


def _export(options: Any) -> None:
    from seqfinal_jax.analysis.run_code import allowed_code, load_run_model

    with allowed_code(options):
        model = load_run_model(options.cell)
    for path in model.export(options.out, options.format):
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
