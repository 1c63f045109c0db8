"""Fixtures of the tests of the engine."""

import collections

import jax
import pytest

from seqfinal_jax.training.engine import programs


@pytest.fixture
def compilations():
    """Counts how often each program is compiled (or read from the cache of compiled programs)."""
    counts = collections.Counter()

    def listen(event, seconds, fun_name="", **details):
        if event.endswith("backend_compile_duration"):
            counts[fun_name.removeprefix("jit(").removesuffix(")")] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    programs.train_epoch.clear_cache()
    programs.evaluate.clear_cache()
    yield counts
    forget = getattr(jax.monitoring, "unregister_event_duration_listener", None)  # not in JAX before 0.9
    if forget:
        forget(listen)
