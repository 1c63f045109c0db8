"""Networks as ordered layer groups over plain pytrees."""

from seqfinal_jax.models.architectures import FAMILIES, build_network
from seqfinal_jax.models.from_torch import from_torch, to_torch
from seqfinal_jax.models.network import Network, NetworkConfig, apply_network, init_variables

__all__ = [
    "FAMILIES",
    "Network",
    "NetworkConfig",
    "apply_network",
    "build_network",
    "from_torch",
    "init_variables",
    "to_torch",
]
