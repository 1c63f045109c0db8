"""The specification of a sequence: everything that determines it, checked and written in one canonical form."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from seqfinal_jax.data.base.sources import Source
from seqfinal_jax.data.sequences.selection import ALLOCATIONS
from seqfinal_jax.data.shifts.shift import Steps, parse_shifts, shift_identities, shift_notes
from seqfinal_jax.records.registry import nearest

DATA_VERSION = 1  # raise by hand when the same arguments come to give other data
DEFAULT_SEED = 1007
TEST_DRAWS = ("own", "same_stream")
PROTOCOLS = {
    "corrected": {"subpop_sizes": "as_asked", "test_all_steps_draws": "own"},
    "released": {"subpop_sizes": "released", "test_all_steps_draws": "same_stream"},
}


@dataclass(frozen=True)
class SequenceSpec:
    """The arguments of `build_sequence` after checking; sizes are numbers of samples.

    `source_size` and `target_sizes` count training and validation samples together; `test_size` comes on top.
    """

    dataset: str
    shifts: Steps
    source_size: int
    target_sizes: tuple[int, ...]
    test_size: int
    seed: int = DEFAULT_SEED
    subpop_sizes: str = "as_asked"
    test_all_steps: bool = False
    test_all_steps_draws: str = "own"
    disjoint: bool = False
    notes: tuple[str, ...] = ()

    @property
    def num_steps(self) -> int:
        """Time steps, the source included."""
        return len(self.shifts) + 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """Training and validation samples asked for at each step."""
        return (self.source_size, *self.target_sizes)

    @property
    def name(self) -> str:
        """A readable name that is safe in paths, e.g. cifar10-source6000-rotation+recolor4000-test5000."""
        steps = ["+".join(step) or "none" for step in self.shifts]
        targets = [f"{step}{size}" for step, size in zip(steps, self.target_sizes, strict=True)]
        flags = [flag for flag in ("test_all_steps", "disjoint") if getattr(self, flag)]
        return "-".join(
            [self.dataset, f"source{self.source_size}", *targets, f"test{self.test_size}", *flags]
        )


def sequence_spec(
    dataset: str,
    shifts: str,
    source_size: int,
    target_sizes: int | str | Sequence[int] | None,
    test_size: int,
    seed: int = DEFAULT_SEED,
    protocol: str = "corrected",
    subpop_sizes: str | None = None,
    test_all_steps_draws: str | None = None,
    test_all_steps: bool = False,
    disjoint: bool = False,
    target_size: int | None = None,
) -> SequenceSpec:
    """Checks the arguments of `build_sequence` without any data; raises ValueError naming the flag."""
    preset = PROTOCOLS[choice(protocol, tuple(PROTOCOLS), "protocol")]
    steps = parse_shifts(shifts)
    return SequenceSpec(
        dataset=dataset,
        shifts=steps,
        source_size=whole(source_size, "data.source_size"),
        target_sizes=_target_sizes(target_sizes, target_size, len(steps)),
        test_size=whole(test_size, "data.test_size", "every sequence ends in a test set"),
        seed=_seed(seed),
        subpop_sizes=choice(subpop_sizes or preset["subpop_sizes"], ALLOCATIONS, "subpop_sizes"),
        test_all_steps=bool(test_all_steps),
        test_all_steps_draws=choice(
            test_all_steps_draws or preset["test_all_steps_draws"], TEST_DRAWS, "test_all_steps_draws"
        ),
        disjoint=bool(disjoint),
        notes=shift_notes(shifts),
    )


def fingerprint(spec: SequenceSpec, source: Source) -> str:
    """SHA-256 of everything that determines the sequence's data, the source's content included.

    Fields that make no difference are left out: the order of names within a step, `subpop_sizes` of a data
    set without sub-classes, `test_all_steps_draws` without `test_all_steps`.
    """
    key = {
        "version": DATA_VERSION,
        "source": source.record["content_sha256"],
        "shifts": [sorted(step) for step in spec.shifts],
        "sizes": spec.sizes,
        "test_size": spec.test_size,
        "seed": spec.seed,
        "subpop_sizes": spec.subpop_sizes if source.num_subclasses > 1 else None,
        "test_draws": spec.test_all_steps_draws if spec.test_all_steps else None,
        "disjoint": spec.disjoint,
    }
    if own := shift_identities(spec.shifts):
        key["shift_records"] = own
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def choice(value: str, known: tuple[str, ...], what: str) -> str:
    """`value` if it is known, else ValueError naming the nearest known one."""
    if value not in known:
        raise ValueError(f"unknown {what} {value!r}; {nearest(str(value), list(known))}")
    return value


def whole(value: Any, flag: str, why: str = "") -> int:
    """A positive whole number, else ValueError naming the flag."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value <= 0:
        reason = f" ({why})" if why else ""
        raise ValueError(f"{flag}: expected a whole number above 0{reason}, found {value!r}")
    return int(value)


def _target_sizes(sizes: int | str | Sequence[int] | None, size: int | None, count: int) -> tuple[int, ...]:
    if sizes is None and size is None:
        raise ValueError(f"data.target_sizes: expected {count} sizes or data.target_size, found neither")
    if sizes is None:
        return (whole(size, "data.target_size"),) * count
    if isinstance(sizes, (int, Integral)):
        return (whole(sizes, "data.target_sizes"),) * count
    given = _numbers(sizes) if isinstance(sizes, str) else tuple(sizes)
    if len(given) != count:
        raise ValueError(
            f"data.target_sizes has {len(given)} sizes, data.shifts has {count} steps; give one size per step"
        )
    return tuple(whole(n, f"data.target_sizes[{t}]") for t, n in enumerate(given))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(
            f"data.target_sizes: expected sizes such as '4000:6000:4000', found {text!r}"
        ) from None


def _seed(seed: int) -> int:
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected a whole number 0..{2**32 - 1}, found {seed!r}")
    return int(seed)
