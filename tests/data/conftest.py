"""Sequences that several test files cut from the synthetic CIFAR."""

import pytest

from seqfinal_jax.data import build_sequence

SIZES = {"source_size": 6000, "target_sizes": (4000, 6000, 4000), "test_size": 5000}


@pytest.fixture(scope="module")
def build(toy_cifar10, toy_cifar100):
    """Builds from the synthetic data; a sequence asked for twice is built once."""
    sources, built = {"cifar10": toy_cifar10, "cifar100": toy_cifar100}, {}

    def build(dataset, shifts, **changes):
        arguments = SIZES | {"cache": False} | changes
        key = dataset, shifts, str(sorted(arguments.items()))
        if key not in built:
            built[key] = build_sequence(dataset, shifts, source=sources[dataset], **arguments)
        return built[key]

    return build


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of the test's own, so that nothing it reads was decoded before."""
    monkeypatch.setenv("SEQFINAL_CACHE_DIR", str(tmp_path / "cache"))
