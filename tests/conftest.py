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
    """Keeps the tests out of the user's cache of sequences and programs.

    Each worker has its own: JAX does not write a program in one go, and half of one is a warning, hence an error.
    """
    folder = tmp_path_factory.getbasetemp()
    before = os.environ.get("SEQFINAL_CACHE_DIR")
    os.environ["SEQFINAL_CACHE_DIR"] = str(folder / "cache")
    jax.config.update("jax_compilation_cache_dir", str(folder / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    yield
    del os.environ["SEQFINAL_CACHE_DIR"]
    if before is not None:
        os.environ["SEQFINAL_CACHE_DIR"] = before


COMPILED_ONCE = ("models", "golden", "training")  # folders whose tests run most programs a few times only
OPTIMISED = ("test_fit.py",)  # of these, those that compare bits of different programs


MOST_MAPS = 20_000  # a process may have 65,530 pieces of memory, and every compiled program holds some
optimised = [True]


@pytest.fixture(scope="module", autouse=True)
def optimised_as_needed(request):
    """The least optimisation where compiling takes longer than running; programs are shared by modules alike in this."""
    path = request.node.path
    now = path.parent.name not in COMPILED_ONCE or path.name in OPTIMISED
    if now != optimised[0] or number_of_maps() > MOST_MAPS:
        jax.clear_caches()
    optimised[0] = now
    jax.config.update("jax_disable_most_optimizations", not now)


def number_of_maps() -> int:
    """Pieces of memory of this process; as if there were too many where the system does not tell."""
    try:
        with open("/proc/self/maps") as lines:
            return sum(1 for _ in lines)
    except OSError:
        return MOST_MAPS + 1


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
