"""Chunks of members over devices: every device runs the one-device program on its own chunk, one thread per device."""

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax

T = TypeVar("T")


def run_on_devices(tasks: Sequence[T], run: Callable[[T, jax.Device], Any], devices: Sequence[Any]) -> None:
    """Runs every task once, each on the next free device; raises the first error after all threads have ended."""
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)

    def work(device: jax.Device) -> None:
        with jax.default_device(device):
            while True:
                try:
                    task = waiting.get_nowait()
                except queue.Empty:
                    return
                run(task, device)

    if len(devices) == 1:
        work(devices[0])
        return
    with ThreadPoolExecutor(len(devices)) as pool:
        for future in [pool.submit(work, device) for device in devices]:
            future.result()


def members_per_program(backend: str, member_bytes: int, shared_bytes: int) -> int:
    """How many members one program holds: 1 on a CPU, on an accelerator what a memory estimate allows.

    A fixed rule, never a timing, so that a rerun chooses alike. `shared_bytes` (the images) are stored once. A device
    that does not say its memory is taken to have 16 GiB. Should the estimate be too low, the engine halves the chunk.
    """
    if backend == "cpu":
        return 1
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit", 16 * 2**30)
    return max(1, int((0.8 * limit - shared_bytes) // member_bytes))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of a compiled program says that the device is out of memory."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
