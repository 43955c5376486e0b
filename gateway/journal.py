"""The write-ahead log of the store: one JSON line per finished span, appended before the client has the last byte.

A line is in the kernel once `os.write` returns, so it survives `kill -9` of this process. All lines of one exchange go
to the file in which it started: a file that is full takes no new exchange, and is closed when the last of its own has
ended. So each file can be sealed by itself, and a start without an end in a file nobody holds is an exchange that was
interrupted. The holder keeps an flock; a file appears under its name only once it is locked.
"""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

log = logging.getLogger("gateway.journal")

VERSION = 1
SUFFIX = ".jsonl"

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNSAID_MAX = 100_000

_encoder = msgspec.json.Encoder()


class _File:
    """One journal file, locked by us until its last exchange has ended."""

    __slots__ = ("fd", "open", "path", "retired", "size", "started")

    def __init__(self, path: Path, header: bytes, now: float) -> None:
        unlocked = path.with_suffix(".new")
        self.fd = os.open(unlocked, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        os.write(self.fd, header)
        unlocked.rename(path)
        self.path = path
        self.size = len(header)
        self.started = now
        self.open = 0
        self.retired = False


class Journal:
    """A worker's journal: the file that takes new exchanges, and the older ones whose exchanges are still in flight.

    Never raises from `start` and `end`: what cannot be written is counted in `dropped`, by reason, and said in the
    journal itself as soon as it can be written again.
    """

    def __init__(
        self,
        folder: Path,
        worker: str,
        resource: Mapping[str, Any],
        *,
        rotate_bytes: int,
        rotate_seconds: float,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder = folder
        self._worker = worker
        self._resource = dict(resource)
        self._rotate_bytes = rotate_bytes
        self._rotate_seconds = rotate_seconds
        self._clock = clock
        self._by_exchange: dict[int, _File] = {}
        self._unsaid: list[dict[str, str]] = []
        self.accepted = 0
        self.stored = 0
        self.dropped: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._current = self._create()

    def __repr__(self) -> str:
        return f"<Journal {self._current.path.name} in flight: {self.in_flight}>"

    @property
    def in_flight(self) -> int:
        """Exchanges that started and have not ended."""
        return len(self._by_exchange)

    def start(self, exchange: int, line: Mapping[str, Any]) -> None:
        """Say that an exchange was accepted; its later lines go to the same file."""
        self.accepted += 1
        file = self._current
        if file.size >= self._rotate_bytes:
            file = self.rotate() or file
        self._by_exchange[exchange] = file
        file.open += 1
        self._append(file, {"t": "start", **line})

    def attempt(self, exchange: int, line: Mapping[str, Any]) -> None:
        """Append a finished attempt."""
        self._append(self._by_exchange.get(exchange, self._current), {"t": "span", **line})

    def end(self, exchange: int, line: Mapping[str, Any]) -> None:
        """Append a finished exchange."""
        file = self._by_exchange.pop(exchange, None)
        if file is None:
            self._append(self._current, {"t": "span", **line})
            return
        if self._append(file, {"t": "span", **line}):
            self.stored += 1
        file.open -= 1
        if file.retired and not file.open:
            self._close(file)

    def tick(self) -> None:
        """Rotate by age, and when somebody removed the file under us. Called about once a second."""
        file = self._current
        age = self._clock() / 1e9 - file.started
        try:
            gone = os.fstat(file.fd).st_nlink == 0
        except OSError:
            gone = True
        if gone or (age >= self._rotate_seconds and self.accepted and file.size > self._rotate_floor):
            self.rotate()

    def rotate(self) -> _File | None:
        """Begin a new file; the old one is closed once its exchanges have ended. None where that cannot be done."""
        old = self._current
        try:
            self._current = self._create()
        except OSError as error:
            log.warning("cannot begin a new journal in %s: %s; going on with the old one", self._folder, error)
            return None
        old.retired = True
        if not old.open:
            self._close(old)
        return self._current

    def close(self) -> None:
        """Close all files. An exchange still in flight stays without an end: it is stored as interrupted."""
        files = {id(file): file for file in (self._current, *self._by_exchange.values())}
        for file in files.values():
            self._close(file)
        self._by_exchange.clear()

    def _create(self) -> _File:
        now = self._clock()
        header = {
            "t": "journal",
            "version": VERSION,
            "worker": self._worker,
            "pid": os.getpid(),
            "started_ns": now,
            "resource": self._resource,
        }
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{self._worker}-{now}{SUFFIX}"
        line = _encoder.encode(header) + b"\n"
        self._rotate_floor = len(line)
        return _File(path, line, now / 1e9)

    def _append(self, file: _File, line: Mapping[str, Any]) -> bool:
        try:
            data = _encoder.encode(line)
        except Exception:
            log.exception("a span could not be encoded")
            self._drop(line, "encoding")
            return False
        data += b"\n"
        if self._unsaid:
            data = b"".join(_encoder.encode(each) + b"\n" for each in self._unsaid) + data
        try:
            written = os.write(file.fd, data)
            if written != len(data):
                raise OSError(errno.ENOSPC, "only a part of the line was written")
        except OSError as error:
            self._undo(file)
            if not self._unsaid:  # once per outage, not once per span
                log.warning("cannot write to %s: %s; spans are dropped until it can be written", file.path, error)
            self._drop(line, "disk_full" if error.errno in _FULL else "write_error")
            return False
        file.size += len(data)
        self._unsaid.clear()
        return True

    def _undo(self, file: _File) -> None:
        """Cut off half a line, so that the next one is whole."""
        try:
            os.ftruncate(file.fd, file.size)
        except OSError:
            log.warning("cannot cut off half a line of %s; readers skip it", file.path)

    def _drop(self, line: Mapping[str, Any], reason: str) -> None:
        """Count a line that is lost. A lost start needs no word: the exchange's end is still to come."""
        if line["t"] != "span":
            return
        if line["kind"] == "SERVER":
            self.dropped[reason] = self.dropped.get(reason, 0) + 1
        if len(self._unsaid) < _UNSAID_MAX:
            self._unsaid.append({"t": "dropped", "reason": reason, "kind": line["kind"], "span_id": line["span_id"]})

    def _close(self, file: _File) -> None:
        if file.fd < 0:
            return
        if not file.open:
            self._append(file, {"t": "closed"})
        os.close(file.fd)
        file.fd = -1


def locked(path: Path) -> bool:
    """Return whether a process holds the journal at `path`: whether more may still be written to it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(fd)
