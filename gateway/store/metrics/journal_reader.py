"""Reader of appended journal lines, each once, a bounded number of bytes at a time.

A journal stays open while it is read, so that one that is sealed and removed is still read to its end. Earlier lines
are read, but not counted: they show which exchanges are in flight.
"""

import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from gateway.store.metrics.folding import Fold
from gateway.tracing.journal import SUFFIX

_BUFFER = 256 * 1024


class _OpenJournal(Struct):
    """An open journal: the offset that is read, and the one that counting starts from."""

    path: Path
    file: BinaryIO
    offset: int = 0
    counted_from: int = 0


class JournalReader:
    """Reader of the journals of a data folder. Lines written before it was created are not counted."""

    def __init__(self, data: Path, fold: Fold) -> None:
        self._live = data / "live"
        self._segments = data / "segments"
        self._fold = fold
        self._open_journals: dict[str, _OpenJournal] = {}
        self._done: set[str] = set()
        for path in self._paths():
            if self._sealed(path):
                self._done.add(path.name)
            elif (journal := self._open(path)) is not None:
                journal.counted_from = _size(journal.file)

    def __repr__(self) -> str:
        return f"<JournalReader {len(self._open_journals)} journals, {self.unread} bytes unread>"

    @property
    def unread(self) -> int:
        """Number of bytes that are not read yet."""
        return sum(max(0, _size(each.file) - each.offset) for each in self._open_journals.values())

    def read(self, max_bytes: int) -> bool:
        """Fold new lines, up to about `max_bytes`; return whether there may be more."""
        paths = {path.name: path for path in self._paths()}
        self._done &= paths.keys()
        for name, path in paths.items():
            if name not in self._done and name not in self._open_journals:
                self._open(path)
        left = max_bytes
        for name in list(self._open_journals):
            left -= self._read(self._open_journals[name], left, listed=name in paths)
            if left <= 0:
                return True
        return False

    def close(self) -> None:
        """Close the files."""
        for journal in self._open_journals.values():
            journal.file.close()
        self._open_journals.clear()

    def _paths(self) -> list[Path]:
        return sorted(self._live.glob(f"*{SUFFIX}"))

    def _open(self, path: Path) -> _OpenJournal | None:
        try:
            file = path.open("rb", buffering=_BUFFER)
        except FileNotFoundError:
            return None
        journal = self._open_journals[path.name] = _OpenJournal(path, file)
        return journal

    def _read(self, journal: _OpenJournal, max_bytes: int, *, listed: bool) -> int:
        """Fold a journal's new lines; return their bytes. Closes it once no worker can append any more."""
        name, before = journal.path.name, journal.offset
        final = not _held(journal.file)  # checked first: then no line can follow those that are read
        if _size(journal.file) > before:
            journal.file.seek(before)
            for line in journal.file:
                if not (final or line.endswith(b"\n")):
                    break
                journal.offset += len(line)
                self._fold.line(line, name, counts=journal.offset > journal.counted_from)
                if journal.offset - before >= max_bytes:
                    return journal.offset - before
        if final:
            # If someone removed the file, its worker continues in another journal, where the exchanges end.
            if listed or self._sealed(journal.path):
                self._fold.closed(name)
            journal.file.close()
            del self._open_journals[name]
            self._done.add(name)
        return journal.offset - before

    def _sealed(self, journal: Path) -> bool:
        return (self._segments / f"{journal.stem}.duckdb").exists()


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _held(file: BinaryIO) -> bool:
    """Return whether a worker holds the lock of a journal."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False
