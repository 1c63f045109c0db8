"""Locks for several processes that work in one run folder, so that no stage is fitted twice.

A lock is a file, made by a hard link, which is atomic on local disks and on NFS. Its owner touches it every few seconds.
The lock of a dead owner is taken over: at once where the owner was a process of this machine that has ended, otherwise
when nobody has touched it for `STALE` seconds of this process's own clock. Locks save work, and correctness does not
depend on them: should two processes fit the same stage after all, both write the same bytes, and folders appear by
renaming.
"""

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
HEARTBEAT, STALE = 10.0, 180.0  # seconds; a network file system may show a file's time a minute late
FOLDER = "claims"


class Busy(Exception):
    """Another process has locked a task and works on it."""


class Claims:
    """The locks of this process in a run folder.

    `waits`: seconds between checks of the locks of other processes; `clock`: seconds that never go back.
    """

    def __init__(
        self, workdir: Path, heartbeat: float = HEARTBEAT, stale: float = STALE, waits: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.folder, self.heartbeat, self.stale = workdir / FOLDER, heartbeat, stale
        self.waits, self.clock = waits, clock
        self.token = secrets.token_hex(8)
        self._held: set[str] = set()
        self._seen: dict[str, tuple[Any, float]] = {}
        self._lock, self._beating, self._works = threading.Lock(), None, True

    @contextlib.contextmanager
    def hold(self, names: Sequence[str], what: str = "") -> Iterator[None]:
        """Takes all of these locks, or none of them; raises Busy where another process has locked one.

        what: a description of the work, for those who list the locks. Where locks cannot be written at all, one warning
        is logged and the work goes on without them.
        """
        taken: list[str] = []
        try:
            for name in names:
                if not self._take(name, what):
                    raise Busy(name)
                taken.append(name)
            yield
        finally:
            for name in taken:
                self._release(name)

    @contextlib.contextmanager
    def wait_for(self, name: str) -> Iterator[None]:
        """Waits until a lock is free, then takes it."""
        while True:
            try:
                with self.hold([name], name):
                    yield
                return
            except Busy:
                time.sleep(self.waits)

    def clear_dead(self) -> None:
        """Removes the locks of processes of this machine that have ended."""
        for path in self.folder.glob("[!.]*.json"):
            with contextlib.suppress(OSError):
                if _is_gone(path.read_text()):
                    self._is_dead(path.stem)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _take(self, name: str, what: str) -> bool:
        """Whether this process now has the lock; always True where locks do not work."""
        if not self._works:
            return True
        try:
            return self._link(name, what) or (self._is_dead(name) and self._link(name, what))
        except OSError as error:
            self._works = False
            log.warning(
                "locks cannot be written (%s); a second process in this folder would do the same work", error
            )
            return True

    def _link(self, name: str, what: str) -> bool:
        """Makes the lock's file, whole and only if there is none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / f".{name}.{self.token}"
        beside.write_text(
            json.dumps({**process_identity(), "machine": _machine(), "token": self.token, "what": what})
        )
        try:
            os.link(beside, self._path(name))
        except FileExistsError:
            return False
        finally:
            beside.unlink(missing_ok=True)
        with self._lock:
            self._held.add(name)
        self._beat_from_now()
        return True

    def _release(self, name: str) -> None:
        with self._lock:
            self._held.discard(name)
        with contextlib.suppress(OSError, ValueError, AttributeError):  # other JSON than a lock
            if json.loads(self._path(name).read_text()).get("token") == self.token:
                self._path(name).unlink(missing_ok=True)

    def _is_dead(self, name: str) -> bool:
        """Whether the owner of a lock has ended; its file is removed then."""
        path = self._path(name)
        try:
            text, touched = path.read_text(), path.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        now = self.clock()
        seen, since = self._seen.setdefault(name, ((text, touched), now))
        if seen != (text, touched):
            self._seen[name] = ((text, touched), now)
            since = now
        if not (_is_gone(text) or now - since > self.stale):
            return False
        log.info("taking over the stale lock on %s; its process has ended", name)
        grave = self.folder / f".{name}.{self.token}.dead"
        with contextlib.suppress(FileNotFoundError):
            path.rename(grave)
        with contextlib.suppress(FileNotFoundError):
            if grave.read_text() != text:  # another process was faster and this is its lock: it gets it back
                with contextlib.suppress(FileExistsError):
                    os.link(grave, path)
            grave.unlink()
        self._seen.pop(name, None)
        return True

    def _beat_from_now(self) -> None:
        if self._beating is None:
            self._beating = threading.Thread(target=self._beat, daemon=True, name="claims")
            self._beating.start()

    def _beat(self) -> None:
        while True:
            time.sleep(self.heartbeat)
            with self._lock:
                held = list(self._held)
            for name in held:
                with contextlib.suppress(OSError):
                    os.utime(self._path(name))


def process_identity() -> dict[str, Any]:
    """The host, pid and birth of this process, by which `is_alive_here` recognises it."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}


def is_alive_here(owner: dict[str, Any]) -> bool:
    """Whether a process, identified by host, pid and birth, runs on this machine."""
    return owner["host"] == socket.gethostname() and _born(owner["pid"]) == owner["born"] is not None


def _machine() -> str:
    """What tells process numbers of one machine (and container) from those of another; empty where nothing does."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _born(pid: int) -> str | None:
    """When a process of this machine began, in ticks since boot; None where there is none or nothing tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _is_gone(text: str) -> bool:
    """Whether a lock's owner was a process of this machine that has ended."""
    try:
        owner = json.loads(text)
        return (
            bool(owner["machine"]) and owner["machine"] == _machine() and _born(owner["pid"]) != owner["born"]
        )
    except (ValueError, KeyError, TypeError):
        return False


def held_claims(workdir: Path) -> list[dict[str, Any]]:
    """The locks in a run folder: owner, description of the work, and when it was last touched (seconds since 1970)."""
    found = []
    for path in sorted((workdir / FOLDER).glob("[!.]*.json")):
        with contextlib.suppress(OSError, ValueError):
            text = path.read_text()
            owner = json.loads(text)
            is_claim = isinstance(owner, dict) and {"host", "what"} <= owner.keys()
            if is_claim and not _is_gone(text):
                found.append({**owner, "name": path.stem, "touched": path.stat().st_mtime})
    return found
