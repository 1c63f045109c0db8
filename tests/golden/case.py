"""One reference file: its arrays, which of them a check has used, and the rows that it gave."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Row:
    """One comparison; `error` is the largest absolute difference, relative to `scale`."""

    file: str
    quantity: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return bool(self.error <= self.tolerance)

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "FAILED"
        return f"{self.file}  {self.quantity}  {self.error:.3g}  {self.tolerance:.3g}  {verdict}"


@dataclass
class Case:
    """A reference file under check; reading a key marks it as used. Of a .json file the keys are the outermost ones."""

    path: Path
    arrays: dict[str, Any]
    single: bool = False
    used: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)

    @staticmethod
    def load(path: Path) -> "Case":
        if path.suffix == ".json":
            return Case(path, json.loads(path.read_text()))
        with np.load(path) as file:
            return Case(path, {key: file[key] for key in file.files})

    def __getitem__(self, key: str) -> Any:
        self.used.add(key)
        return self.arrays[key]

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    @property
    def meta(self) -> dict[str, Any]:
        """What the file says of itself; empty where it says nothing."""
        return json.loads(str(self.arrays["meta"])) if "meta" in self.arrays else {}

    def under(self, prefix: str) -> dict[str, Any]:
        """All arrays whose key starts with `prefix`, by the rest of the key."""
        return {key[len(prefix) :]: self[key] for key in self.arrays if key.startswith(prefix)}

    def informational(self, *keys: str) -> None:
        """Keys that the READMEs say are not to be matched."""
        self.used.update(keys)

    def compare(self, quantity: str, found, key: str, tolerance: float, relative: bool = False) -> None:
        """Adds a row: `found` against the array of `key`; relative to its largest absolute value if asked."""
        self.compare_to(quantity, found, self[key], tolerance, relative)

    def compare_to(self, quantity: str, found, expected, tolerance: float, relative: bool = False) -> None:
        found, expected = np.asarray(found), np.asarray(expected)
        if self.single and tolerance > 0:
            tolerance, relative = max(tolerance, single_tolerance(self.meta, quantity)), True
        if found.shape != expected.shape:
            quantity, error = f"{quantity} (shape {found.shape}, expected {expected.shape})", np.inf
        elif expected.dtype.kind in "OUS":
            error = float(np.sum(found != expected))
        else:
            difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
            error = float(np.max(difference, initial=0.0))
            error = np.inf if np.isnan(error) else error
            if relative:
                error /= max(float(np.max(np.abs(expected), initial=0.0)), 1e-300)
        self.rows.append(Row(self.path.name, quantity, error, tolerance))

    def unused(self) -> list[str]:
        return sorted(set(self.arrays) - self.used)


# What single precision may differ by, relative to the largest value, by the beginning of a quantity's name.
SINGLE = (
    ("train/stat", 1e-5), ("last/stat", 1e-5), ("train/grad", 1e-3), ("last/grad", 1e-3), ("train/", 1e-4),
    ("last/", 1e-4), ("dropout/", 1e-4),
)  # fmt: skip


def single_tolerance(meta: dict[str, Any], quantity: str) -> float:
    """The tolerance in single precision; wider for the four-block DenseNet, whose last batch norm sees 4 values."""
    few_values = (meta.get("arch"), meta.get("blocks")) == ("densenet", 4) and "T" not in meta
    tolerance = next((value for start, value in SINGLE if quantity.startswith(start)), 1e-5)
    return tolerance * (10 if few_values and quantity.startswith("train/") else 1)


Check = Callable[[Case], None]
CHECKS: list[tuple[re.Pattern, Check]] = []


def check(pattern: str) -> Callable[[Check], Check]:
    """Registers a check for the file names that match `pattern` whole."""

    def register(function: Check) -> Check:
        CHECKS.append((re.compile(pattern), function))
        return function

    return register


def find_check(name: str) -> Check | None:
    return next((function for pattern, function in CHECKS if pattern.fullmatch(name)), None)


def reference_files(folder: Path, only: str | None) -> Iterator[Path]:
    """Every reference file below a folder, by name, that contains `only`."""
    files: Sequence[Path] = sorted(folder.rglob("*"))
    return (
        path for path in files if path.suffix in (".npz", ".json") and (only is None or only in path.name)
    )
