"""Events that wait to be sent: in order, bounded, and never a wait for who puts one in.

The sender takes copies from the front and removes them when they have been received, so that nothing is lost between.
"""

import threading
import time
from collections import deque
from itertools import islice

_BYTES = 64 << 20


class Outbox:
    """The queue. `dropped` counts what did not get in, was refused, or was given up."""

    def __init__(self, most: int, most_bytes: int = _BYTES) -> None:
        self.most = most
        self.dropped = 0
        self._most_bytes = most_bytes
        self._events: deque[bytes] = deque()
        self._bytes = 0
        self._put = self._gone = 0  # ever
        self._hurried = 0
        self._idle = self.closed = False
        # A lock that its holder may take again: an event may come from a signal handler, or a finalizer.
        lock = threading.RLock()
        self._filled = threading.Condition(lock)
        self._emptied = threading.Condition(lock)

    def __repr__(self) -> str:
        return f"<Outbox waiting={len(self._events)} dropped={self.dropped}>"

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: bytes) -> bool:
        """Add one event; False where there is no room for it: the newest is what is dropped."""
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
        """Wait for events, then `linger` seconds for more, and return the first ones. They stay in.

        None are returned once it is closed.
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
        """Wait; only `hurried` seconds while somebody waits for the queue to be empty."""
        with self._filled:
            start = time.monotonic()
            while (
                not self.closed
                and (left := start + (min(hurried, seconds) if self._hurried else seconds) - time.monotonic()) > 0
            ):
                self._filled.wait(left)

    def received(self, count: int) -> None:
        """Remove the first events."""
        with self._emptied:
            for _ in range(count):
                self._bytes -= len(self._events.popleft())
            self._gone += count
            self._emptied.notify_all()

    def drop(self, index: int, count: int = 1) -> None:
        """Remove events that nobody wants, from a place on, and count them."""
        with self._emptied:
            for _ in range(count):
                self._bytes -= len(self._events[index])
                del self._events[index]
            self._gone += count
            self.dropped += count
            self._emptied.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until all that is in now has gone; False where it has not in time."""
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
        """Take nothing any more, and hand nothing out."""
        with self._filled:
            self.closed = True
            self._filled.notify()
