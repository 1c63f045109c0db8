"""Architectures by name: "convnet-1" is the family ConvNet with one block."""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from seqfinal_jax.models.convert.torch_sizes import convnet_sizes, densenet_sizes, resnet_sizes
from seqfinal_jax.models.families.convnet import convnet
from seqfinal_jax.models.families.densenet import densenet
from seqfinal_jax.models.families.resnet import resnet
from seqfinal_jax.models.network import Network, NetworkConfig
from seqfinal_jax.models.parts.precision import Precision
from seqfinal_jax.records.code_identity import code_digest, defined_in
from seqfinal_jax.records.registry import Registry

Builder = Callable[[int, int, NetworkConfig], Network]


@dataclass(frozen=True)
class Family:
    """A family of networks.

    name: the first part of its architectures' names. build: (blocks, classes, sizes) -> network, whose groups are
    "conv1", "layer1", ..., "fc". title: its name in sentences. blocks: the numbers of blocks that it allows.
    reads: the fields of `NetworkConfig` besides the images' that it depends on.
    small_side_modules: whether side modules may be smaller than a block. published: the numbers of blocks of the
    published table. sizes_of_torch: (blocks, arrays by PyTorch's names) -> the sizes that their shapes tell; None where
    the family has no conversion.
    """

    name: str
    build: Builder
    title: str
    blocks: tuple[int, ...] = (1, 2, 3, 4)
    reads: tuple[str, ...] = ("stem_width", "width_factor")
    small_side_modules: bool = True
    published: tuple[int, ...] = ()
    sizes_of_torch: Callable[[int, Mapping[str, np.ndarray]], NetworkConfig] | None = None


FAMILIES: Registry[Family] = Registry("architecture family")
IMAGES = ("image_shape",)


def family(name: str, *, title: str = "", **record: object) -> Callable[[Builder], Builder]:
    """Registers the builder below it as a family; see `Family` for the fields."""

    def register(build: Builder) -> Builder:
        FAMILIES.add(name, Family(name, build, title or name, **record), origin=defined_in(build))
        return build

    return register


ALL = (1, 2, 3, 4)
PLAIN = ("stem_width", "widths", "strides", "width_factor")
DENSE = ("stem_width", "width_factor", "dense_layers", "widths", "strides")
family(
    "convnet", title="a ConvNet", reads=(*PLAIN, "block_relu"), small_side_modules=False, published=ALL,
    sizes_of_torch=convnet_sizes,
)(convnet)  # fmt: skip
family("resnet", title="a ResNet", reads=(*PLAIN, "units"), published=ALL, sizes_of_torch=resnet_sizes)(
    resnet
)
family("densenet", title="a DenseNet", reads=DENSE, published=ALL, sizes_of_torch=densenet_sizes)(densenet)


def published_architectures() -> tuple[str, ...]:
    """The architectures of the published table, in its order."""
    return tuple(f"{name}-{blocks}" for name in FAMILIES for blocks in FAMILIES.get(name).published)


def small_side_modules(network: Network) -> bool:
    """Whether a network's side modules may be smaller than its blocks."""
    return FAMILIES.get(network.family).small_side_modules


def build_network(
    name: str, num_classes: int, config: NetworkConfig | None = None, precision: Precision = "highest"
) -> Network:
    """The network of an architecture name such as "convnet-1".

    Sizes that the family does not read, and those that equal the preset, are left at their defaults, so they do not
    distinguish networks. Raises ValueError for an unknown family, a malformed name, or fewer than two classes.
    """
    family_name, num_blocks = split_name(name)
    if num_classes < 2:
        raise ValueError(f"a network needs at least 2 classes, found {num_classes}")
    record, sizes = FAMILIES.get(family_name), config or NetworkConfig()
    unread = [f for f in fields(NetworkConfig) if f.name not in (*IMAGES, *record.reads)]
    sizes = replace(sizes, **{f.name: f.default for f in unread})
    network = _without_presets(lambda sizes: record.build(num_blocks, num_classes, sizes), sizes)
    return replace(network, code=code_digest(record.build), precision=precision)


def _without_presets(build: Callable[[NetworkConfig], Network], sizes: NetworkConfig) -> Network:
    """The network of these sizes, described by the fewest: at the default where that gives the same layers."""
    network = build(sizes)
    for size in fields(NetworkConfig):
        if size.name in IMAGES or getattr(sizes, size.name) == size.default:
            continue
        plainer = replace(sizes, **{size.name: size.default})
        with contextlib.suppress(ValueError):  # a family may need this size
            if build(plainer).groups == network.groups:
                return _without_presets(build, plainer)
    return network


def split_name(name: str) -> tuple[str, int]:
    """("convnet", 1) of "convnet-1"; raises ValueError that says what is wrong."""
    match = re.fullmatch(r"([a-z_0-9]*[a-z_])-(\d+)", name.strip())
    if match is None:
        raise ValueError(f"architecture {name!r} is not FAMILY-BLOCKS, for example convnet-1")
    family_name, num_blocks = match[1], int(match[2])
    allowed = FAMILIES.get(family_name).blocks
    if num_blocks not in allowed:
        listed = f"{allowed[0]} to {allowed[-1]}" if len(allowed) > 1 else str(allowed[0])
        raise ValueError(f"architecture {name!r}: the number of blocks must be {listed}")
    return family_name, num_blocks
