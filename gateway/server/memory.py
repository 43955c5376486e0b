"""The memory of a worker: large blocks are returned to the system at once, small ones when the worker is idle.

glibc raises the size from which it maps blocks with each large one that is freed: after a burst of long prompts all
later ones come from its heap, which shrinks at its end only, and a worker kept all that it ever had used. Here that
size is fixed, and the heap is trimmed after large use. Other C libraries are left as they are.
"""

import asyncio
import ctypes
import logging
import mmap
from pathlib import Path

log = logging.getLogger("gateway")

MAPPED_BYTES = 256 * 1024
"""Blocks from this size on are mapped: above the event loop's buffers, below long prompts."""

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_HEAP_SPARE = 8 * 1024 * 1024
_ARENAS = 2

_GROWTH = 32 * 1024 * 1024
_STATM = Path("/proc/self/statm")


def tune() -> bool:
    """Set the allocator of this process, before it has threads; return whether it could be set."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    settings = {_MMAP_THRESHOLD: MAPPED_BYTES, _TRIM_THRESHOLD: _HEAP_SPARE, _ARENA_MAX: _ARENAS}
    results = [mallopt(name, value) for name, value in settings.items()]
    return results == [1] * len(settings)


def trim() -> bool:
    """Return free memory of the heap to the system; whether there was any. Takes milliseconds for each 100 MB."""
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return False
    return bool(malloc_trim(0))


def resident() -> int:
    """Return the resident memory of this process in bytes; 0 if the system does not report it."""
    try:
        return int(_STATM.read_bytes().split()[1]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return 0


class Trimmer:
    """Trims the heap once after each growth by 32 MB, as soon as nothing is in flight."""

    def __init__(self) -> None:
        self._least = resident()
        self.trims = 0

    def __repr__(self) -> str:
        return f"<Trimmer trims: {self.trims}>"

    async def tick(self, in_flight: int) -> None:
        """Trim in a thread if that is due. Called about once a second."""
        now = resident()
        self._least = min(self._least, now)
        if in_flight or now < self._least + _GROWTH:
            return
        self.trims += 1
        await asyncio.to_thread(trim)
        self._least = resident()
