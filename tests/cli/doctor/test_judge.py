"""Hits are leaks by class, sink and configuration, and requests without their expected result are not checked."""

import pytest
from msgspec import structs

from gateway.cli.doctor.judge import Judge, remedy
from gateway.cli.doctor.process import Response
from gateway.cli.doctor.requests import Expected, Request
from gateway.cli.doctor.sinks import SINKS, Collected, Piece, Stored
from gateway.config.model import Capture
from tests.cli.doctor.examples import loopback, planted_canaries

SECRETS, CONTENT = ("secret",), ("content",)


def request(*, exchange: bool = False, **more: object) -> Request:
    """Return a request for which the provider is not asked."""
    values = {"expected": Expected(attempts=0, exchange=exchange), "marker": "mark-p001"} | more
    return Request(id="p001", row="an answer", case="chat", data=b"", **values)


@pytest.mark.parametrize(("store", "sinks"), [("full", {"log"}), ("metadata", {"log", "journals", "SQL", "segments"})])
def test_content_is_a_leak_where_it_may_not_be(store, sinks):
    """[capture] allows it in the store; nothing allows it in a log."""
    canaries, _, content = planted_canaries()
    pieces = [Piece(sink=sink, place="x", data=content.encode()) for sink in ("log", "journals", "SQL", "segments")]
    path = request(expected=Expected(), capture=Capture(store=store))
    judged = Judge(canaries, loopback(store), [path]).judge(Collected(pieces=pieces), {}, {}, {})
    assert {leak.sink for leak in judged.leaks} == sinks


def test_a_client_may_get_what_the_provider_said_and_nothing_else():
    """The provider's bytes pass unchanged; the same key in the gateway's own bytes is a leak."""
    canaries, key, _ = planted_canaries()
    got = {"p001": Response(status=200, body=key.encode())}
    judge = Judge(canaries, loopback(), [request(exchange=True)])
    judged = judge.judge(Collected(), got, {}, {"p001": b"you said " + key.encode()})
    assert (judged.leaks, judged.repeated) == ((), 1)
    judged = judge.judge(Collected(), got, {}, {"p001": b"nothing"})
    assert [(leak.sink, leak.path) for leak in judged.leaks] == [("client", "an answer: chat")]


def test_a_key_of_all_paths_is_blamed_on_the_path_it_stands_with():
    """The marker of a request in the same record names it; without one the request is unknown."""
    canaries, _, _ = planted_canaries()
    shared = canaries.secret("$.providers.x.api_key")
    pieces = [
        Piece(sink="journals", place="line 1", data=f"mark-p001 {shared}".encode()),
        Piece(sink="log", place="line 1", data=shared.encode()),
    ]
    judged = Judge(canaries, loopback(), [request()]).judge(
        Collected(pieces=pieces), {"p001": Response(status=200)}, {}, {}
    )
    assert [(leak.sink, leak.path) for leak in judged.leaks] == [("journals", "an answer: chat"), ("log", "any")]


def test_a_trace_id_names_the_request_of_a_record():
    """Spans have the trace of an exchange, not its marker."""
    canaries, _, _ = planted_canaries()
    data = f"{'ab' * 16} {canaries.secret('shared')}".encode()
    collected = Collected(
        pieces=[Piece(sink="OTLP spans", place="span", data=data)],
        stored={"mark-p001": Stored(trace="ab" * 16, outcome="ok")},
    )
    (leak,) = Judge(canaries, loopback(), [request()]).judge(collected, {}, {}, {}).leaks
    assert leak.path == "an answer: chat"


EXCHANGE = Stored(trace="ab" * 16, outcome="ok")
UNCHECKED = {
    "status": ({"status": 500}, "the client got 500, not 200"),
    "no response": ({"status": 0}, "the client got no response, not 200"),
    "attempts": ({"received": 2}, "the provider was asked 2 times, not 1"),
    "exchange": ({"stored": None}, "the store has no exchange of it"),
    "outcome": ({"stored": structs.replace(EXCHANGE, outcome="timeout")}, "its outcome is timeout, not ok"),
    "content": ({"content": False}, "its messages are not in the store, though $.capture.store is full"),
    "span": ({"exported": False}, "the collector got no span of it"),
}


@pytest.mark.parametrize(("change", "why"), [({}, None), *UNCHECKED.values()], ids=["as expected", *UNCHECKED])
def test_a_request_without_its_expected_result_is_not_checked(change, why):
    """Each part of the expectation is looked at, and only the one that is not met is named."""
    now = {"status": 200, "received": 1, "stored": EXCHANGE, "content": True, "exported": True} | change
    canaries, _, content = planted_canaries()
    expected = Expected(outcome="ok", stored=(content,))
    row = f"mark-p001 {content if now['content'] else ''}".encode()
    collected = Collected(
        pieces=[Piece(sink=sink, place="x", data=row) for sink in ("SQL", "journals", "pages")],
        stored={"mark-p001": now["stored"]} if now["stored"] else {},
        exported={EXCHANGE.trace} if now["exported"] else set(),
    )
    judge = Judge(canaries, loopback(exports_spans=True), [request(expected=expected)])
    judged = judge.judge(collected, {"p001": Response(status=now["status"])}, {"p001": now["received"]}, {})
    assert judged.leaks == ()
    assert [each.why for each in judged.unchecked] == ([] if why is None else [why])


def test_sinks_without_any_request_are_not_checked():
    """A sink that was read but has none of the requests proves nothing."""
    canaries, _, _ = planted_canaries()
    judge = Judge(canaries, loopback(exports_metrics=True), [request(expected=Expected())])
    unchecked = judge.judge(Collected(missing=[("log", "gone")]), {}, {}, {}).unchecked
    assert [each.sink for each in unchecked if each.sink] == ["log", "journals", "SQL", "pages", "OTLP metrics"]


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("of", ["secret", "content", "redacted"])
def test_every_leak_has_a_remedy(of, sink):
    """It names a setting, or the page that says how to report a defect."""
    text = remedy(of, "x", sink, "plain")
    assert "SECURITY.md" in text
    assert of == "content" or "until then" in text or "$.redaction.patterns" in text
