"""Checks what README shows of the quick start against what its first command has printed, and runs its Python.

Command   python .ci/readme.py README.md OUTPUT

Numbers differ from one kind of processor to another; methods, captions and sentences may not.
"""

import re
import sys
from pathlib import Path

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def words(text: str) -> list[str]:
    """The words of a text without numbers, whatever its lines."""
    return NUMBER.sub("#", text).replace("─", "").split()


def shown_block(readme: str) -> str:
    """The block that begins with the title of the table."""
    return next(
        block for block in re.findall(r"```\n(.*?)```", readme, flags=re.S) if "Test accuracy" in block
    )


def printed_block(output: str) -> str:
    """What a run prints from the title of its table to its answer."""
    lines = output.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("Test accuracy"))
    return "\n".join(line for line in lines[first:] if not line.startswith("wrote "))


def python_blocks(readme: str) -> str:
    """The Python of README as one program."""
    return "\n".join(re.findall(r"```python\n(.*?)```", readme, flags=re.S))


def main() -> int:
    """1 where README shows something else than was printed."""
    readme, output = (Path(name).read_text(encoding="utf-8") for name in sys.argv[1:])
    shown, printed = words(shown_block(readme)), words(printed_block(output))
    if shown != printed:
        place = next(
            (k for k, pair in enumerate(zip(shown, printed, strict=False)) if pair[0] != pair[1]), -1
        )
        print("README shows something else than the run has printed, from these words on:")
        print("README:", " ".join(shown[place:][:30]))
        print("run:   ", " ".join(printed[place:][:30]))
        return 1
    exec(compile(python_blocks(readme), "README.md", "exec"), {"__name__": "__main__"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
