"""A bounded queue of events, in order, which never blocks its producers.

The sender reads a batch from the front and removes it once the gateway has accepted it, so that none is lost between.
"""

import threading
import time
from collections import deque
from itertools import islice

_BYTES = 64 << 20


class Outbox:
    """The queue. `dropped` counts events that found it full, that the gateway refused, or that were given up.

    `most`: the number of events, `most_bytes` the bytes that it holds at most.
    """

    def __init__(self, most: int, most_bytes: int = _BYTES) -> None:
        self.most = most
        self.dropped = 0
        self._most_bytes = most_bytes
        self._events: deque[bytes] = deque()
        self._bytes = 0
        self._put = self._gone = 0  # events ever added and ever removed
        self._hurried = 0
        self._idle = self.closed = False
        # Reentrant, since an event may come from a signal handler or a finalizer.
        lock = threading.RLock()
        self._filled = threading.Condition(lock)
        self._emptied = threading.Condition(lock)

    def __repr__(self) -> str:
        return f"<Outbox waiting={len(self._events)} dropped={self.dropped}>"

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: bytes) -> bool:
        """Add one event; return False if the queue is full, and drop the event."""
        with self._filled:
            if self.closed or len(self._events) >= self.most or self._bytes + len(event) > self._most_bytes:
                self.dropped += 1
                return False
            self._events.append(event)
            self._bytes += len(event)
            self._put += 1
            if self._idle:
                self._filled.notify()
        return True

    def batch(self, most: int, most_bytes: int, linger: float) -> list[bytes]:
        """Wait for events, then `linger` seconds for more, and return the first ones, which stay in the queue.

        Returns none once the queue is closed.
        """
        with self._filled:
            while not self._events and not self.closed:
                self._idle = True
                self._filled.wait()
            self._idle = False
            if self.closed:
                return []
            until = time.monotonic() + linger
            while len(self._events) < most and not self._hurried and (left := until - time.monotonic()) > 0:
                self._filled.wait(left)
            events: list[bytes] = []
            size = 0
            for event in islice(self._events, most):
                size += len(event)
                if events and size > most_bytes:
                    break
                events.append(event)
            return events

    def pause(self, seconds: float, hurried: float) -> None:
        """Sleep for `seconds`, but not longer than `hurried` while a flush is waiting."""
        with self._filled:
            start = time.monotonic()
            while (
                not self.closed
                and (left := start + (min(hurried, seconds) if self._hurried else seconds) - time.monotonic()) > 0
            ):
                self._filled.wait(left)

    def received(self, count: int) -> None:
        """Remove the first events, which were accepted."""
        with self._emptied:
            for _ in range(count):
                self._bytes -= len(self._events.popleft())
            self._gone += count
            self._emptied.notify_all()

    def drop(self, index: int, count: int = 1) -> None:
        """Remove `count` events from `index` on, and count them as dropped."""
        with self._emptied:
            for _ in range(count):
                self._bytes -= len(self._events[index])
                del self._events[index]
            self._gone += count
            self.dropped += count
            self._emptied.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until all events of now are removed; return False if they are not within `timeout` seconds."""
        with self._emptied:
            until, target = time.monotonic() + timeout, self._put
            self._hurried += 1
            self._filled.notify()
            try:
                while self._gone < target and (left := until - time.monotonic()) > 0:
                    self._emptied.wait(left)
                return self._gone >= target
            finally:
                self._hurried -= 1

    def close(self) -> None:
        """Accept and return no more events."""
        with self._filled:
            self.closed = True
            self._filled.notify()
