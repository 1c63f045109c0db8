"""The log of a run, run.log: the plan, every warning, the cells, and when the state of a stage was last saved."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from logging.handlers import MemoryHandler
from pathlib import Path

log = logging.getLogger(__name__)
PACKAGE = "seqfinal_jax"
MOST_EARLY = 10_000  # records before the run folder is there


class _Passed(logging.Handler):
    """Passes records on to the handlers of the user's own, as if this package's level had not been lowered."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger.getEffectiveLevel())
        self.parent = logger.parent

    def emit(self, record: logging.LogRecord) -> None:
        self.parent.handle(record)


@contextlib.contextmanager
def collected_log() -> Iterator[Callable[[Path], None]]:
    """Collects this package's log; yields a function that writes it, from its beginning, to the run.log of a folder.

    If the log cannot be written, a warning is logged.
    """
    logger = logging.getLogger(PACKAGE)
    level, propagate = logger.level, logger.propagate
    collected = MemoryHandler(MOST_EARLY, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
    handlers = (collected, _Passed(logger))

    def write_to(workdir: Path) -> None:
        try:
            file = logging.FileHandler(workdir / "run.log", encoding="utf-8")
        except OSError as error:
            log.warning("no log is written: %s", error)
            return
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        collected.setTarget(file)
        collected.flush()
        collected.capacity = 1  # from now on every record is written at once

    for handler in handlers:
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield write_to
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
        logger.propagate = propagate
        logger.setLevel(level)
        if collected.target:
            with contextlib.suppress(OSError):
                collected.target.close()
