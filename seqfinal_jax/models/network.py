"""A network is an ordered list of layer groups, each a Flax module; variables are plain nested dictionaries.

`variables = {"params": {group: tree}, "batch_stats": {group: tree}}`. Groups are the unit of freezing and of all
tree surgery, so the network itself is a loop over names and Flax is used inside a group only. Flax linen, not
nnx: `init` and `apply` are pure functions over dictionaries, and no layer holds state that we want mutated.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqfinal_jax.models.parts import ops
from seqfinal_jax.models.parts.groups import Path
from seqfinal_jax.models.parts.interpolation import Mix, interpolate
from seqfinal_jax.models.parts.layers import EVALUATION, Pass
from seqfinal_jax.models.parts.precision import Precision, products_in

Tree = dict[str, Any]
Variables = dict[str, Tree]
Drop = Callable[[int, Array], Array]
Names = Iterator[tuple[int | None, str]]

PRESET_WIDTHS = {1: (512,), 2: (128, 512), 3: (128, 256, 512), 4: (64, 128, 256, 512)}


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a network; empty tuples and None stand for the preset of this number of blocks.

    `image_shape` is (height, width, channels).
    `width_factor` scales every preset width (stem, blocks, growth); explicit widths are taken as they are.
    `block_relu` is for ConvNet, `units` (basic units per block) for ResNet, `dense_layers` (per block) for DenseNet.
    """

    image_shape: tuple[int, int, int] = (32, 32, 3)
    stem_width: int | None = None
    widths: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    width_factor: float = 1.0
    block_relu: bool = False
    units: int = 2
    dense_layers: tuple[int, ...] = ()


class AnyNetwork:
    """What every network does: a plain `Network`, which is one for all time steps, and a `StepNetwork`, one per step.

    Networks are frozen data classes, compared by value, so that equal ones share compiled programs. base: the plain
    network that a network consists of. num_steps: the time steps that have networks of their own.
    """

    base: "Network"
    num_steps: int

    @property
    def name(self) -> str:
        """The architecture's name, for example "convnet-1"."""
        return f"{self.base.family}-{self.base.num_blocks}"

    @property
    def group_names(self) -> tuple[str, ...]:
        """conv1, layer1, ..., fc."""
        return tuple(name for name, _ in self.base.groups)

    @property
    def shapes(self) -> Variables:
        """The variables' shapes and dtypes."""
        return jax.eval_shape(self.init, jax.random.key(0))

    @property
    def has_efficient_versions(self) -> bool:
        """Whether some weights carry the parameter-efficient weight of penalties."""
        return False

    def init(self, key: Array) -> Variables:
        """Random initial variables."""
        raise NotImplementedError

    def apply(
        self,
        variables: Variables,
        x: Array,
        mode: Pass = EVALUATION,
        *,
        step: int | Array | None = None,
        drop: Drop | None = None,
        frozen: Tree | None = None,
        first_trained: int = 0,
    ) -> tuple[Array, Tree, list[Array]]:
        """Logits (n, num_classes), running statistics after the pass, and the output of every group.

        step: the time step whose network answers, which may be traced; None: the last one. `drop(place, output)`
        follows every group but the last, in training only (`random_dropout`). `frozen` says for each group, or each of
        its versions, whether its batch norm stays in evaluation mode. No gradient is computed below the group at the
        place `first_trained`.
        """
        row = self.row(variables["batch_stats"], step)
        own = {kind: self.own(tree, row) for kind, tree in variables.items()}
        x, moved, outputs = self.apply_own(
            own, row, x, mode, drop=drop, frozen=frozen, first_trained=first_trained
        )
        return x, self.put(variables["batch_stats"], row, moved), outputs

    def apply_own(
        self,
        own: Variables,
        row: Any,
        x: Array,
        mode: Pass = EVALUATION,
        *,
        drop: Drop | None = None,
        frozen: Tree | None = None,
        first_trained: int = 0,
    ) -> tuple[Array, Tree, list[Array]]:
        """As `apply`, with what `own` gives of the variables, and the same part of the statistics back."""
        new_stats: Tree = {}
        outputs: list[Array] = []
        mode = mode._replace(precision=self.base.precision)
        for place, name in enumerate(self.group_names):
            if 0 < place == first_trained:
                x = jax.lax.stop_gradient(x)
            own_mode = mode if frozen is None else mode._replace(frozen=frozen[name])
            stats = own["batch_stats"].get(name)
            x, stats = self.apply_group(place, row, own["params"][name], stats, x, own_mode)
            if stats is not None:
                new_stats[name] = stats
            outputs.append(x)
            if mode.train and drop is not None and place < len(self.group_names) - 1:
                x = drop(place, x)
        return x, new_stats, outputs

    def apply_group(
        self, place: int, row: Any, params: Tree, stats: Tree | None, x: Array, mode: Pass
    ) -> tuple[Array, Tree | None]:
        """The output of the group at a place, and its running statistics after the pass."""
        return apply_group(self.base.groups[place][1], params, stats, x, mode)

    def row(self, batch_stats: Tree, step: int | Array | None) -> Any:
        """Which version of each group a time step uses; a plain network has no versions."""
        return None

    def own(self, tree: Tree, row: Any) -> Tree:
        """What a step with this row needs of parameters or statistics."""
        return tree

    def put(self, tree: Tree, row: Any, own: Tree) -> Tree:
        """The inverse of `own`: the whole tree with a step's part replaced."""
        return own

    def plain(self, variables: Variables, step: int | None = None) -> Variables:
        """The variables of `base` that answer like a time step (None: the last); ValueError where there are none."""
        return variables

    def on_line(
        self, start: Variables, end: Variables, factor: float | Array, x: Array, mix: Mix = "every"
    ) -> Array:
        """Logits (n, num_classes) in evaluation mode of the model at `factor` on the line from `start` to `end`.

        Of a network per step `end` alone counts: the line leads from its last time step but one to its last.
        """
        return self.apply(interpolate(start, end, factor, mix), x)[0]

    def names(self, kind: str, path: Path, leaf: str, length: int) -> Names:
        """The names that other programs have for a tensor of the parameters or statistics (`kind`) at a path.

        Each comes with the row of the tensor's first axis (of `length`) that it names; None: the whole tensor. `leaf` is
        the last part of the names.
        """
        return plain_names(kind, path, leaf, length)

    def description(self) -> dict[str, Any]:
        """What `base` does not tell, as plain data."""
        return {}


@dataclass(frozen=True)
class Network(AnyNetwork):
    """A plain network's static description."""

    family: str
    num_blocks: int
    num_classes: int
    config: NetworkConfig
    groups: tuple[tuple[str, nn.Module], ...] = field(repr=False)
    code: str = ""  # digest of the file that a family of the user's own is defined in
    precision: Precision = "highest"  # of the products of its layers

    num_steps = 1

    @property
    def base(self) -> "Network":
        """Itself."""
        return self

    @partial(jax.jit, static_argnums=0)
    def init(self, key: Array) -> Variables:
        """Random initial variables; a group's weights depend on the key, the group's place and its shapes only."""
        shape = (1, *self.config.image_shape)
        x = jnp.zeros(shape)
        params, batch_stats = {}, {}
        for place, (name, module) in enumerate(self.groups):
            x, variables = module.init_with_output(jax.random.fold_in(key, place), x, EVALUATION)
            params[name] = variables["params"]
            if "batch_stats" in variables:
                batch_stats[name] = variables["batch_stats"]
        return {"params": params, "batch_stats": batch_stats}


init_variables, apply_network = Network.init, Network.apply


def plain_names(kind: str, path: Path, leaf: str, length: int) -> Names:
    """`layer1.conv.weight` (`AnyNetwork.names`)."""
    yield None, ".".join((*path[:-1], leaf))


SMALLEST_PRESET = 32  # the published sizes are made for images of this many pixels


def check_images(network: Network) -> None:
    """Raises ValueError where a network shrinks its images' maps to nothing, which names the layer."""
    height, width, channels = network.config.image_shape
    if min(height, width) >= SMALLEST_PRESET and not network.config.strides:
        return
    x = jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32)
    for name, module in network.groups:
        x = jax.eval_shape(lambda x, m=module: m.init_with_output(jax.random.key(0), x, EVALUATION)[0], x)
        if 0 in x.shape:
            raise ValueError(
                f"{network.name} shrinks images of {height}x{width} to nothing at {name}; take fewer blocks, smaller "
                f"config.network.strides, or larger images"
            )


def apply_group(
    module: nn.Module, params: Tree, stats: Tree | None, x: Array, mode: Pass
) -> tuple[Array, Tree | None]:
    """One group's output and its running statistics after the pass (unchanged in evaluation)."""
    variables = {"params": params} if stats is None else {"params": params, "batch_stats": stats}
    with products_in(mode.precision):
        if not mode.train or stats is None:
            return module.apply(variables, x, mode), stats
        x, moved = module.apply(variables, x, mode, mutable=["batch_stats"])
    return x, moved["batch_stats"]


def random_dropout(rate: Array, key: Array) -> Drop:
    """Dropout for `AnyNetwork.apply` with a traced rate, and a key of its own for every place."""
    return lambda place, x: ops.dropout(x, rate, jax.random.fold_in(key, place))


def smallest_map(network: Network) -> int:
    """Number of pixels of the smallest feature map that a batch norm may see."""
    x = jnp.zeros((1, *network.config.image_shape))
    maps = jax.eval_shape(lambda variables: network.apply(variables, x)[2], network.shapes)
    return min((map_.shape[1] * map_.shape[2] for map_ in maps if len(map_.shape) == 4), default=1)


def scaled(width: int, factor: float) -> int:
    """A preset width times the factor, at least 1."""
    return max(1, round(width * factor))


def block_widths(num_blocks: int, config: NetworkConfig) -> tuple[int, tuple[int, ...]]:
    """Stem width and output widths of the blocks of ConvNet and ResNet; the presets are the published ones.

    Raises ValueError when explicit widths do not name one width per block.
    """
    stem = config.stem_width or scaled(64, config.width_factor)
    if config.widths:
        check_length("widths", config.widths, num_blocks)
        return stem, config.widths
    preset = PRESET_WIDTHS[num_blocks]
    return stem, tuple(scaled(width, config.width_factor) for width in preset)


def block_strides(num_blocks: int, config: NetworkConfig) -> tuple[int, ...]:
    """Stride of each block: 2 for the last three, 1 before them."""
    if config.strides:
        check_length("strides", config.strides, num_blocks)
        return config.strides
    return (1,) * max(num_blocks - 3, 0) + (2,) * min(num_blocks, 3)


def check_length(field_name: str, values: tuple[int, ...], num_blocks: int) -> None:
    """Raises ValueError unless there is one value per block."""
    if len(values) != num_blocks:
        raise ValueError(
            f"network.{field_name} = {values} names {len(values)} blocks, the architecture has {num_blocks}; "
            f"give one value per block, or leave it empty for the preset"
        )
