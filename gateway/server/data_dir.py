"""The data directory: created if missing, locked by one recorder at a time, and the address of that recorder's socket.

Other files below it belong to the store (`gateway.store.recorder`) and to the runtime overrides
(`gateway.server.live_config.overrides`).
"""

import fcntl
import os
import re
import tempfile
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from gateway.errors import ConfigError

# A question mark begins parameters for DuckDB, and surrogates are bytes that are no UTF-8 (PEP 383).
_UNOPENABLE = re.compile(r"[?\\\ud800-\udfff]")
LOCK = "lock"
SOCKET = "recorder.sock"

# A gateway that is being killed takes a moment to end. Its children hold the lock until they have ended, in a second.
_ENDING_SECONDS, _LEAVING_SECONDS = 0.2, 3.0
_POLL_SECONDS = 0.02

# sun_path holds 108 bytes on Linux and 104 on macOS, the terminating NUL included.
_SOCKET_PATH_MAX = 100


def open_lock(data: Path, name: str) -> int:
    """Create the data directory and a lock file in it; return its descriptor, not locked yet. Raises ConfigError."""
    path = str(data.absolute())
    if _UNOPENABLE.search(path):
        shown = path.encode("utf-8", "replace").decode()
        raise ConfigError(
            f"the data folder {shown} cannot be used: DuckDB opens no file whose path has a ?, a backslash, or bytes "
            "that are no UTF-8; choose another with --data"
        )
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(data / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"the data folder {data} cannot be used: {error.strerror}; choose another with --data"
        ) from None


def try_lock(lock: int) -> bool:
    """Lock a file for its descriptor, until that is closed or its process ends; return False if it is locked."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_data_dir(data: Path) -> int:
    """Create and lock the data directory; return the locked file descriptor. Raises ConfigError.

    The lock of a gateway that has been killed is waited for: its children are about to end.
    """
    lock = open_lock(data, LOCK)
    began = time.monotonic()
    while not try_lock(lock):
        if time.monotonic() - began > (_ENDING_SECONDS if _owner_runs(lock) else _LEAVING_SECONDS):
            os.close(lock)
            raise ConfigError(f"another gateway is using {data}; stop it, or choose another folder with --data")
        time.sleep(_POLL_SECONDS)
    with suppress(OSError):  # of a full disk
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _owner_runs(lock: int) -> bool:
    """Whether the process whose id is in the lock file runs; True if that is unknown."""
    try:
        pid = int(os.pread(lock, 32, 0))
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):  # not Linux
        return True
    return state not in {b"Z", b"X"}  # killed, and not yet waited for


def socket_path(data: Path) -> Path:
    """Return the path of the recorder's unix socket.

    It is in the data directory, or, if that path is too long for a socket, in a private directory of the user's below
    the temporary one. Raises PermissionError if that directory is not private.
    """
    path = data / SOCKET
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
        return path
    private = Path(tempfile.gettempdir()) / f"tracing-gateway-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    stat = private.stat()
    if stat.st_uid != os.getuid() or stat.st_mode & 0o077:
        raise PermissionError(f"{private} is not private to this user; remove it, or use a shorter --data path")
    return private / f"{sha256(os.fsencode(data)).hexdigest()[:16]}.sock"
