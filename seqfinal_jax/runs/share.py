"""Which cells a process computes, and in which order, where several processes work on one run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seqfinal_jax.results.store import Cell

if TYPE_CHECKING:
    from seqfinal_jax.runs.plan import Plan


@dataclass(frozen=True)
class Share:
    """Part `number` (counted from 1) of `parts`.

    shard: compute only this part of the cells. Otherwise compute all, beginning with this part, and skip those that other
    processes have locked.
    """

    number: int = 1
    parts: int = 1
    shard: bool = False

    @property
    def together(self) -> bool:
        """Whether the seeds of a method are fitted together, as where no other process works on some of them."""
        return self.parts == 1 or self.shard

    def of(self, plan: "Plan") -> list[Cell]:
        """The cells of this process, in its order.

        Cells that share stages (those of one architecture and seed) follow one another, so that a shard has as few stages
        in common with other shards as possible.
        """
        cells = list(plan.cells())
        if self.parts == 1:
            return cells
        places = {method: place for place, method in enumerate(plan.methods)}
        near = sorted(
            cells, key=lambda c: (plan.architectures.index(c[0]), plan.seeds.index(c[2]), places[c[1]])
        )
        bounds = np.linspace(0, len(near), self.parts + 1).round().astype(int)
        first, end = bounds[self.number - 1], bounds[self.number]
        return near[first:end] if self.shard else near[first:] + near[:first]


def read_part(flag: str, text: str) -> tuple[int, int]:
    """The numbers of "i/n"; raises ValueError, naming the flag, where i is not from 1 to n."""
    number, _, parts = text.partition("/")
    if not (number.isdigit() and parts.isdigit() and 1 <= int(number) <= int(parts)):
        raise ValueError(
            f"--{flag}: expected i/n with i from 1 to n, for example --{flag}=1/4, found {text!r}"
        )
    return int(number), int(parts)
