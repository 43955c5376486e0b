"""Requests in each dialect have canaries in every place that takes text, as the gateway's readers find them."""

import pytest

from gateway.cli.doctor.configuration import DIALECTS
from gateway.cli.doctor.requests import MARK, Builder, Expected, Raw
from gateway.dialects.registry import classify, in_path
from tests.cli.doctor.examples import loopback, planted_canaries

PLACES = {
    "a prompt", "a system prompt", "a tool result", "arguments of a tool call in a request", "a cookie",
    "a key in the query (?key=)",
}  # fmt: skip


def builder(**more: object) -> Builder:
    """Return a builder of requests."""
    return Builder(planted_canaries()[0], loopback(**more), "127.0.0.1:9", "TEXT")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_request_has_every_canary_and_is_in_its_dialect(dialect, stream):
    """Path and body are recognized as the dialect, and each kind of content is sent."""
    made = builder()
    request = made.chat("row", dialect, mount=DIALECTS[dialect], stream=stream)
    head, _, body = request.data.partition(b"\r\n\r\n")
    first, *headers = head.decode("latin-1").split("\r\n")
    path = first.split(" ")[1].partition("?")[0]
    named = in_path("POST", path)
    read = named.dialect if named else classify("POST", path)
    assert read.name == dialect
    conversation = read.read_conversation(body, path)
    assert (named.stream if named else conversation.stream) is stream
    assert [each.role for each in conversation.input_messages][-3:] == ["user", "assistant", "tool"]
    sent = request.data.decode()
    kinds = {each.kind for each in made.canaries.all if each.request == request.id and each.value in sent}
    assert kinds >= PLACES | {f"a client's key, as clients of {dialect} show it"}
    assert f"{MARK}: {request.id}" in headers
    assert f"Content-Length: {len(body)}" in headers
    assert "x-gateway-token" not in sent
    assert request.expected.stored[0] in sent


def test_a_credential_takes_the_place_of_every_other_key():
    """The request shows that one header and no key in a text, where it could not be recognized."""
    made = builder()
    request = made.chat("row", "openai-chat", credential=lambda id_: ("x-mine", f"of {id_}"))
    assert f"x-mine: of {request.id}".encode() in request.data
    assert not any(each.of == "secret" and each.value.encode() in request.data for each in made.canaries.all)


def test_the_token_is_shown_where_it_is_required():
    """A raw request may leave it out."""
    made = builder(required=True)
    with_token = made.raw("row", "", lambda _: Raw(target="/a", body={"b": 1}), Expected())
    without = made.raw("row", "case", lambda _: Raw(target="/a", method="GET", token=False), Expected())
    assert b"x-gateway-token: gw-token\r\n" in with_token.data
    assert with_token.data.endswith(b'\r\n\r\n{"b":1}')
    assert b"x-gateway-token" not in without.data
    assert (with_token.name, without.name, without.id) == ("row", "row: case", "p002")
    assert "gw-token" not in repr(with_token)


@pytest.mark.parametrize(("store", "header", "is_"), [("full", "off", "off"), ("metadata", "store=full", "metadata")])
def test_a_request_may_ask_for_less_capture_and_never_more(store, header, is_):
    """The judge uses the lesser of the configuration and the header."""
    request = builder(store=store).chat("row", "ollama", capture=header)
    assert f"x-gateway-capture: {header}".encode() in request.data
    assert request.capture.store == is_


@pytest.mark.parametrize(("script", "stored"), [("answer", 2), ("retry", 2), ("broken", 1), ("hang", 1)])
def test_the_completion_is_expected_in_the_store_only_if_it_is_whole(script, stored):
    """A stream that breaks has its prompt in the store at least."""
    assert len(builder().chat("row", "gemini", script=script).expected.stored) == stored
