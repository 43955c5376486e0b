"""The outcome of an attempt or an exchange: a value that its answer carries, and that its span ends with."""

import asyncio

from msgspec import Struct

from gateway.dialects.conversation import ChatResponse
from gateway.errors import ExchangeError, Kind, kind_of_status

OK = "ok"
CLIENT_ABORT = "client_abort"
SHUTDOWN = "shutdown"
"""The gateway stopped before the response was whole."""
HEDGE_LOST = "hedge_lost"
"""An attempt cancelled because another one, made beside it, was answered first."""

_NO_ERRORS = frozenset({OK, CLIENT_ABORT, HEDGE_LOST})


class Outcome(Struct, frozen=True):
    """The end of an attempt or an exchange.

    Attributes:
        kind: "ok", the value of an error's `Kind`, or one of the constants above.
        status: HTTP status the client got; None if it got none.
        message: Error text; secrets are redacted when the span ends.

    """

    kind: str = OK
    status: int | None = None
    message: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether the span's status is an error."""
        return self.kind not in _NO_ERRORS


CLIENT_LEFT = Outcome(CLIENT_ABORT, None, "the client left before the response was whole")


def of_error(error: ExchangeError) -> Outcome:
    """Return the outcome of an exchange that ends with an error of the gateway's."""
    return Outcome(error.kind.value, error.status, error.message)


def of_exception(error: BaseException | None, *, stopping: bool) -> Outcome:
    """Return the outcome that an exception means. `stopping`: the worker drains, so no client left."""
    if isinstance(error, ExchangeError):
        return Outcome(error.kind.value, None, error.message)
    # A client that leaves cancels the handler, or breaks the connection that is read or written.
    if isinstance(error, (asyncio.CancelledError, ConnectionError)):
        if stopping:
            return Outcome(SHUTDOWN, None, "the gateway stopped before the response was whole")
        return CLIENT_LEFT
    return Outcome(Kind.GENERIC.value, None, "the gateway failed; see its log")


def of_response(status: int, response: ChatResponse | None, *, streamed: bool, ended: bool) -> Outcome:
    """Return the outcome of a response that came to its end.

    `response`: the parsed response, None if it was not read. `ended`: the stream's own last event has passed. A stream
    fails if it has an error, or stops without that event and without a finish reason.
    """
    kind = kind_of_status(status)
    if kind is not None:
        return Outcome(kind.value)
    if streamed and response is not None:
        if response.error_type or response.error_message:
            return Outcome(Kind.SERVER.value)
        if not ended and not response.finish_reasons:
            return Outcome(Kind.CLOSED.value, None, "the stream stopped before its last event")
    return Outcome(OK)
