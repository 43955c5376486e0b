"""One journal file: it appears under its name once it is locked, and is locked until nobody writes to it any more."""

import errno
import fcntl
import os
from pathlib import Path


class JournalFile:
    """One journal file, locked by us until its last exchange has ended."""

    __slots__ = ("fd", "half", "open", "path", "retired", "size", "started", "unsaid")

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
        self.half = False  # it ends in half a line that could not be cut off
        self.unsaid: list[dict[str, str]] = []  # what was dropped of exchanges that started in it

    @property
    def gone(self) -> bool:
        """Whether somebody removed it."""
        try:
            return os.fstat(self.fd).st_nlink == 0
        except OSError:
            return True


def write(fd: int, data: bytes) -> None:
    """Write all of `data`, or raise OSError."""
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, "only a part of the line was written")


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
