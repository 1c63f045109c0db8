"""One network per time step, whose layers are separate, shared, summed with side modules, or adapted.

A table says which version of every group each time step uses, and a group's form what its versions are and how they act
together (`form.py`): `Separate`, `Summed` or `Adapted`. A table that differs between members of one fit travels with
them (`with_table`). (Spec of the networks, sections 3 to 5.)
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqfinal_jax.models.network import AnyNetwork, Names, Network, Tree, Variables
from seqfinal_jax.models.parts.groups import Path
from seqfinal_jax.models.parts.interpolation import Mix, is_weight
from seqfinal_jax.models.parts.layers import EVALUATION, Pass
from seqfinal_jax.models.per_step.form import Form, Separate, Stats
from seqfinal_jax.models.per_step.low_rank import Adapter, adapted_forms
from seqfinal_jax.models.per_step.side import SideSizes, summed_forms
from seqfinal_jax.models.per_step.versions import Versions, pick, version_table, with_version

Mode = Literal["separate", "side_tune", "low_rank_adapt"]
# What gives the forms of a mode's groups; groups that it does not name are separate.
MODES: dict[str, Callable[..., dict[str, Callable[..., Form]]]] = {
    "separate": lambda *options: {},
    "side_tune": summed_forms,
    "low_rank_adapt": adapted_forms,
}
# Where variables hold a version table of their own, beside the groups' running statistics.
TABLE = "version_table"


@dataclass(frozen=True)
class StepNetwork(AnyNetwork):
    """The networks of all time steps, made by `build_steps`.

    mode: how it was made. versions[t][place] is the version that step t uses of the group at that place, and forms[place]
    says what this group's versions are. An `ablated` network leaves all that later versions add out of its passes:
    version 0 acts in every group whose versions are not separate. (Zero kernels alone would not do: a copy of a residual
    block hands its input on, and later versions of adapted groups have batch norms and biases of their own.)
    """

    base: Network
    mode: str
    versions: Versions
    forms: tuple[Form, ...] = field(repr=False)
    ablated: bool = False

    @property
    def num_classes(self) -> int:
        """Classes of the head."""
        return self.base.num_classes

    @property
    def num_steps(self) -> int:
        """Time steps."""
        return len(self.versions)

    @property
    def has_efficient_versions(self) -> bool:
        """Whether some group's later versions carry the parameter-efficient weight."""
        return any(form.efficient for form in self.forms)

    @property
    def is_separate(self) -> bool:
        """Whether the versions of all groups are complete trees of their own."""
        return all(form.apart for form in self.forms)

    @property
    def shares(self) -> bool:
        """Whether some versions add what is computed from their common input."""
        return any(form.shares for form in self.forms)

    def form(self, group: str) -> Form:
        """The form of a group."""
        return self.forms[self.group_names.index(group)]

    @partial(jax.jit, static_argnums=0)
    def init(self, key: Array) -> Variables:
        """Random initial variables: every version of every group is an independent draw.

        Version 0 is what a single network draws with the same key.
        """
        keys = [
            key if k == 0 else jax.random.fold_in(key, 1000 + k) for k in range(max(self.versions[-1]) + 1)
        ]
        copies = [self.base.init(own) for own in keys]
        variables: Variables = {"params": {}, "batch_stats": {}}
        for form in self.forms:
            drawn = [
                {kind: tree.get(form.group, {}) for kind, tree in copy.items()}
                for copy in copies[: form.count]
            ]
            for kind, tree in form.init(self.base, key, drawn).items():
                if kind == "params" or jax.tree.leaves(tree):
                    variables[kind][form.group] = tree
        return variables

    def table(self, batch_stats: Tree) -> Array | Versions:
        """The version table (steps, groups) that variables with these statistics use."""
        return batch_stats.get(TABLE, self.versions)

    def with_table(self, variables: Variables, table: Versions | np.ndarray) -> Variables:
        """Variables that use another version table than the network's, so that members of one fit may differ in it.

        Raises ValueError unless every group of the network has a version of its own for every step.
        """
        if self.versions != version_table(self.group_names, self.num_steps) or not self.is_separate:
            raise ValueError(
                f"a version table of its own needs a network whose layers are all separate at every step, found "
                f"{self.mode} with {self.versions}"
            )
        return {**variables, "batch_stats": {**variables["batch_stats"], TABLE: np.asarray(table, np.int32)}}

    def row(self, batch_stats: Tree, step: int | Array | None) -> Any:
        """Which version of each group a time step uses."""
        step, table = self.num_steps - 1 if step is None else step, self.table(batch_stats)
        return jnp.asarray(table)[step] if TABLE in batch_stats or not isinstance(step, int) else table[step]

    def own(self, tree: Tree, row: Any) -> Tree:
        """Of separate groups the step's version alone."""
        return {
            form.group: pick(tree[form.group], row[place]) if form.apart else tree[form.group]
            for place, form in enumerate(self.forms)
            if form.group in tree
        }

    def put(self, tree: Tree, row: Any, own: Tree) -> Tree:
        """The whole tree with the step's part replaced."""
        filled = {
            form.group: with_version(tree[form.group], row[place], own[form.group])
            if form.apart
            else own[form.group]
            for place, form in enumerate(self.forms)
            if form.group in tree
        }
        return {**tree, **filled}

    def add(self, tree: Tree, row: Any, own: Tree) -> Tree:
        """The whole tree with a step's part added to it."""
        return self.put(tree, row, jax.tree.map(jnp.add, self.own(tree, row), own))

    def apply_group(self, place: int, row: Any, params: Tree, stats: Stats, x: Array, mode: Pass) -> Any:
        """In the version that a step with this row uses; `mode.frozen` is built like `trained_from`."""
        form = self.forms[place]
        return form.apply(params, stats, self._acting(form, row[place]), x, mode)

    def _acting(self, form: Form, version: Any) -> Any:
        return 0 if self.ablated and not form.apart else version

    def trained_from(self, step: int) -> dict[str, Any]:
        """Masks (1 trained, 0 frozen) by group: all versions that steps before `step` use are frozen.

        So are, in an ablated network, the versions that have no effect.
        """
        before = self.versions[step - 1] if step > 0 else (-1,) * len(self.forms)
        masks = {}
        for form, last in zip(self.forms, before, strict=True):
            version = np.arange(form.count)
            free = (version > last) & (self._acting(form, version) == version)
            masks[form.group] = form.masks(free.astype(np.int32))
        return masks

    def without_effect(self, variables: Variables) -> Variables:
        """The variables with all that later versions add without effect, so that penalties see constants."""
        result: Variables = {kind: dict(groups) for kind, groups in variables.items()}
        for form in self.forms:
            params, stats = variables["params"][form.group], variables["batch_stats"].get(form.group)
            result["params"][form.group], moved = form.without_effect(params, stats)
            if stats is not None:
                result["batch_stats"][form.group] = moved
        return result

    def plain(self, variables: Variables, step: int | None = None) -> Variables:
        """The plain network of one time step, with the same outputs; ValueError where side modules add to a group."""
        row = self.row(variables["batch_stats"], step)
        return {
            kind: {
                form.group: form.plain(kind, tree[form.group], self._acting(form, row[place]))
                for place, form in enumerate(self.forms)
                if form.group in tree
            }
            for kind, tree in variables.items()
        }

    def on_line(
        self, start: Variables, end: Variables, factor: float | Array, x: Array, mix: Mix = "every"
    ) -> Array:
        """Between the last two steps of `end`."""
        return self.between(end, self.num_steps - 1, factor, x, mix)

    def between(
        self, variables: Variables, step: int, factor: float | Array, x: Array, mix: Mix = "every"
    ) -> Array:
        """Logits between time step `step` - 1 (factor 0) and `step` (1), which is at least 1.

        Layers that are replaced or adapted are interpolated. Of side modules "every" scales the output of the new one
        by `factor` (`Summed.between`). "weights" is the published rule: the kernels of new modules, stem and head among
        them, are scaled and meet batch norms that are not.
        """
        if mix == "weights" and self.shares:
            return self.apply(self._scaled(variables, step, factor), x, step=step)[0]
        mode = EVALUATION._replace(precision=self.base.precision)
        rows = [self.row(variables["batch_stats"], each) for each in (step - 1, step)]
        for place, form in enumerate(self.forms):
            kinds = [kind for kind in ("params", "batch_stats") if form.group in variables[kind]]
            own = {kind: variables[kind][form.group] for kind in kinds}
            before, after = (self._acting(form, row[place]) for row in rows)
            x = form.between(own, (before, after), factor, x, mode, mix)
        return x

    def _scaled(self, variables: Variables, step: int, factor: float | Array) -> Variables:
        """All kernels of modules that are new at a step, and the head's bias, times `factor`."""

        def scale(new: np.ndarray, tree: Tree) -> Tree:
            def one(path: tuple[Any, ...], leaf: Array) -> Array:
                mask = new.reshape(new.shape + (1,) * (leaf.ndim - new.ndim))
                return jnp.where(mask, factor, 1).astype(leaf.dtype) * leaf if is_weight(path) else leaf

            return jax.tree_util.tree_map_with_path(one, tree)

        return {**variables, "params": jax.tree.map(scale, self.trained_from(step), variables["params"])}

    def names(self, kind: str, path: Path, leaf: str, length: int) -> Names:
        """`layer1@2.conv.weight`, by the group's form."""
        return self.form(path[0]).names(kind, path[1:], leaf, length)

    def description(self) -> dict[str, Any]:
        """The version table in words."""
        versions = {
            name: [int(row[place]) for row in self.versions] for place, name in enumerate(self.group_names)
        }
        return {
            "time_steps": self.num_steps,
            "mode": self.mode,
            "versions": versions,
            "sum": "the output of a group at a time step is that of its version 0 plus those of its side modules 1 to "
            "the version that the step uses; @k behind a group's name is version k",
        }


def build_steps(
    base: Network,
    num_steps: int,
    mode: Mode = "separate",
    separate: str = "all",
    side: SideSizes = (),
    adapter: Adapter | None = None,
    all_layers_efficient: bool = False,
) -> StepNetwork:
    """The networks of `num_steps` time steps around one architecture.

    Raises ValueError for layers, side modules and ranks that the architecture does not have.
    """
    versions = version_table(base.group_names, num_steps, separate)
    special = MODES[mode](base, side, adapter, all_layers_efficient)
    forms = tuple(
        special.get(name, Separate)(name, module, last + 1)
        for (name, module), last in zip(base.groups, versions[-1], strict=True)
    )
    return StepNetwork(base, mode, versions, forms)


init_steps = StepNetwork.init


def apply_step(
    network: StepNetwork, variables: Variables, step: int | Array, x: Array, mode: Pass = EVALUATION, **options: Any
) -> tuple[Array, Tree, list[Array]]:  # fmt: skip
    """`StepNetwork.apply` with the step before the images."""
    return network.apply(variables, x, mode, step=step, **options)
