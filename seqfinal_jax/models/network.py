"""A network is an ordered list of layer groups, each a Flax module; variables are plain nested dictionaries.

`variables = {"params": {group: tree}, "batch_stats": {group: tree}}`. Groups are the unit of freezing and of all
tree surgery, so the network itself is a loop over names and Flax is used inside a group only. Flax linen, not
nnx: `init` and `apply` are pure functions over dictionaries, and no layer holds state that we want mutated.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqfinal_jax.models.parts import ops
from seqfinal_jax.models.parts.layers import EVALUATION, Pass
from seqfinal_jax.models.parts.precision import Precision, products_in

Tree = dict[str, Any]
Variables = dict[str, Tree]

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


@dataclass(frozen=True)
class Network:
    """A network's static description; hashable, so that equal networks share compiled programs."""

    family: str
    num_blocks: int
    num_classes: int
    config: NetworkConfig
    groups: tuple[tuple[str, nn.Module], ...] = field(repr=False)
    code: str = ""  # digest of the file that a family of the user's own is defined in
    precision: Precision = "highest"  # of the products of its layers

    @property
    def name(self) -> str:
        """For example "convnet-1"."""
        return f"{self.family}-{self.num_blocks}"

    @property
    def group_names(self) -> tuple[str, ...]:
        """conv1, layer1, ..., fc."""
        return tuple(name for name, _ in self.groups)


@partial(jax.jit, static_argnames=("network",))
def init_variables(network: Network, key: Array) -> Variables:
    """Random initial variables; a group's weights depend on the key, the group's place and its shapes only."""
    shape = (1, *network.config.image_shape)
    x = jnp.zeros(shape)
    params, batch_stats = {}, {}
    for place, (name, module) in enumerate(network.groups):
        x, variables = module.init_with_output(jax.random.fold_in(key, place), x, EVALUATION)
        params[name] = variables["params"]
        if "batch_stats" in variables:
            batch_stats[name] = variables["batch_stats"]
    return {"params": params, "batch_stats": batch_stats}


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


def apply_network(
    network: Network,
    variables: Variables,
    x: Array,
    mode: Pass = EVALUATION,
    *,
    drop: Callable[[int, Array], Array] | None = None,
    frozen: dict[str, Array] | None = None,
    first_trained: int = 0,
) -> tuple[Array, Tree, list[Array]]:
    """Logits (n, num_classes), running statistics after the pass, and the output of every group.

    `drop(place, output)` follows every group but the last, in training only (`random_dropout`). `frozen` says for
    each group whether its batch norm stays in evaluation mode. No gradient is computed below the group at the place
    `first_trained`.
    """
    new_stats: Tree = {}
    outputs: list[Array] = []
    mode = mode._replace(precision=network.precision)
    for place, (name, module) in enumerate(network.groups):
        if 0 < place == first_trained:
            x = jax.lax.stop_gradient(x)
        group_mode = mode if frozen is None else mode._replace(frozen=frozen[name])
        stats = variables["batch_stats"].get(name)
        x, stats = apply_group(module, variables["params"][name], stats, x, group_mode)
        if stats is not None:
            new_stats[name] = stats
        outputs.append(x)
        if mode.train and drop is not None and place < len(network.groups) - 1:
            x = drop(place, x)
    return x, new_stats, outputs


def random_dropout(rate: Array, key: Array) -> Callable[[int, Array], Array]:
    """Dropout for `apply_network` with a traced rate, and a key of its own for every place."""
    return lambda place, x: ops.dropout(x, rate, jax.random.fold_in(key, place))


def smallest_map(network: Network) -> int:
    """Number of pixels of the smallest feature map that a batch norm may see."""
    shape = (1, *network.config.image_shape)

    def outputs(key: Array) -> list[Array]:
        return apply_network(network, init_variables(network, key), jnp.zeros(shape))[2]

    maps = jax.eval_shape(outputs, jax.random.key(0))
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
