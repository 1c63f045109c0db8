"""Sizes of networks, as the shapes of a PyTorch state tell them; strides and image size are the presets'."""

import re
from collections.abc import Mapping

import numpy as np

from seqfinal_jax.models.network import NetworkConfig

State = Mapping[str, np.ndarray]


def convnet_sizes(num_blocks: int, named: State) -> NetworkConfig:
    """Stem width and widths of a ConvNet."""
    return NetworkConfig(stem_width=_stem(named), widths=_widths(num_blocks, named, "conv"))


def resnet_sizes(num_blocks: int, named: State) -> NetworkConfig:
    """Stem width, widths and units of a ResNet."""
    units = _count(named, r"layer1\.(\d+)\.conv1\.weight")
    return NetworkConfig(stem_width=_stem(named), widths=_widths(num_blocks, named, "0.conv2"), units=units)


def densenet_sizes(num_blocks: int, named: State) -> NetworkConfig:
    """Stem width and dense layers of a DenseNet."""
    layers = [_count(named, rf"layer{k}\.dense(\d+)\.conv1\.weight") for k in range(1, num_blocks + 1)]
    return NetworkConfig(stem_width=_stem(named), dense_layers=tuple(layers))


def _stem(named: State) -> int | None:
    return named["conv1.conv.weight"].shape[0] if "conv1.conv.weight" in named else None


def _widths(num_blocks: int, named: State, last: str) -> tuple[int, ...]:
    """The widths of all blocks, by their last convolution; empty where one is missing."""
    names = [f"layer{k}.{last}.weight" for k in range(1, num_blocks + 1)]
    return tuple(named[name].shape[0] for name in names) if all(name in named for name in names) else ()


def _count(named: State, pattern: str) -> int:
    return max(1, sum(re.fullmatch(pattern, name) is not None for name in named))
