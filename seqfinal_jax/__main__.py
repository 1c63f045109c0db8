"""The commands that people need, behind one name: python -m seqfinal_jax COMMAND, or seqfinal COMMAND."""

import difflib
import sys

HELP = """\
Learning for now from a sequence of shifting data. Each command has --help:

  seqfinal run --config=digits_rcl   fits methods; ends with answer and report
  seqfinal list [KIND]               methods, networks, shifts, data, configs,
                                     optimisers, metrics, fields, presets ...
  seqfinal tables RUN [RUN...]       tables: terminal, Markdown, CSV, LaTeX
  seqfinal report RUN [RUN...]       the page of a run, or of several together
  seqfinal export CELL --out=DIR     a model as Orbax, safetensors or PyTorch
  seqfinal sweep --config=NAME ...   many cells: a machine's GPUs, Slurm, Dask

`seqfinal` is `python -m seqfinal_jax`. To begin:

  seqfinal run --config=digits_rcl
"""
COMMANDS = ("run", "list", "tables", "report", "export", "sweep")


def main() -> int:
    """Runs a command; 2 for one that does not exist."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(COMMANDS)}"
        print(f"error: unknown command {name!r}; {hint}", file=sys.stderr)
        return 2
    return _run(name, rest)


def _run(name: str, rest: list[str]) -> int:
    if name == "run":
        from seqfinal_jax.main import main as found
    elif name == "list":
        from seqfinal_jax.listing import main as found
    elif name == "tables":
        from seqfinal_jax.analysis.tables.command import main as found
    elif name == "report":
        from seqfinal_jax.analysis.report import main as found
    elif name == "export":
        from seqfinal_jax.export import main as found
    else:
        from seqfinal_jax.sweeps.sweep import main as found
    return found(rest)


if __name__ == "__main__":
    sys.exit(main())
