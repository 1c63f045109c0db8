"""The environment that results depend on besides the configuration: settings, machine and libraries."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from seqfinal_jax.models.parts.precision import Precision, units

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")
# Flags of XLA that do not change numbers, by how they begin.
HARMLESS_FLAGS = ("--xla_force_host_platform_device_count", "--xla_dump", "--xla_gpu_autotune_max_solutions")
# Settings of JAX that change numbers. Those that a run sets itself are not among them.
SETTINGS = {
    "x64": "jax_enable_x64",
    "random_generator": "jax_default_prng_impl",
    "partitionable_generator": "jax_threefry_partitionable",
    "matmul_precision": "jax_default_matmul_precision",
    "dtype_promotion": "jax_numpy_dtype_promotion",
    "disable_jit": "jax_disable_jit",
}


def settings() -> dict[str, Any]:
    """The settings of this process that change numbers: JAX's own, and flags of XLA."""
    found = {name: getattr(jax.config, option, None) for name, option in SETTINGS.items()}
    return {**found, "xla_flags": _xla_flags(), "tf32_override": os.environ.get("NVIDIA_TF32_OVERRIDE", "")}


def _xla_flags() -> str:
    flags = os.environ.get("XLA_FLAGS", "").split()
    return " ".join(sorted(flag for flag in flags if not flag.startswith(HARMLESS_FLAGS)))


def machine(precision: Precision = "highest") -> dict[str, Any]:
    """Versions, backend, kind of processor and size of its thread pool: results may differ in the last bits.

    With bfloat16 also the processor's units that compute its products.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "backend": jax.default_backend(),
        "devices": sorted({device.device_kind for device in jax.local_devices()}),
        "cpu": _cpu_name(),
        "thread_pool": thread_pool(),
        **({"bfloat16_units": list(units())} if precision == "bfloat16" else {}),
    }


def thread_pool() -> int:
    """Threads of XLA's pool on a CPU: the cores that this process may use, or PJRT_NPROC; at least one per device."""
    asked = os.environ.get("PJRT_NPROC", "")
    cores = int(asked) if asked.isdigit() and int(asked) > 0 else usable_cores()
    return max(cores, len(jax.local_devices()) if jax.default_backend() == "cpu" else 1)


def usable_cores() -> int:
    """The cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
