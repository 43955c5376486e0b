"""The data folder: made where it is not there, and looked after by one recorder at a time."""

import fcntl
import os
from pathlib import Path

from gateway.errors import ConfigError


def hold(data: Path) -> int:
    """Make the data folder and lock it until the file that is returned is closed. Raises ConfigError."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"the data folder {data} cannot be used: {error.strerror}; choose another with --data"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ConfigError(f"another gateway is using {data}; stop it, or choose another folder with --data") from None
    return lock
