"""Configuration files by path, or by name wherever the package is installed: `--config=cifar10_rcl:quick`."""

import ast
import difflib
import sysconfig
from pathlib import Path

PLACES = ("configs",)  # below the working directory


def config_folders() -> list[Path]:
    """The folders in which named configurations are looked up: in the working directory, a checkout, or a wheel."""
    checkout = Path(__file__).parents[2] / "configs"
    installed = Path(sysconfig.get_path("data")) / "share" / "seqfinal_jax" / "configs"
    return [folder for folder in (Path("configs"), checkout, installed) if folder.is_dir()]


def named_configs() -> dict[str, Path]:
    """The files of all named configurations, by name; the working directory comes first where two have the same name."""
    found: dict[str, Path] = {}
    for folder in config_folders():
        for path in sorted(folder.glob("*.py")):
            if path.stem != "__init__":
                found.setdefault(path.stem, path)
    return found


def config_path(text: str) -> str:
    """The path, with presets, that `--config=TEXT` stands for: a file, or a name such as cifar10_rcl.

    Raises ValueError, which suggests the nearest match, where there is neither.
    """
    place, colon, presets = text.partition(":")
    if not place or Path(place).is_file():
        return text
    known, name = named_configs(), Path(place)
    named = name.stem if name.suffix == ".py" else name.name
    given_as_name = len(name.parts) == 1 or name.parts[:-1] == PLACES
    if given_as_name and named in known:
        return f"{known[named]}{colon}{presets}"
    close = difflib.get_close_matches(named, list(known), n=1, cutoff=0.5)
    hint = f"Did you mean {_as_given(name, close[0])}?" if close else f"Known names: {', '.join(known)}."
    raise ValueError(f"--config: there is no file {place}. {hint}")


def _as_given(name: Path, close: str) -> str:
    return str(name.with_name(f"{close}.py")) if name.suffix == ".py" else close


def summary(path: Path) -> str:
    """The first line of a configuration file's docstring, read without running the file."""
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except (OSError, SyntaxError, ValueError):
        return ""
    return text.split("\n")[0]
