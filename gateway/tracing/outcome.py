"""The outcome of an attempt or an exchange: a value that its answer carries, and that its span ends with."""

import asyncio

from msgspec import Struct

from gateway.dialects.conversation import ChatResponse
from gateway.dialects.shared.reported_error import ResponseFailure, failure_of
from gateway.errors import ExchangeError, Kind, kind_of_status

OK = "ok"
CLIENT_ABORT = "client_abort"
SHUTDOWN = "shutdown"
"""The gateway stopped before the response was whole."""
HEDGE_LOST = "hedge_lost"
"""An attempt cancelled because another one, made beside it, was answered first."""
UNREAD = "unread"
"""A response that was relayed, but could not be read: whether it is a success is unknown."""

_NO_ERRORS = frozenset({OK, CLIENT_ABORT, HEDGE_LOST, UNREAD})


class Outcome(Struct, frozen=True):
    """The end of an attempt or an exchange.

    Attributes:
        kind: "ok", the value of an error's `Kind`, or one of the constants above.
        status: HTTP status the client got; None if it got none.
        message: Error text; secrets are redacted when the span ends.
        error_type: The provider's word for an error that it reported in a success.

    """

    kind: str = OK
    status: int | None = None
    message: str | None = None
    error_type: str | None = None

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


def of_failure(failure: ResponseFailure) -> Outcome:
    """Return the outcome of a response that reports a failure in its body: that of the status it stands for."""
    kind = kind_of_status(failure.status) or Kind.SERVER
    return Outcome(kind.value, None, failure.message, failure.type)


def of_response(
    status: int, response: ChatResponse | None, *, streamed: bool, ended: bool, unread: bool = False
) -> Outcome:
    """Return the outcome of a response that came to its end.

    `response`: the parsed response, None if it was not read. `ended`: the stream's own last event has passed. `unread`:
    a part of it could not be read. A response fails by an error or a finish word of failure in it, and a stream also if
    it stops without that event and without a finish reason.
    """
    kind = kind_of_status(status)
    if kind is not None:
        return Outcome(kind.value)
    if response is not None and (failure := failure_of(response)) is not None:
        return of_failure(failure)
    if unread:
        return Outcome(UNREAD)
    if streamed and response is not None and not ended and not response.finish_reasons:
        return Outcome(Kind.CLOSED.value, None, "the stream stopped before its last event")
    return Outcome(OK)
