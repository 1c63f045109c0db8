"""The configuration: its fields (`schema`), how one is built (`build`), checked and read (`parse`)."""

from seqfinal_jax.config.build import PROTOCOLS, apply_presets, base_config

__all__ = ["PROTOCOLS", "apply_presets", "base_config"]
