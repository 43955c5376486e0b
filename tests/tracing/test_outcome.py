"""Outcomes of attempts and exchanges, and the single place in which each of their spans ends."""

import ast
import asyncio
from collections import Counter

import pytest

from gateway.dialects.conversation import ChatResponse, Message
from gateway.errors import ExchangeError, Kind, kind_of_status
from gateway.tracing.outcome import (
    CLIENT_ABORT,
    HEDGE_LOST,
    OK,
    SHUTDOWN,
    UNREAD,
    Outcome,
    of_error,
    of_exception,
    of_response,
)
from tests.support.paths import ROOT

PACKAGE = ROOT / "gateway"
KINDS = [kind.value for kind in Kind]


@pytest.mark.parametrize("kind", [*KINDS, SHUTDOWN])
def test_failures_are_errors(kind: str):
    """Every error kind, and a response that the gateway's own stop cut short, sets the span's status."""
    assert Outcome(kind).is_error


@pytest.mark.parametrize("kind", [OK, CLIENT_ABORT, HEDGE_LOST])
def test_the_clients_doing_is_no_error(kind: str):
    """A success, a client that left and a hedge that lost leave the span's status unset."""
    assert not Outcome(kind).is_error


@pytest.mark.parametrize("kind", Kind)
def test_an_error_response_has_the_errors_status(kind: Kind):
    """An exchange that the gateway answers with an error has its kind, status and message."""
    assert of_error(ExchangeError(kind, "m")) == Outcome(kind.value, kind.fact.status, "m")


def test_an_errors_own_status_has_precedence():
    """An error with a status of its own keeps that one."""
    assert of_error(ExchangeError(Kind.AUTH, "m", status=403)) == Outcome("auth", 403, "m")


@pytest.mark.parametrize("stopping", [False, True])
@pytest.mark.parametrize("kind", Kind)
def test_a_raised_error_has_sent_no_status(kind: Kind, stopping: bool):
    """An ExchangeError that leaves the block has its kind and message; the client got no status by it."""
    assert of_exception(ExchangeError(kind, "m"), stopping=stopping) == Outcome(kind.value, None, "m")


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), ConnectionResetError(), BrokenPipeError(), ConnectionAbortedError()], ids=repr
)
@pytest.mark.parametrize(("stopping", "kind"), [(False, CLIENT_ABORT), (True, SHUTDOWN)])
def test_a_cancellation_is_the_clients_or_the_gateways_stop(error: BaseException, stopping: bool, kind: str):
    """A cancelled handler or a broken connection is a client that left, unless the worker drains."""
    outcome = of_exception(error, stopping=stopping)
    assert (outcome.kind, outcome.status) == (kind, None)
    assert outcome.message


@pytest.mark.parametrize("stopping", [False, True])
@pytest.mark.parametrize("error", [ZeroDivisionError("a secret"), TimeoutError(), KeyboardInterrupt(), None], ids=repr)
def test_any_other_exception_is_the_gateways_fault(error: BaseException | None, stopping: bool):
    """Of another exception, and of a block that set no outcome, the log has the text and the span has not."""
    assert of_exception(error, stopping=stopping) == Outcome("generic", None, "the gateway failed; see its log")


@pytest.mark.parametrize("status", [400, 401, 402, 404, 418, 429, 500, 529])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_status_decides_before_the_body(status: int, streamed: bool):
    """A response with an error status failed, whatever was read of its body."""
    kind = kind_of_status(status)
    assert kind is not None
    whole = ChatResponse(finish_reasons=["stop"])
    assert of_response(status, whole, streamed=streamed, ended=True) == Outcome(kind.value)


ERROR_TYPE = ChatResponse(error_type="overloaded_error")
ERROR_MESSAGE = ChatResponse(error_message="Overloaded")
RATE_LIMITED = ChatResponse(error_type="rate_limit_error", error_message="m")
FAILED = ChatResponse(output_messages=[Message(role="assistant", parts=[], finish_reason="error")])


@pytest.mark.parametrize(
    ("response", "streamed", "ended", "kind"),
    [
        pytest.param(ChatResponse(), True, True, OK, id="its last event"),
        pytest.param(ChatResponse(finish_reasons=["stop"]), True, False, OK, id="a finish reason"),
        pytest.param(ChatResponse(), True, False, "upstream_abort", id="neither"),
        pytest.param(ERROR_TYPE, True, True, "server", id="an error's type"),
        pytest.param(ERROR_MESSAGE, True, True, "server", id="an error's message"),
        pytest.param(None, True, False, OK, id="a stream that is not read"),
        pytest.param(ERROR_MESSAGE, False, False, "server", id="a whole response with an error"),
        pytest.param(RATE_LIMITED, False, False, "rate_limit", id="a whole response with a rate limit"),
        pytest.param(FAILED, False, False, "server", id="a finish word of failure"),
        pytest.param(ChatResponse(), False, False, OK, id="a whole response"),
        pytest.param(None, False, False, OK, id="a whole response that is not read"),
    ],
)
def test_a_stream_fails_by_its_own_events(response: ChatResponse | None, streamed: bool, ended: bool, kind: str):
    """A stream with an error, or without an end of its own, failed; a whole body's framing is its end."""
    outcome = of_response(200, response, streamed=streamed, ended=ended)
    assert (outcome.kind, outcome.status) == (kind, None)
    assert bool(outcome.message) == (kind != OK)


@pytest.mark.parametrize("response", [None, ChatResponse(), ChatResponse(finish_reasons=["stop"])])
def test_a_response_that_was_not_read_is_not_ok(response: ChatResponse | None):
    """Neither a success nor a failure is known of a response of which a part could not be read."""
    for streamed in (False, True):
        outcome = of_response(200, response, streamed=streamed, ended=False, unread=True)
        assert outcome == Outcome(UNREAD)
        assert not outcome.is_error
    assert of_response(200, RATE_LIMITED, streamed=False, ended=False, unread=True).kind == "rate_limit"


def test_each_span_ends_in_one_place():
    """The spans of exchanges and attempts end where their `with` blocks are left; `client` is the application's SDK."""
    ends = Counter(
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "client"
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "end"
        and "span" in ast.unparse(node.func.value)
    )
    assert ends == {"tracing/exchange.py": 1, "tracing/attempt.py": 1}
