"""Chunks of members over devices: every device runs the one-device program on its own chunk, a thread a device."""

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


def members_per_program(backend: str, variables_bytes: int, sample_bytes: int, batch_size: int) -> int:
    """How many members one program holds: 1 on a CPU, on an accelerator what a memory estimate allows.

    A member needs about eight copies of its variables (parameters, two moments, gradients, best, updates in
    flight) and, for a training step, about four times the activations and patches of a batch. `sample_bytes` is
    that of one sample's patches and activations. A fixed rule, never a timing, so that a rerun chooses alike.
    """
    if backend == "cpu":
        return 1
    limit = 16 * 2**30
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit", limit)
    member = 8 * variables_bytes + 4 * batch_size * sample_bytes
    return max(1, int(0.8 * limit // member))
