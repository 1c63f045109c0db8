"""Fixtures that several parts of the tests share."""

import os
import shutil

import jax
import pytest

from seqfinal_jax.data.base.cifar import CIFAR10, CIFAR100
from tests.compile_flags import compile_cheaply
from tests.data.toy_cifar import toy_source, write_toy

compile_cheaply(level=1)


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory):
    """Keeps the tests out of the user's cache of sequences."""
    before = os.environ.get("SEQFINAL_CACHE_DIR")
    os.environ["SEQFINAL_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    yield
    shutil.rmtree(os.environ.pop("SEQFINAL_CACHE_DIR"), ignore_errors=True)
    if before is not None:
        os.environ["SEQFINAL_CACHE_DIR"] = before


COMPILED_ONCE = ("models", "golden", "training")  # folders whose tests run most programs a few times only


@pytest.fixture(scope="module", autouse=True)
def optimised_as_needed(request):
    """The least optimisation where compiling takes longer than running."""
    jax.config.update("jax_disable_most_optimizations", request.node.path.parent.name in COMPILED_ONCE)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_are_freed():
    """A process may map only so many pieces of memory, and every compiled program holds some."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def toy_cifar_dir(tmp_path_factory):
    """A data_dir with synthetic CIFAR-10 and CIFAR-100 of full size (370 MB, removed afterwards)."""
    data_dir = tmp_path_factory.mktemp("toy_cifar")
    write_toy(CIFAR10, data_dir)
    write_toy(CIFAR100, data_dir)
    yield data_dir
    shutil.rmtree(data_dir)


@pytest.fixture(scope="session")
def toy_cifar10():
    """Synthetic CIFAR-10 of full size in memory."""
    return toy_source(CIFAR10)


@pytest.fixture(scope="session")
def toy_cifar100():
    """Synthetic CIFAR-100 of full size in memory."""
    return toy_source(CIFAR100)
