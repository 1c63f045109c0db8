"""Checks what README shows of the quick start against what its first command has printed, and runs its Python.

Command   python .ci/readme.py README.md OUTPUT

Numbers differ from one kind of processor to another, and with them which method is best; methods and captions may not.
What differs in the sentences is printed.
"""

import re
import sys
from pathlib import Path

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def words(text: str) -> list[str]:
    """The words of a string. Numbers are masked, and line breaks are ignored."""
    return NUMBER.sub("#", text).replace("─", "").split()


def blocks(readme: str) -> list[tuple[str, str]]:
    """The language and the text of every fenced block."""
    parts = re.split(r"^```(\w*)\n", readme, flags=re.M)
    return list(zip(parts[1::4], parts[2::4], strict=False))


def shown_block(readme: str) -> str:
    """The block that begins with the title of the table."""
    return next(text for _, text in blocks(readme) if text.startswith("Test accuracy"))


def printed_block(output: str) -> str:
    """What a run prints from the title of its table to its answer."""
    lines = output.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("Test accuracy"))
    return "\n".join(line for line in lines[first:] if not line.startswith("wrote "))


def python_blocks(readme: str) -> str:
    """The Python of README as one program."""
    return "\n".join(text for language, text in blocks(readme) if language == "python")


def differing(shown: str, printed: str) -> str:
    """Where two texts begin to differ, as a message; empty where they do not."""
    one, other = words(shown), words(printed)
    if one == other:
        return ""
    place = next((k for k, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), -1)
    return f"README: {' '.join(one[place:][:30])}\nrun:    {' '.join(other[place:][:30])}"


def main() -> int:
    """1 where README shows another table than was printed, or its Python fails."""
    readme, output = (Path(name).read_text(encoding="utf-8") for name in sys.argv[1:])
    shown, printed = (text.split("highest mean") for text in (shown_block(readme), printed_block(output)))
    if said := differing(shown[1], printed[1]):
        print(f"the sentences of this run differ from those of README, from these words on:\n{said}")
    if said := differing(shown[0], printed[0]):
        print(f"README shows another table than the run has printed, from these words on:\n{said}")
        return 1
    exec(compile(python_blocks(readme), "README.md", "exec"), {"__name__": "__main__"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
