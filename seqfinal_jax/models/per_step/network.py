"""One network per time step, with layers that are separate, shared, summed with side modules, or adapted.

For every group a table says which version each time step uses. `variables["params"][group]` is, by the group's kind,

- separate: a stack (versions, ...) of plain trees; a step uses its version alone;
- summed: {"base": plain tree, "side": stack (versions - 1, ...) of modules}; a step sums versions 0 to its own;
- adapted: {"base", "adapters", "norms"} of `low_rank.py`; a step uses the kernels that its version makes.

Running statistics are stacked alike. A table that differs between members of one fit travels with them
(`with_table`). (Spec of the networks, sections 3 to 5.)
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqfinal_jax.models.network import Network, Tree, Variables, apply_group, init_variables
from seqfinal_jax.models.parts.layers import EVALUATION, Pass
from seqfinal_jax.models.per_step.low_rank import Adapter, adapted, head_rank, init_adapters, split_norms
from seqfinal_jax.models.per_step.side import SideSizes, block_shapes, side_modules
from seqfinal_jax.models.per_step.versions import Versions, pick, stack, version_table, with_version

Mode = Literal["separate", "side_tune", "low_rank_adapt"]
Kind = Literal["separate", "summed", "adapted"]
STEM_RANK = 1
# Where variables hold a version table of their own, beside the groups' running statistics.
TABLE = "version_table"


@dataclass(frozen=True)
class StepNetwork:
    """The static description of the networks of all time steps; hashable. Made by `build_steps`.

    versions[t][place] is the version that step t uses of the group at that place. `modules` are the side modules and
    `ranks` the adapters' ranks of the groups that have them. An `ablated` network leaves all that is summed or
    adapted out of its forward passes (`ablation.py`).
    """

    base: Network
    mode: Mode
    versions: Versions
    side: SideSizes = ()
    adapter: Adapter | None = None
    all_layers_efficient: bool = False
    modules: tuple[tuple[str, nn.Module], ...] = field(default=(), repr=False)
    ranks: tuple[tuple[str, int], ...] = ()
    ablated: bool = False

    @property
    def name(self) -> str:
        """Name of the architecture."""
        return self.base.name

    @property
    def group_names(self) -> tuple[str, ...]:
        """conv1, layer1, ..., fc."""
        return self.base.group_names

    @property
    def num_classes(self) -> int:
        """Classes of the head."""
        return self.base.num_classes

    @property
    def num_steps(self) -> int:
        """Time steps."""
        return len(self.versions)

    def count(self, group: str) -> int:
        """Versions of a group."""
        return self.versions[-1][self.group_names.index(group)] + 1

    def kind(self, group: str) -> Kind:
        """How a group's versions act together."""
        if group in dict(self.modules):
            return "summed"
        return "adapted" if group in dict(self.ranks) else "separate"


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
    modules: dict[str, nn.Module] = {}
    ranks: dict[str, int] = {}
    if mode == "side_tune":
        modules = side_modules(base, side)
        if all_layers_efficient:
            ends = dict(base.groups)
            modules = {"conv1": ends["conv1"], **modules, "fc": ends["fc"]}
    if mode == "low_rank_adapt":
        if adapter is None:
            raise ValueError("low-rank adaptation needs adapter.mode (add or multiply) and adapter.rank")
        ranks = adapter_ranks(base, adapter, all_layers_efficient)
    return StepNetwork(
        base,
        mode,
        versions,
        side,
        adapter,
        all_layers_efficient,
        tuple(modules.items()),
        tuple(ranks.items()),
    )


def adapter_ranks(base: Network, adapter: Adapter, all_layers_efficient: bool) -> dict[str, int]:
    """The rank of every adapted group; raises ValueError for one that is too large for its kernels."""
    if adapter.rank < 1:
        raise ValueError(f"adapter.rank must be at least 1, found {adapter.rank}")
    ranks = dict.fromkeys(base.group_names[1:-1], adapter.rank)
    if all_layers_efficient:
        width = block_shapes(base)[base.group_names[-2]][1]
        ranks = {"conv1": STEM_RANK, **ranks, "fc": head_rank(adapter.rank, width, base.num_classes)}
    variables = jax.eval_shape(lambda key: init_variables(base, key), jax.random.key(0))
    for group, rank in ranks.items():
        kernels, _ = split_norms(variables["params"][group])
        jax.eval_shape(
            partial(init_adapters, adapter=adapter, rank=rank, where=group), jax.random.key(0), kernels
        )
    return ranks


@partial(jax.jit, static_argnames=("network",))
def init_steps(network: StepNetwork, key: Array) -> Variables:
    """Random initial variables: every version of every group is an independent draw.

    Version 0 is what `init_variables` draws for a single network with the same key.
    """
    most = max(network.count(group) for group in network.group_names)
    copies = [
        init_variables(network.base, key if k == 0 else jax.random.fold_in(key, 1000 + k))
        for k in range(most)
    ]
    modules = dict(network.modules)
    variables: Variables = {"params": {}, "batch_stats": {}}
    for place, group in enumerate(network.group_names):
        own = [
            {kind: tree.get(group, {}) for kind, tree in copy.items()}
            for copy in copies[: network.count(group)]
        ]
        if network.kind(group) == "summed":
            later = own[1:]
            if modules[group] != dict(network.base.groups)[group]:
                later = _init_side(network, group, key, len(later))
            trees = {"base": own[0], **({"side": stack(later)} if later else {})}
            made = {kind: {part: tree[kind] for part, tree in trees.items()} for kind in variables}
        elif network.kind(group) == "adapted":
            made = _init_adapted(network, group, jax.random.fold_in(key, 2000 + place), own)
        else:
            made = stack(own)
        variables["params"][group] = made["params"]
        if jax.tree.leaves(made["batch_stats"]):
            variables["batch_stats"][group] = made["batch_stats"]
    return variables


def _init_side(network: StepNetwork, group: str, key: Array, count: int) -> list[Variables]:
    module, config = dict(network.modules)[group], network.base.config
    x = jnp.zeros((1, *config.image_shape[:2], block_shapes(network.base)[group][0]))
    keys = [jax.random.fold_in(key, 1000 + k) for k in range(1, count + 1)]
    place = network.group_names.index(group)
    made = [module.init(jax.random.fold_in(k, place), x, EVALUATION) for k in keys]
    return [{"params": v["params"], "batch_stats": v["batch_stats"]} for v in made]


def _init_adapted(network: StepNetwork, group: str, key: Array, own: list[Variables]) -> Variables:
    base, _ = split_norms(own[0]["params"])
    norms = stack([split_norms(each["params"])[1] for each in own])
    keys = [jax.random.fold_in(key, k) for k in range(1, len(own))]
    rank = dict(network.ranks)[group]
    adapters = [init_adapters(k, base, network.adapter, rank, group) for k in keys]
    params = {"base": base, "norms": norms, **({"adapters": stack(adapters)} if adapters else {})}
    return {"params": params, "batch_stats": stack([each["batch_stats"] for each in own])}


def table_of(network: StepNetwork, batch_stats: Tree) -> Array | Versions:
    """The version table (steps, groups) that variables with these statistics use."""
    return batch_stats.get(TABLE, network.versions)


def with_table(network: StepNetwork, variables: Variables, table: Versions) -> Variables:
    """Variables that use another version table than the network's, so that members of one fit may differ in it.

    Raises ValueError unless every group of the network has a version for every step.
    """
    if (
        network.versions != version_table(network.group_names, network.num_steps)
        or network.mode != "separate"
    ):
        raise ValueError(
            f"a version table of its own needs a network whose layers are all separate at every step, found "
            f"{network.mode} with {network.versions}"
        )
    return {**variables, "batch_stats": {**variables["batch_stats"], TABLE: np.asarray(table, np.int32)}}


def row_of(network: StepNetwork, batch_stats: Tree, step: int | Array) -> Any:
    """Which version of each group time step `step`, which may be traced, uses."""
    table = table_of(network, batch_stats)
    return jnp.asarray(table)[step] if TABLE in batch_stats or not isinstance(step, int) else table[step]


def own_versions(network: StepNetwork, tree: Tree, row: Any) -> Tree:
    """What a step with this row needs of parameters or statistics: of separate groups its version alone."""
    return {
        group: pick(tree[group], row[place]) if network.kind(group) == "separate" else tree[group]
        for place, group in enumerate(network.group_names)
        if group in tree
    }


def put_own(network: StepNetwork, tree: Tree, row: Any, own: Tree) -> Tree:
    """The inverse of `own_versions`: the whole tree with a step's part replaced."""
    filled = {
        group: with_version(tree[group], row[place], own[group])
        if network.kind(group) == "separate"
        else own[group]
        for place, group in enumerate(network.group_names)
        if group in tree
    }
    return {**tree, **filled}


def add_own(network: StepNetwork, tree: Tree, row: Any, own: Tree) -> Tree:
    """The whole tree with a step's part added to it."""
    added = jax.tree.map(jnp.add, own_versions(network, tree, row), own)
    return put_own(network, tree, row, added)


def apply_step(
    network: StepNetwork,
    variables: Variables,
    step: int | Array,
    x: Array,
    mode: Pass = EVALUATION,
    *,
    drop: Callable[[int, Array], Array] | None = None,
    frozen: Tree | None = None,
) -> tuple[Array, Tree, list[Array]]:
    """Logits (n, num_classes) of time step `step`, all running statistics after the pass, and every group's output.

    `step` may be traced. `drop` and `frozen` are as in `apply_network`; `frozen` has the structure of the masks of
    `trained_from`.
    """
    row = row_of(network, variables["batch_stats"], step)
    own = {kind: own_versions(network, tree, row) for kind, tree in variables.items()}
    x, moved, outputs = apply_own(network, own, row, x, mode, drop=drop, frozen=frozen)
    return x, put_own(network, variables["batch_stats"], row, moved), outputs


def apply_own(
    network: StepNetwork,
    own: Variables,
    row: Any,
    x: Array,
    mode: Pass = EVALUATION,
    *,
    drop: Callable[[int, Array], Array] | None = None,
    frozen: Tree | None = None,
) -> tuple[Array, Tree, list[Array]]:
    """As `apply_step`, with what `own_versions` gives of the variables, and the same part of the statistics back."""
    mode = mode._replace(precision=network.base.precision)
    stats = dict(own["batch_stats"])
    outputs: list[Array] = []
    for place, (group, _) in enumerate(network.base.groups):
        still = None if frozen is None else frozen[group]
        x, moved = apply_versions(
            network, group, own["params"][group], stats.get(group), row[place], x, mode, still
        )
        if moved is not None:
            stats[group] = moved
        outputs.append(x)
        if mode.train and drop is not None and place < len(network.base.groups) - 1:
            x = drop(place, x)
    return x, stats, outputs


def apply_versions(
    network: StepNetwork,
    group: str,
    params: Tree,
    stats: Tree | None,
    version: int | Array,
    x: Array,
    mode: Pass,
    frozen: Any = None,
) -> tuple[Array, Tree | None]:
    """A group's output in one version, and its statistics; params and stats as `own_versions` gives them."""
    module = dict(network.base.groups)[group]
    if network.kind(group) == "separate":
        mode = mode if frozen is None else mode._replace(frozen=frozen[version])
        return apply_group(module, params, stats, x, mode)
    version = 0 if network.ablated else version
    if network.kind(group) == "summed":
        return _apply_sum(network, group, params, stats, version, x, mode, frozen)
    mode = mode if frozen is None else mode._replace(frozen=frozen["norms"][version])
    own = adapted(params, version, network.adapter.mode)
    x, moved = apply_group(module, own, None if stats is None else pick(stats, version), x, mode)
    return x, stats if moved is None else with_version(stats, version, moved)


def _apply_sum(
    network: StepNetwork,
    group: str,
    params: Tree,
    stats: Tree | None,
    version: int | Array,
    x: Array,
    mode: Pass,
    frozen: Any,
) -> tuple[Array, Tree | None]:
    """Version 0 and all side modules up to `version`; those beyond a traced one are skipped as the program runs."""
    base_mode = mode if frozen is None else mode._replace(frozen=frozen["base"])
    own = stats and stats["base"]
    total, moved = apply_group(dict(network.base.groups)[group], params["base"], own, x, base_mode)
    new_stats = None if stats is None else {**stats, "base": moved}
    module = dict(network.modules)[group]
    last = version if isinstance(version, int) else network.count(group) - 1
    for k in range(last):
        side_mode = mode if frozen is None else mode._replace(frozen=frozen["side"][k])
        side_stats = None if stats is None else pick(stats["side"], k)

        def add(params: Tree, stats: Tree | None, x: Array, side_mode: Pass = side_mode) -> Any:
            return apply_group(module, params, stats, x, side_mode)

        def skip(params: Tree, stats: Tree | None, x: Array, like: Array = total) -> Any:
            return jnp.zeros_like(like), stats

        operands = (pick(params["side"], k), side_stats, x)
        if isinstance(version, int):
            output, side_moved = add(*operands)
        else:
            output, side_moved = jax.lax.cond(k < version, add, skip, *operands)
        total = total + output
        if new_stats is not None:
            new_stats["side"] = with_version(new_stats["side"], k, side_moved)
    return total, new_stats


def trained_from(network: StepNetwork, step: int) -> dict[str, Any]:
    """Masks (1 trained, 0 frozen) by group, with all versions that steps before `step` use frozen."""
    masks: dict[str, Any] = {}
    for place, group in enumerate(network.group_names):
        before = network.versions[step - 1][place] if step > 0 else -1
        free = (np.arange(network.count(group)) > before).astype(np.int32)
        if network.kind(group) == "summed":
            masks[group] = {"base": free[0], **({"side": free[1:]} if len(free) > 1 else {})}
        elif network.kind(group) == "adapted":
            masks[group] = {
                "base": free[0],
                "norms": free,
                **({"adapters": free[1:]} if len(free) > 1 else {}),
            }
        else:
            masks[group] = free
    return masks


def extract(network: StepNetwork, variables: Variables, step: int) -> Variables:
    """The plain network of one time step, with the same outputs; raises ValueError where side modules add to a group."""
    single: Variables = {"params": {}, "batch_stats": {}}
    for place, group in enumerate(network.group_names):
        own = extract_group(network, variables, group, network.versions[step][place])
        single["params"][group] = own["params"]
        if "batch_stats" in own:
            single["batch_stats"][group] = own["batch_stats"]
    return single


def extract_group(network: StepNetwork, variables: Variables, group: str, version: int) -> Variables:
    """Parameters, and statistics where there are any, of one version of a group as those of a plain network.

    Raises ValueError where side modules add to it.
    """
    params, stats = variables["params"][group], variables["batch_stats"].get(group)
    kind = network.kind(group)
    if kind == "summed" and version > 0:
        raise ValueError(f"side modules add to {group}: it is not a plain {network.name}")
    if kind == "summed":
        return {"params": params["base"], **({} if stats is None else {"batch_stats": stats["base"]})}
    own = adapted(params, version, network.adapter.mode) if kind == "adapted" else pick(params, version)
    return {"params": own} if stats is None else {"params": own, "batch_stats": pick(stats, version)}
