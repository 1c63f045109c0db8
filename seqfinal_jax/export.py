"""A model of a run folder in the format of another program.

Command   python -m seqfinal_jax export CELL --format=orbax|safetensors|torch --out=DIR

CELL is the folder of a cell, runs/NAME/cells/METHOD/ARCHITECTURE/seedK. DIR is made; it holds the weights of the reported
model and description.json: its layers, the order of dimensions, the scaling of images, and the classes. Read it with

  orbax        orbax.checkpoint.StandardCheckpointer().restore("/absolute/path/of/DIR/orbax")
  safetensors  safetensors.numpy.load_file("DIR/model.safetensors")
  torch        torch.load("DIR/model.pt", weights_only=True)
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Exports a model; 2 for a cell, format or folder that cannot be used."""
    parser = argparse.ArgumentParser(prog="seqfinal export", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("cell", type=Path, help="folder of a cell, or of a stage's seed")
    parser.add_argument("--format", choices=("orbax", "safetensors", "torch"), default="safetensors")
    parser.add_argument("--out", type=Path, required=True, help="folder that is made for the model")
    from seqfinal_jax.analysis.run_code import add_code_flags, allowed_code, load_run_model

    add_code_flags(parser)
    options = parser.parse_args(arguments)
    try:
        with allowed_code(options):
            model = load_run_model(options.cell)
        for path in model.export(options.out, options.format):
            print(f"wrote {path}")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
