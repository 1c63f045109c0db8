"""How the versions of a layer group are stored and act together: the interface of all forms, and separate versions.

A form of one's own is a subclass of `Form`. The defaults are those of a group whose version 0 is a plain tree `base`, to
which every later version adds what the stack `later` holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqfinal_jax.models.network import Names, Network, Tree, Variables, apply_group
from seqfinal_jax.models.parts.groups import Path
from seqfinal_jax.models.parts.interpolation import Mix, interpolate
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.models.per_step.versions import pick, stack, stack_of_one

Stats = Tree | None  # running statistics of a group, where it has some
ENDS = ("conv1", "fc")  # stem and head


@dataclass(frozen=True)
class Form:
    """The versions of one layer group; hashable, because it is part of a network.

    group: the group's name. module: what a plain network has there. count: versions. efficient: whether later versions
    carry the parameter-efficient weight of penalties. apart: versions are complete trees of their own in a stack, of
    which a step gets its own. shares: what versions add is computed from their common input.
    """

    group: str
    module: nn.Module
    count: int
    efficient: bool = False
    later: ClassVar[str] = "later"
    apart: ClassVar[bool] = False
    shares: ClassVar[bool] = False

    def init(self, base: Network, key: Array, drawn: list[Variables]) -> Variables:
        """Random variables of all versions; `drawn` are independent plain ones of the group, one per version."""
        raise NotImplementedError

    def apply(self, params: Tree, stats: Stats, version: Any, x: Array, mode: Pass) -> tuple[Array, Stats]:
        """The output of a version, which may be traced, and the statistics after the pass.

        `mode.frozen`, if any, is built like `masks`.
        """
        raise NotImplementedError

    def masks(self, free: np.ndarray) -> Any:
        """Masks of the parameters by their parts, where `free` (versions,) is 1 for the versions that are trained."""
        return {"base": free[0], **({self.later: free[1:]} if len(free) > 1 else {})}

    def plain(self, kind: str, tree: Tree, version: Any) -> Tree:
        """Parameters or statistics (`kind`) of a plain group with the same output; ValueError where there are none."""
        if version > 0:
            raise ValueError(f"{self.later} modules add to {self.group}: it is no group of a plain network")
        return tree["base"]

    def from_plain(self, kind: str, tree: Tree) -> Tree:
        """A plain group's parameters or statistics as those of version 0, without later versions."""
        return {"base": tree}

    def continued(self, params: Tree, stats: Stats, before: Tree) -> tuple[Tree, Stats]:
        """Start variables that hold fewer versions, whose parameters are `before`, and new later ones."""
        return params, stats

    def without_effect(self, params: Tree, stats: Stats) -> tuple[Tree, Stats]:
        """The variables with all that later versions add without effect, so that penalties see constants."""
        added = {self.later: jax.tree.map(jnp.zeros_like, params[self.later])} if self.later in params else {}
        return {**params, **added}, stats

    def penalised(self, params: Tree) -> tuple[Tree | None, Tree | None]:
        """What the norm of version 0 is taken of, and a stack with what those of later versions are taken of."""
        return params["base"], params.get(self.later)

    @property
    def tied(self) -> bool:
        """Whether the adjacent penalty compares the versions, which are then all complete."""
        return False

    def complete(self, params: Tree) -> Tree:
        """All versions of a tied group as one stack."""
        raise NotImplementedError

    def between(self, own: Variables, ends: Any, factor: Any, x: Array, mode: Pass, mix: Mix) -> Array:
        """The output between two versions in evaluation mode; `own` has the group's parameters and statistics."""
        start, end = ({kind: self.plain(kind, tree, k) for kind, tree in own.items()} for k in ends)
        mixed = interpolate(start, end, factor, mix)
        return apply_group(self.module, mixed["params"], mixed.get("batch_stats"), x, mode)[0]

    def names(self, kind: str, path: Path, leaf: str, length: int) -> Names:
        """See `AnyNetwork.names`; the path begins within the group. `layer1@2.conv.weight` is version 2."""
        for row in [None] if path[0] == "base" else range(length):
            yield row, ".".join((f"{self.group}@{0 if row is None else row + 1}", *path[1:-1], leaf))

    def published(self, version: int, rest: str, ndim: int) -> str | None:
        """The canonical name of a published key that only this form has; None for those of plain networks."""
        return None


@dataclass(frozen=True)
class Separate(Form):
    """Every version is a complete tree of its own: a stack (versions, ...), of which a step uses its version alone."""

    apart = True

    def init(self, base: Network, key: Array, drawn: list[Variables]) -> Variables:
        """Independent draws."""
        return stack(drawn)

    def apply(self, params: Tree, stats: Stats, version: Any, x: Array, mode: Pass) -> tuple[Array, Stats]:
        """The plain group with the version's variables."""
        return apply_group(self.module, params, stats, x, frozen_by(mode, lambda masks: masks[version]))

    def masks(self, free: np.ndarray) -> Any:
        """One per version."""
        return free

    def plain(self, kind: str, tree: Tree, version: Any) -> Tree:
        """The version."""
        return pick(tree, version)

    def from_plain(self, kind: str, tree: Tree) -> Tree:
        """A stack of one."""
        return stack_of_one(tree)

    def without_effect(self, params: Tree, stats: Stats) -> tuple[Tree, Stats]:
        """As they are: no version adds to another."""
        return params, stats

    def penalised(self, params: Tree) -> tuple[Tree | None, Tree | None]:
        """All versions alike."""
        return None, params

    @property
    def tied(self) -> bool:
        """Where there are several versions."""
        return self.count > 1

    def complete(self, params: Tree) -> Tree:
        """The stack."""
        return params

    def names(self, kind: str, path: Path, leaf: str, length: int) -> Names:
        """`layer1@2.conv.weight`."""
        for version in range(length):
            yield version, ".".join((f"{self.group}@{version}", *path[:-1], leaf))


def frozen_by(mode: Pass, part: Callable[[Any], Any]) -> Pass:
    """The pass with a part of what `frozen` says."""
    return mode if mode.frozen is None else mode._replace(frozen=part(mode.frozen))
