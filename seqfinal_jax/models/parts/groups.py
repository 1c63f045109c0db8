"""The parameters of a group by their role: counted, penalised, or batch norm."""

from collections.abc import Iterator
from typing import Any, Literal

import jax
from jax import Array

PenaliseBatchNorm = Literal["none", "by_name"]
Path = tuple[str, ...]


def named_tensors(params: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, Array]]:
    """Every tensor of a parameter tree with its path, names in order."""
    for name in sorted(params):
        if isinstance(params[name], dict):
            yield from named_tensors(params[name], (*path, name))
        else:
            yield (*path, name), params[name]


def is_batch_norm(path: Path) -> bool:
    """Whether a tensor is a batch norm's scale or bias: its module is called bn, bn1, bn2."""
    return len(path) > 1 and path[-2].startswith("bn")


def is_compared(path: Path, penalise_bn: PenaliseBatchNorm) -> bool:
    """Whether a tensor takes part in distances between models and in Fisher weights.

    The published program excludes batch norms by their names and so fails to exclude those directly in a group: the
    stem's, a ConvNet block's, the DenseNet head's (`by_name`, spec of the networks 1.7). `none` excludes every one.
    """
    if not is_batch_norm(path):
        return True
    return penalise_bn == "by_name" and len(path) == 3


def reported_count(params: dict[str, Any]) -> int:
    """Scalars as the published table counts them: kernels and the head's bias, without shortcut kernels."""
    return sum(
        tensor.size
        for path, tensor in named_tensors(params)
        if not is_batch_norm(path) and "downsample" not in path
    )


def full_count(params: dict[str, Any]) -> int:
    """All trainable scalars."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
