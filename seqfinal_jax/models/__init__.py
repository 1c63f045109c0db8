"""Networks as ordered layer groups over plain pytrees."""

from seqfinal_jax.models.convert.from_torch import from_torch, to_torch
from seqfinal_jax.models.families.architectures import FAMILIES, build_network
from seqfinal_jax.models.network import AnyNetwork, Network, NetworkConfig, apply_network, init_variables
from seqfinal_jax.models.per_step.low_rank import Adapter
from seqfinal_jax.models.per_step.names import steps_from_torch, steps_to_torch
from seqfinal_jax.models.per_step.network import StepNetwork, apply_step, build_steps, init_steps

__all__ = [
    "FAMILIES",
    "Adapter",
    "AnyNetwork",
    "Network",
    "NetworkConfig",
    "StepNetwork",
    "apply_network",
    "apply_step",
    "build_network",
    "build_steps",
    "from_torch",
    "init_steps",
    "init_variables",
    "steps_from_torch",
    "steps_to_torch",
    "to_torch",
]
