"""Reads what is appended to the journals, each line once, a bounded part of it at a time.

A journal is held open while it is followed, so that one that is sealed and removed is read to its end all the same.
What was in the journals before is read too, but not counted: it only tells which exchanges are in flight.
"""

import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from gateway.store.metrics.folding import Fold
from gateway.tracing.journal import SUFFIX

_BUFFER = 256 * 1024


class _Followed(Struct):
    """A journal: how far it is read, and up to where it is not counted."""

    path: Path
    file: BinaryIO
    offset: int = 0
    counted_from: int = 0


class Following:
    """The journals of a data folder; what was written to them before this was made is not counted."""

    def __init__(self, data: Path, fold: Fold) -> None:
        self._live = data / "live"
        self._segments = data / "segments"
        self._fold = fold
        self._followed: dict[str, _Followed] = {}
        self._done: set[str] = set()
        for path in self._paths():
            if self._sealed(path):
                self._done.add(path.name)
            elif (followed := self._open(path)) is not None:
                followed.counted_from = _size(followed.file)

    def __repr__(self) -> str:
        return f"<Following {len(self._followed)} journals, {self.unread} bytes unread>"

    @property
    def unread(self) -> int:
        """Bytes that are not read yet."""
        return sum(max(0, _size(each.file) - each.offset) for each in self._followed.values())

    def read(self, max_bytes: int) -> bool:
        """Fold what is new, up to about `max_bytes`; return whether there may be more."""
        paths = {path.name: path for path in self._paths()}
        self._done &= paths.keys()
        for name, path in paths.items():
            if name not in self._done and name not in self._followed:
                self._open(path)
        left = max_bytes
        for name in list(self._followed):
            left -= self._read(self._followed[name], left, listed=name in paths)
            if left <= 0:
                return True
        return False

    def close(self) -> None:
        """Let go of the files."""
        for followed in self._followed.values():
            followed.file.close()
        self._followed.clear()

    def _paths(self) -> list[Path]:
        return sorted(self._live.glob(f"*{SUFFIX}"))

    def _open(self, path: Path) -> _Followed | None:
        try:
            file = path.open("rb", buffering=_BUFFER)
        except FileNotFoundError:
            return None
        followed = self._followed[path.name] = _Followed(path, file)
        return followed

    def _read(self, followed: _Followed, max_bytes: int, *, listed: bool) -> int:
        """Fold a journal's new lines; return how many bytes those are. Let go of it once no more can come."""
        name, before = followed.path.name, followed.offset
        final = not _held(followed.file)  # asked first: what is read after that is all there will be
        if _size(followed.file) > before:
            followed.file.seek(before)
            for line in followed.file:
                if not (final or line.endswith(b"\n")):
                    break
                followed.offset += len(line)
                self._fold.line(line, name, counts=followed.offset > followed.counted_from)
                if followed.offset - before >= max_bytes:
                    return followed.offset - before
        if final:
            # Of one that somebody else took away the worker goes on in another, where its exchanges end.
            if listed or self._sealed(followed.path):
                self._fold.closed(name)
            followed.file.close()
            del self._followed[name]
            self._done.add(name)
        return followed.offset - before

    def _sealed(self, journal: Path) -> bool:
        return (self._segments / f"{journal.stem}.duckdb").exists()


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _held(file: BinaryIO) -> bool:
    """Whether a worker still writes to a journal."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False
