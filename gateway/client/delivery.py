"""What a process has one of: the settings, the queue, and the thread that empties it.

A child that was forked begins with an empty queue and a thread of its own; its parent sends what it has queued.
"""

import atexit
import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any, Unpack

import msgspec

from gateway.client.outbox import Outbox
from gateway.client.sender import Sender
from gateway.client.settings import Metadata, Settings, changed, from_environ

log = logging.getLogger("gateway.client")

# Seconds that the end of a process waits: for a gateway that answers, and for one that does not.
_AT_EXIT, _AT_EXIT_AWAY = 3.0, 1.0

_encoder = msgspec.json.Encoder()


class Delivery:
    """One process's. `put` may be called from anywhere; it neither waits nor raises."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.outbox = Outbox(settings.queue_events)
        self.sender = Sender(self.outbox, lambda: self.settings)
        self._starting = threading.RLock()
        self._thread: threading.Thread | None = None
        self._said: set[str] = set()

    def put(self, event: Mapping[str, Any]) -> None:
        """Queue one event, whose values can be encoded."""
        if not self.settings.enabled:
            return
        if self.outbox.put(_encoder.encode(event)):
            self._start()
        elif not self.outbox.closed:
            self.say("full", "the queue is full (%d events): the newest are dropped", len(self.outbox))

    def say(self, kind: str, message: str, *values: object, exc_info: bool = False) -> None:
        """Log a kind of problem once."""
        if kind not in self._said:
            self._said.add(kind)
            log.warning(message, *values, exc_info=exc_info)

    def flush(self, timeout: float) -> bool:
        """Wait until what is queued has been received or given up; False where it has not in time."""
        if not len(self.outbox):
            return True
        if not self._start():
            self.sender.drain(timeout)
        return self.outbox.flush(timeout)

    def end(self) -> None:
        """Give what is queued some seconds to be sent, fewer where the gateway does not answer, and send no more."""
        if not self.flush(_AT_EXIT_AWAY) and (self.sender.away or not self.flush(_AT_EXIT - _AT_EXIT_AWAY)):
            log.warning("%d events were not sent before the process ended", len(self.outbox))
        self.outbox.close()

    def _start(self) -> bool:
        """Start the thread where it does not run; False where none can start any more, as the interpreter ends."""
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self.sender.run, name="gateway.client", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return False
                self._thread = thread
                _end_in_child_processes()
            return True


def _made() -> Delivery:
    try:
        return Delivery(from_environ(os.environ))
    except ValueError as error:
        log.warning("GATEWAY_URL, GATEWAY_TOKEN: %s. Nothing is sent.", error)
        return Delivery(Settings(enabled=False))


_delivery: Delivery | None = None
_making = threading.RLock()


def this_process() -> Delivery:
    """Return this process's. The environment is read when it is first needed."""
    global _delivery  # noqa: PLW0603
    if _delivery is None:
        with _making:
            if _delivery is None:
                _delivery = _made()
    return _delivery


def configure(
    *,
    url: str | None = None,
    token: str | None = None,
    enabled: bool | None = None,
    queue_events: int | None = None,
    timeout: float | None = None,
    **metadata: Unpack[Metadata],
) -> None:
    """Say where the gateway is, and what all runs belong to. What is not given stays as it is.

    Args:
        url: The gateway's; else GATEWAY_URL, else http://127.0.0.1:4000.
        token: Its `$.auth.token`, where it needs one; else GATEWAY_TOKEN.
        enabled: False: no event is queued, and no header is set.
        queue_events: How many events may wait while the gateway is away (10,000); the newest are dropped then.
        timeout: Seconds for one step of a request with events (10).
        metadata: application, environment, session, user and the rest of `Metadata`.

    Raises:
        ValueError: Where a value cannot be.
        TypeError: For any other name.

    """
    mine = this_process()
    if url is not None and mine.settings == Settings(enabled=False):
        enabled = enabled is not False
    mine.settings = changed(
        mine.settings,
        url=url, token=token, enabled=enabled, queue_events=queue_events, timeout=timeout, metadata=metadata,
    )  # fmt: skip
    mine.outbox.most = mine.settings.queue_events


def flush(timeout: float = 5.0) -> bool:
    """Wait until all events so far have been received, or given up; False where they have not in `timeout` seconds.

    It blocks: from a coroutine call `await asyncio.to_thread(flush)`.
    """
    return this_process().flush(timeout)


def dropped() -> int:
    """Return how many events of this process were dropped: the queue was full, or the gateway refused them."""
    return this_process().outbox.dropped


def _end() -> None:
    if _delivery is not None:
        _delivery.end()


def _forked() -> None:
    global _delivery, _making  # noqa: PLW0603
    _making = threading.RLock()
    if _delivery is not None:
        _delivery = Delivery(_delivery.settings)


def _end_in_child_processes() -> None:
    """Flush at the end of a child of multiprocessing's too, which runs no exit handlers but its own."""
    processes, finalizers = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if processes is not None and finalizers is not None and processes.parent_process() is not None:
        finalizers.Finalize(None, _end, exitpriority=0)


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
