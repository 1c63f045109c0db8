"""Architectures by name: "convnet-1" is the family ConvNet with one block."""

import re
from collections.abc import Callable

from seqfinal_jax.models.convnet import convnet
from seqfinal_jax.models.densenet import densenet
from seqfinal_jax.models.network import Network, NetworkConfig
from seqfinal_jax.models.resnet import resnet
from seqfinal_jax.registry import Registry

FAMILIES: Registry[Callable[[int, int, NetworkConfig], Network]] = Registry("architecture family")
FAMILIES.add("convnet", convnet)
FAMILIES.add("resnet", resnet)
FAMILIES.add("densenet", densenet)


def build_network(name: str, num_classes: int, config: NetworkConfig | None = None) -> Network:
    """The network of an architecture name such as "convnet-1".

    Raises ValueError for an unknown family, a malformed name, or fewer than two classes.
    """
    family, num_blocks = split_name(name)
    if num_classes < 2:
        raise ValueError(f"a network needs at least 2 classes, found {num_classes}")
    return FAMILIES.get(family)(num_blocks, num_classes, config or NetworkConfig())


def split_name(name: str) -> tuple[str, int]:
    """("convnet", 1) of "convnet-1"; raises ValueError that says what is wrong."""
    match = re.fullmatch(r"([a-z_]+)-(\d+)", name.strip())
    if match is None:
        raise ValueError(f"architecture {name!r} is not FAMILY-BLOCKS, for example convnet-1")
    family, num_blocks = match[1], int(match[2])
    FAMILIES.get(family)
    if not 1 <= num_blocks <= 4:
        raise ValueError(f"architecture {name!r}: the number of blocks must be 1 to 4")
    return family, num_blocks
