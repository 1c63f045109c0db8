"""Command line: python -m seqfinal_jax.main --config=configs/digits_rcl.py[:PRESETS] [--workdir=DIR].

Flags, then the run, then the report.
"""

import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from absl import app, flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", None, "file with get_config(), and presets behind a colon")
WORKDIR = flags.DEFINE_string("workdir", None, "run folder; default runs/NAME")
DATA_DIR = flags.DEFINE_string("data_dir", None, "folder with the data sets; default SEQFINAL_DATA_DIR")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "say what would be fitted and how long it may take, then stop")


def main(arguments: Sequence[str]) -> None:
    """Runs the configuration and writes its report; exits with 1 if a cell failed, 2 for a usage error."""
    if len(arguments) > 1:
        fail(f"unexpected argument {arguments[1]!r}; flags begin with --")
    try:
        config = CONFIG.value
        name = config and config.name
    except OSError as error:
        fail(f"--config: the file cannot be loaded; {explain(error)}")
    if config is None:
        fail("give a configuration, for example --config=configs/digits_rcl.py")
    logging.basicConfig(format="%(levelname)s: %(message)s", force=True)
    logging.getLogger().handlers[0].setLevel(logging.WARNING)
    from seqfinal_jax.analysis.report import report_run
    from seqfinal_jax.run import enable_compilation_cache, run

    workdir = Path(WORKDIR.value or f"runs/{name}")
    enable_compilation_cache()
    try:
        failed = run(config, workdir, DATA_DIR.value, DRY_RUN.value)
        if not DRY_RUN.value:
            report_run(workdir)
    except ValueError as error:
        fail(str(error))
    if failed:
        print(
            f"{failed} cells failed; see error.txt in their folders below {workdir / 'cells'}",
            file=sys.stderr,
        )
        sys.exit(1)


def fail(message: str) -> NoReturn:
    """One line on standard error, exit status 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def parse_flags(arguments: Sequence[str]) -> list[str]:
    """Parses the command line; what is wrong with it becomes one line that names the nearest match."""
    try:
        return flags.FLAGS(list(arguments), known_only=False)
    except Exception as error:  # the parser of ml_collections raises many kinds
        fail(explain(error))


def explain(error: Exception) -> str:
    """The one sentence of a flag parser's error that a user needs."""
    text = str(error).replace("\\n", " ").replace("\\'", "'").replace('\\"', '"')
    unknown = re.search(r"'(\w+)'\W+Did you mean \"(\w+)\"", text)
    if unknown:
        return f"the configuration has no field {unknown[1]!r}; did you mean {unknown[2]!r}?"
    if isinstance(error, (AttributeError, KeyError)):
        return f"the configuration has no field {text.strip()}; see seqfinal_jax/config.py for all fields"
    return " ".join(re.split(r"\b\w+(?:Error|Exception): ", text)[-1].split())


def command() -> None:
    """Entry point."""
    app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
    command()
