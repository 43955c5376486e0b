"""The delivery of a process: its settings, its queue, and the thread that sends the queued events.

A forked child begins with an empty queue and a thread of its own; its parent sends the events queued before.
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

# Seconds that the exit of a process waits: for a gateway that answers, and for one that does not.
_AT_EXIT, _AT_EXIT_AWAY = 3.0, 1.0

_encoder = msgspec.json.Encoder()


class Delivery:
    """The delivery of one process. `put` may be called from any thread; it neither blocks nor raises."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.outbox = Outbox(settings.queue_events)
        self.sender = Sender(self.outbox, lambda: self.settings)
        self._starting = threading.RLock()
        self._thread: threading.Thread | None = None
        self._warned: set[str] = set()

    def put(self, event: Mapping[str, Any]) -> None:
        """Queue one event, whose values must be encodable."""
        if not self.settings.enabled:
            return
        if self.outbox.put(_encoder.encode(event)):
            self._start()
        elif not self.outbox.closed:
            self.warn_once("full", "the queue is full (%d events): the newest are dropped", len(self.outbox))

    def warn_once(self, kind: str, message: str, *values: object, exc_info: bool = False) -> None:
        """Log a warning, once for each kind."""
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning(message, *values, exc_info=exc_info)

    def flush(self, timeout: float) -> bool:
        """Wait until all queued events are accepted or given up; False if not within `timeout` seconds."""
        if not len(self.outbox):
            return True
        if not self._start():
            self.sender.drain(timeout)
        return self.outbox.flush(timeout)

    def end(self) -> None:
        """Wait some seconds for the queued events, fewer if the gateway does not answer, and close the queue."""
        if not self.flush(_AT_EXIT_AWAY) and (self.sender.away or not self.flush(_AT_EXIT - _AT_EXIT_AWAY)):
            log.warning("%d events were not sent before the process ended", len(self.outbox))
        self.outbox.close()

    def _start(self) -> bool:
        """Start the thread if it does not run; return False if none can be started, as the interpreter exits."""
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


def _from_environment() -> Delivery:
    try:
        return Delivery(from_environ(os.environ))
    except ValueError as error:
        log.warning("GATEWAY_URL, GATEWAY_TOKEN: %s. Nothing is sent.", error)
        return Delivery(Settings(enabled=False))


_delivery: Delivery | None = None
_creating = threading.RLock()


def this_process() -> Delivery:
    """Return this process's delivery; the first call reads the environment."""
    global _delivery  # noqa: PLW0603
    if _delivery is None:
        with _creating:
            if _delivery is None:
                _delivery = _from_environment()
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
    """Set the gateway's address, and the metadata of all runs. Settings that are not given keep their values.

    Args:
        url: The gateway's URL; by default GATEWAY_URL, else http://127.0.0.1:4000.
        token: Its `$.auth.token`, if it needs one; by default GATEWAY_TOKEN.
        enabled: With False, no event is queued and no header is set.
        queue_events: How many events are queued while the gateway is away (10,000) before new ones are dropped.
        timeout: Seconds of each socket operation of a request with events (10).
        metadata: application, environment, session, user and the rest of `Metadata`.

    Raises:
        ValueError: For an invalid value.
        TypeError: For an unknown name.

    """
    delivery = this_process()
    if url is not None and delivery.settings == Settings(enabled=False):
        enabled = enabled is not False
    delivery.settings = changed(
        delivery.settings,
        url=url, token=token, enabled=enabled, queue_events=queue_events, timeout=timeout, metadata=metadata,
    )  # fmt: skip
    delivery.outbox.most = delivery.settings.queue_events


def flush(timeout: float = 5.0) -> bool:
    """Wait until all events so far are accepted or given up; return False if they are not within `timeout` seconds.

    It blocks; from a coroutine call `await asyncio.to_thread(flush)`.
    """
    return this_process().flush(timeout)


def dropped() -> int:
    """Return the number of dropped events of this process: the queue was full, or the gateway refused them."""
    return this_process().outbox.dropped


def _end() -> None:
    if _delivery is not None:
        _delivery.end()


def _forked() -> None:
    global _delivery, _creating  # noqa: PLW0603
    _creating = threading.RLock()
    if _delivery is not None:
        _delivery = Delivery(_delivery.settings)


def _end_in_child_processes() -> None:
    """Flush at the exit of a multiprocessing child, too, which runs only multiprocessing's own exit handlers."""
    processes, finalizers = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if processes is not None and finalizers is not None and processes.parent_process() is not None:
        finalizers.Finalize(None, _end, exitpriority=0)


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
