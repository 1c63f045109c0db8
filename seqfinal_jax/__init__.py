"""Seq-to-Final in JAX: learning for now from a sequence of shifting data.

results = seqfinal_jax.run("digits_rcl")               # a data frame, one row per cell
seqfinal_jax.plot("runs/digits_rcl")                   # the chart of methods
model = seqfinal_jax.load_model(results.path[0])       # model.predict(images)
"""

from typing import Any as _Any

__version__ = "0.1.0"
_PLACES = {
    "load_config": "api", "load_results": "api", "plot": "api", "run": "api", "load_model": "stored_model",
    "read_predictions": "results.predictions",
}  # fmt: skip
__all__ = ["load_config", "load_model", "load_results", "plot", "read_predictions", "run"]


def __getattr__(name: str) -> _Any:
    """The functions of the interface, imported when they are first asked for: they need JAX, the version does not."""
    from importlib import import_module

    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'seqfinal_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The interface."""
    return sorted([*__all__, "__version__"])
