"""One journal file: it appears under its name once it is locked, and stays locked while lines may be added to it."""

import errno
import fcntl
import os
from pathlib import Path


class JournalFile:
    """A locked, append-only file.

    Attributes:
        started: Unix seconds at which the file was created.
        size: Bytes of whole lines.
        open: Exchanges that started in it and have not ended.
        retired: Whether new exchanges go to another file.
        partial: Whether it ends in a partial line that could not be truncated.
        unreported: Reports of dropped lines of its own exchanges, to be written before the next line.

    """

    __slots__ = ("fd", "open", "partial", "path", "retired", "size", "started", "unreported")

    def __init__(self, path: Path, header: bytes, now: float) -> None:
        unlocked = path.with_suffix(".new")
        self.fd = os.open(unlocked, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            write(self.fd, header)
            unlocked.rename(path)
        except BaseException:
            os.close(self.fd)
            unlocked.unlink(missing_ok=True)
            raise
        self.path = path
        self.size = len(header)
        self.started = now
        self.open = 0
        self.retired = False
        self.partial = False
        self.unreported: list[dict[str, str]] = []

    @property
    def gone(self) -> bool:
        """Whether the file was removed."""
        try:
            return os.fstat(self.fd).st_nlink == 0
        except OSError:
            return True


def write(fd: int, data: bytes) -> None:
    """Write all of `data`, or raise OSError."""
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, "only a part of the line was written")


def locked(path: Path) -> bool:
    """Return whether a process holds the lock of the journal at `path`, and may still append to it."""
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
