"""The machine as it is recorded, and the folder of compiled programs."""

import os

import pytest

from seqfinal_jax.runs import environment
from seqfinal_jax.runs.loop import check_backend, enable_compilation_cache, prune


def test_the_pool_has_as_many_threads_as_the_process_may_use_cores(monkeypatch):
    monkeypatch.delenv("PJRT_NPROC", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 8}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert environment.thread_pool() == 3
    monkeypatch.setenv("PJRT_NPROC", "7")
    assert environment.thread_pool() == 7
    monkeypatch.setenv("PJRT_NPROC", "many")
    assert environment.thread_pool() == 3


def test_the_oldest_programs_go_first(tmp_path):
    for age, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    prune(tmp_path, 25)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("kind", ["file", "below a file", "not writable"])
def test_a_cache_that_cannot_be_used_is_one_warning(tmp_path, monkeypatch, caplog, kind):
    (tmp_path / "file").write_text("")
    folder = {"file": "file", "below a file": "file/deeper", "not writable": "locked"}[kind]
    monkeypatch.setenv("SEQFINAL_CACHE_DIR", str(tmp_path / folder))
    if kind == "not writable":
        monkeypatch.setattr("tempfile.TemporaryFile", _refused)
    enable_compilation_cache()
    assert caplog.text.count("compiled programs are not kept") == 1


def _refused(**_):
    raise PermissionError(13, "Permission denied")


def test_a_device_is_there():
    check_backend()
