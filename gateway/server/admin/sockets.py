"""Where the recorder of a data folder listens."""

import os
import tempfile
from hashlib import sha256
from pathlib import Path

# sun_path holds 108 bytes on Linux and 104 on macOS, its end included.
_SOCKET_PATH_MAX = 100


def socket_path(data: Path) -> Path:
    """Return where the recorder of a data folder listens: in the folder, or in a private one where that is too long."""
    inside = data / "recorder.sock"
    if len(os.fsencode(inside)) <= _SOCKET_PATH_MAX:
        return inside
    folder = Path(tempfile.gettempdir()) / f"tracing-gateway-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    stat = folder.stat()
    if stat.st_uid != os.getuid() or stat.st_mode & 0o077:
        raise PermissionError(f"{folder} is not private to this user; remove it, or use a shorter --data path")
    return folder / f"{sha256(os.fsencode(data)).hexdigest()[:16]}.sock"
