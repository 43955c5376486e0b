"""The thread that sends events: in order, in batches, with retries while the gateway is away."""

import http.client
import logging
import random
import re
import ssl
import time
from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from gateway.client.outbox import Outbox
from gateway.client.settings import Address, Settings

log = logging.getLogger("gateway.client")

# Of one batch: events, bytes, and seconds to wait for more events.
_EVENTS = 500
_BYTES = 1 << 20
_LINGER = 0.05
# Seconds between tries: the shortest, the longest, and the longest while a flush is waiting.
_SHORTEST, _LONGEST, _HURRIED = 0.1, 10.0, 0.25
_REPLY = 1 << 16
# The path of a refused event, such as `$.events[2].data.output`.
_REFUSED = re.compile(rb"\$(?:\.events)?\[(\d+)\]")

_FAILURES = (OSError, http.client.HTTPException)


class Do(Enum):
    """The action on a batch."""

    NEXT = "accepted"
    AGAIN = "send again later"
    SMALLER = "send fewer events at once"
    WITHOUT = "send again without one event"
    GIVE_UP = "drop"


class Verdict(Struct, frozen=True):
    """The action on a batch, by its response. `index`: the event to leave out."""

    do: Do
    index: int = 0


def verdict(status: int, body: bytes, count: int) -> Verdict:
    """Return the action for a response to a batch of `count` events."""
    if 200 <= status < 300:
        return Verdict(Do.NEXT)
    if status in {408, 425, 429} or status >= 500:
        return Verdict(Do.AGAIN)
    if status == 413 and count > 1:
        return Verdict(Do.SMALLER)
    if status == 422 and (found := _REFUSED.search(body)) and int(found[1]) < count:
        return Verdict(Do.WITHOUT, int(found[1]))
    return Verdict(Do.GIVE_UP)


def backoff(failures: int, fraction: float) -> float:
    """Return the seconds to wait after so many failures in a row. `fraction`: random, from 0 to 1."""
    return min(_LONGEST, _SHORTEST * 2.0 ** min(failures - 1, 20)) * (0.5 + fraction / 2)


class Sender:
    """Sends the events of an outbox to the configured gateway."""

    def __init__(
        self, outbox: Outbox, settings: Callable[[], Settings], random_fraction: Callable[[], float] = random.random
    ) -> None:
        self._outbox = outbox
        self._settings = settings
        self._random = random_fraction
        self._most = _EVENTS
        self._failures = 0
        self._warned: set[str] = set()
        self._connection: http.client.HTTPConnection | None = None
        self._address: Address | None = None

    def __repr__(self) -> str:
        return f"<Sender {self._outbox!r} failures={self._failures}>"

    @property
    def away(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    def run(self) -> None:
        """Send until the outbox is closed."""
        while events := self._outbox.batch(self._most, _BYTES, _LINGER):
            self._shielded(events)
        self._close()

    def drain(self, seconds: float) -> None:
        """Send the queued events from the calling thread, and begin no request after `seconds`."""
        until = time.monotonic() + seconds
        while len(self._outbox) and time.monotonic() < until:
            self._shielded(self._outbox.batch(self._most, _BYTES, 0.0))
        self._close()

    def _shielded(self, events: list[bytes]) -> None:
        try:
            self._try(events)
        except Exception:
            self._close()
            self._warn_once("broken", "events could not be sent; %d are dropped", len(events), exc_info=True)
            self._outbox.drop(0, len(events))

    def _try(self, events: list[bytes]) -> None:
        settings = self._settings()
        url = f"{settings.address.url}/events"
        try:
            status, body = self._post(settings, b'{"events":[' + b",".join(events) + b"]}")
        except _FAILURES as error:
            self._close()
            self._failed(url, f"{type(error).__name__}: {error}")
            return
        found = verdict(status, body, len(events))
        if found.do is Do.AGAIN:
            self._failed(url, f"status {status}")
            return
        self._failures = 0
        self._warned.discard("away")
        match found.do:
            case Do.NEXT:
                self._outbox.received(len(events))
                self._most = _EVENTS
            case Do.SMALLER:
                self._most = len(events) // 2
            case Do.WITHOUT:
                self._refused(url, status, body, 1)
                self._outbox.drop(found.index)
            case _:
                self._refused(url, status, body, len(events))
                self._outbox.drop(0, len(events))
                self._most = _EVENTS

    def _post(self, settings: Settings, body: bytes) -> tuple[int, bytes]:
        """Post a batch; retry once on a new connection if an idle one turns out to be closed."""
        headers = {"Content-Type": "application/json"}
        if settings.token:
            headers["x-gateway-token"] = settings.token
        connection, again = self._connected(settings)
        while True:
            try:
                connection.request("POST", f"{settings.address.path}/events", body, headers)
                response = connection.getresponse()
                reply = response.read(_REPLY)
                if not response.isclosed():
                    self._close()
            except (ConnectionError, http.client.BadStatusLine):
                if not again:
                    raise
                again = False
                connection.close()
            else:
                return response.status, reply

    def _connected(self, settings: Settings) -> tuple[http.client.HTTPConnection, bool]:
        """Return a connection, and whether it was used before."""
        address = settings.address
        if self._connection is not None and self._address == address:
            return self._connection, True
        self._close()
        self._address = address
        if address.scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(
                address.host, address.port, timeout=settings.timeout, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(address.host, address.port, timeout=settings.timeout)
        return self._connection, False

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._address = None

    def _failed(self, url: str, why: str) -> None:
        self._failures += 1
        self._warn_once(
            "away",
            "events cannot be sent to %s now (%s). Up to %d wait for it, later ones are dropped. Start the"
            " gateway there, or set its URL with configure(url=...) or GATEWAY_URL.",
            url, why, self._outbox.most,
        )  # fmt: skip
        self._outbox.pause(backoff(self._failures, self._random()), _HURRIED)

    def _refused(self, url: str, status: int, body: bytes, count: int) -> None:
        hint = "; set its token with configure(token=...) or GATEWAY_TOKEN" if status in {401, 403} else ""
        reply = body[:300].decode("utf-8", "replace")
        self._warn_once(
            f"status {status}", "%s refused %d events with status %d: %s%s", url, count, status, reply, hint
        )

    def _warn_once(self, kind: str, message: str, *values: object, exc_info: bool = False) -> None:
        """Log a warning, once for each kind."""
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning(message, *values, exc_info=exc_info)
