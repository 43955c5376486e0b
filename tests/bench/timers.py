"""Timers to the microsecond on an event loop, for the upstream's delays.

uvloop's own timers tick by whole milliseconds, so that a request that arrives half a millisecond late would be answered
no later: the very cost that is measured would vanish. Linux's timerfd has no such grid (Python has it from 3.13 on).
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import os
import time
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_NONBLOCK: Final = 0o4000
_ABSOLUTE: Final = 1


class _Itimerspec(ctypes.Structure):
    """`struct itimerspec`: an interval, unused, and when to fire."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Timers:
    """Callbacks by deadline on `time.monotonic_ns`, over one timer of the kernel."""

    def __init__(self) -> None:
        self._libc: Final = ctypes.CDLL(None, use_errno=True)
        self._fd: Final[int] = self._libc.timerfd_create(time.CLOCK_MONOTONIC, _NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order: Final = count()
        asyncio.get_running_loop().add_reader(self._fd, self._fire)

    def at(self, deadline_ns: int, callback: Callable[[], None]) -> None:
        """Call back as soon as `deadline_ns` has come."""
        entry = (deadline_ns, next(self._order), callback)
        heapq.heappush(self._due, entry)
        if self._due[0] is entry:
            self._arm()

    def _arm(self) -> None:
        seconds, nanoseconds = divmod(self._due[0][0], 1_000_000_000)
        spec = _Itimerspec(0, 0, seconds, nanoseconds)
        self._libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(spec), None)

    def _fire(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # it was set anew since the loop saw it fire
        while self._due and self._due[0][0] <= time.monotonic_ns():
            heapq.heappop(self._due)[2]()
        if self._due:
            self._arm()
