"""Networks as ordered layer groups over plain pytrees."""

from seqfinal_jax.models.architectures import FAMILIES, build_network
from seqfinal_jax.models.network import Network, NetworkConfig, apply_network, init_variables

__all__ = ["FAMILIES", "Network", "NetworkConfig", "apply_network", "build_network", "init_variables"]
