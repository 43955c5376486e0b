"""`[redaction]` and `x-gateway-capture` through the whole gateway: no sink has what it may not, on whatever path."""

import asyncio
import json
import logging
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.config.model import Capture
from gateway.server.log_filters import redact_libraries
from gateway.store.otlp.rows import row_in, span_of
from tests.support.gateways import InProcess, to
from tests.support.otlp_spans import otlp_attributes, send, span, wrapped
from tests.support.raw_http import exchange, request
from tests.support.run_events import RUN, STEP, at, post_events, step
from tests.support.upstream import CLOSE, Upstream, reply, stream

JSON = ("Content-Type", "application/json")
EMAIL, CARD, PHONE, KEY = "bob@example.com", "4111 1111 1111 1111", "+49 30 1234567", "sk-planted-0123456789abcdef"
TICKET = "TICKET-4711"
SECRETS = (EMAIL, CARD, PHONE, KEY, TICKET)
SAID = " and ".join(SECRETS)
REDACTED = "[redacted: email] and [redacted: card] and [redacted: phone] and [redacted: key] and [redacted: ticket]"
RULES = """
[redaction]
builtin = ["keys", "emails", "cards", "phones"]
[redaction.patterns]
ticket = 'TICKET-\\d+'
"""
CALL = {
    "id": "t1",
    "type": "function",
    "function": {"name": "pay", "arguments": json.dumps({"to": EMAIL, "with": CARD})},
}
CHAT = {
    "model": "gpt-5",
    "user": EMAIL,
    "messages": [
        {"role": "system", "content": SAID},
        {"role": "user", "content": [{"type": "text", "text": SAID}]},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "t1", "content": SAID},
    ],
    "tools": [{"type": "function", "function": {"name": "pay", "description": SAID, "parameters": {"type": "object"}}}],
}
ANSWER = {
    "id": "c1", "model": "gpt-5-1", "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}],
}  # fmt: skip


def pieces(text: str, size: int) -> list[bytes]:
    """Return a stream that says a text in small pieces."""
    deltas = [text[at : at + size] for at in range(0, len(text), size)]
    events = [{"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {"content": each}}]} for each in deltas]
    return [b"data: %b\n\n" % json.dumps(each).encode() for each in events]


async def ask(gateway: InProcess, body=CHAT, *headers: tuple[str, str], path: str = "/v1/chat/completions"):
    """Send a request, and return the answer."""
    return await exchange(gateway.url, request("POST", path, [JSON, *headers], json.dumps(body).encode()))


def kept(gateway: InProcess) -> str:
    """Return all that the store has, as it is written, as text and as JSON means it."""
    raw = b"".join(path.read_bytes() for path in gateway.data.rglob("*") if path.is_file())
    return raw.decode("utf-8", "replace") + str(
        [json.loads(line) for line in raw.splitlines() if line.startswith(b"{")]
    )


@pytest.fixture(name="redacting")
async def _redacting(upstream: Upstream, tmp_path: Path):
    async with InProcess(tmp_path / "data", to(upstream.url, RULES)) as gateway:
        yield gateway


PATHS = {
    "a success": [reply(ANSWER)],
    "a stream": [stream([*pieces(SAID, 3), b"data: [DONE]\n\n"])],
    "a stream that breaks": [stream([*pieces(SAID, 3), CLOSE])],
    "an error": [reply({"error": {"message": f"no such user {SAID}", "type": "x"}}, "400 Bad Request")],
    "a page": [reply(SAID.encode(), "403 Forbidden", content_type="text/html")],
    "a retry": [reply({"error": {"message": SAID}}, "500 No"), reply(ANSWER)],
}


@pytest.mark.parametrize("script", PATHS.values(), ids=PATHS.keys())
async def test_nothing_that_is_kept_has_it(upstream: Upstream, redacting: InProcess, script):
    """Whatever comes of a request; its provider and its client get every byte."""
    upstream.answers(*script)
    body = CHAT | ({"stream": True} if script[0] != PATHS["a success"][0] and len(script) == 1 else {})
    headers = [
        ("x-gateway-user", EMAIL), ("x-gateway-session", f"of {PHONE}"), ("User-Agent", f"bot/1 ({EMAIL})"),
        ("x-gateway-extra-meta", json.dumps({"card": CARD, KEY: 1})), ("x-gateway-workflow-name", TICKET),
    ]  # fmt: skip
    answer = await ask(redacting, body, *headers, path=f"/v1/chat/completions?about={TICKET}")
    assert json.loads(upstream.asked[0].body)["messages"] == CHAT["messages"]
    assert TICKET in upstream.asked[0].target
    if script is PATHS["a success"]:
        assert json.loads(answer.body) == ANSWER
    everything = kept(redacting)
    assert [each for each in SECRETS if each in everything] == []
    attempt = redacting.rows("CLIENT")[0]
    assert attempt["input_messages"][0]["parts"][0]["content"] == REDACTED
    assert "[redacted: email]" in json.dumps(redacting.exchange())


async def test_a_stream_is_read_as_a_whole(upstream: Upstream, redacting: InProcess):
    """What comes in pieces of one character is found."""
    upstream.answers(stream([*pieces(SAID, 1), b"data: [DONE]\n\n"]))
    await ask(redacting, CHAT | {"stream": True})
    assert redacting.attempt()["output_messages"][0]["parts"][0]["content"] == REDACTED


async def test_no_half_of_it_is_left_where_content_is_cut(upstream: Upstream, tmp_path: Path):
    """It goes before the rest is made to fit."""
    upstream.answers(reply(ANSWER))
    async with InProcess(tmp_path / "data", to(upstream.url, "[capture]\nstore_bytes = 120\n" + RULES)) as gateway:
        await ask(gateway, CHAT | {"messages": [{"role": "user", "content": "x" * 50 + EMAIL + "y" * 500}]})
        assert "bob@" not in kept(gateway)


async def test_no_half_of_it_is_left_where_an_error_is_cut(upstream: Upstream, redacting: InProcess):
    """Of a long error only the beginning is kept."""
    upstream.answers(reply(b"x" * 4088 + b" " + EMAIL.encode(), "400 Bad Request", content_type="text/plain"))
    await ask(redacting)
    assert "xxx [red" in kept(redacting)
    assert "bob@" not in kept(redacting)


async def test_paths_that_are_not_read_have_it_in_no_word(upstream: Upstream, redacting: InProcess):
    """A path, a query, and an error of what is only passed on."""
    upstream.answers(reply({"error": {"message": SAID}}, "404 Not Found"))
    await exchange(redacting.url, request("GET", f"/v1/files/{EMAIL}?q={TICKET}"))
    everything = kept(redacting)
    assert [each for each in SECRETS if each in everything] == []
    assert redacting.exchange()["path"] == "/v1/files/[redacted: email]"


async def test_what_is_told_of_runs_is_without_it(redacting: InProcess):
    """Names, tags, information, inputs, outputs, errors and data of events."""
    events = [
        {"type": "run:start", "id": RUN, "name": SAID, "description": SAID, "tags": [TICKET], "info": {EMAIL: CARD},
         "input": {"deep": [SAID]}, "time": at(0)},
        step("start", STEP, 1, name=SAID, type="t", input=SAID), step("error", STEP, 2, error={"message": SAID}),
        {"type": "note", "run_id": RUN, "data": {KEY: PHONE}}, {"type": "run:update", "id": RUN, "output": SAID},
    ]  # fmt: skip
    assert (await post_events(redacting.url, events)).status == 202
    everything = kept(redacting)
    assert [each for each in SECRETS if each in everything] == []
    assert redacting.ask("SELECT name, tags FROM runs") == [(REDACTED, ["[redacted: ticket]"])]


async def test_an_applications_spans_are_without_it(redacting: InProcess):
    """Names, attributes, events and status."""
    spoken = otlp_attributes({"gen_ai.input.messages": json.dumps([SAID]), "note": SAID, EMAIL: "x"})
    sent = span(1, name=SAID, attributes=spoken, events=[Span.Event(name=SAID, attributes=spoken)])
    sent.status.code, sent.status.message = 2, SAID
    assert (await send(redacting.url, wrapped([sent]))).status == 200
    everything = kept(redacting)
    assert [each for each in SECRETS if each in everything] == []


@pytest.mark.usefixtures("redacting")
async def test_the_log_is_without_it(caplog: pytest.LogCaptureFixture):
    """Messages and tracebacks of whoever may repeat what it was given."""
    await asyncio.sleep(0)
    logs = [logging.getLogger(name) for name in ("gateway.recording", "gateway.proxy", "asyncio")]

    def fail() -> None:
        for log in logs:
            try:
                raise ValueError(SAID)
            except ValueError:
                log.exception("cannot read %s", EMAIL)

    fail()
    assert [record.name for record in caplog.records if EMAIL in record.getMessage()] == ["asyncio"], "a host's own"
    caplog.clear()
    redact_libraries()
    try:
        fail()
        assert len(caplog.records) == 3
        assert [each for each in SECRETS if each in caplog.text] == []
    finally:
        for each in list(logs[-1].filters):
            logs[-1].removeFilter(each)


async def test_without_rules_all_is_kept(upstream: Upstream, gateway: InProcess):
    """Nothing is taken out where nobody asked for it."""
    upstream.answers(reply(ANSWER))
    await ask(gateway)
    assert gateway.attempt()["output_messages"][0]["parts"][0]["content"] == SAID


# what a request asks for itself


@pytest.mark.parametrize(
    ("header", "kept_at_all", "sent"),
    [
        ("full", True, True), ("metadata", False, False), ("off", False, False), ("store=metadata", False, False),
        ("otlp=metadata", True, False), ("store=full, otlp=off", True, False), ("otlp=truncated", True, True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["x-gateway-capture", "x-chronicle-capture"])
async def test_a_request_may_ask_for_less(upstream: Upstream, gateway: InProcess, header, kept_at_all, sent, prefix):
    """By sink; what it asks for the collector is in its rows, so that a later export keeps to it too."""
    upstream.answers(reply(ANSWER))
    assert (await ask(gateway, CHAT, (prefix, header))).status == 200
    assert prefix not in {name.lower() for name, _ in upstream.asked[0].headers}
    assert (SAID in kept(gateway)) == kept_at_all
    lines = [line for path in (gateway.data / "live").iterdir() for line in path.read_bytes().splitlines()]
    spans = [
        span_of(row_in(line), Resource({}), InstrumentationScope("x"), Capture(otlp="full"))
        for line in lines
        if line.startswith(b'{"t":"span"')
    ]
    assert len(spans) == 2
    assert any(EMAIL in str(each.attributes) for each in spans if each.name.startswith("chat")) == sent


async def test_a_request_gets_no_more_than_the_configuration_gives(upstream: Upstream, tmp_path: Path):
    """The operator's word is the bound."""
    upstream.answers(reply(ANSWER))
    async with InProcess(tmp_path / "data", to(upstream.url, '[capture]\nstore = "metadata"\n')) as gateway:
        await ask(gateway, CHAT, ("x-gateway-capture", "full"))
        assert CARD not in kept(gateway)


async def test_a_word_that_is_none_is_refused_and_nothing_is_kept(upstream: Upstream, gateway: InProcess):
    """422 names the header, and what is expected."""
    answer = await ask(gateway, CHAT, ("x-gateway-capture", "nothing"))
    assert answer.status == 422
    assert "x-gateway-capture: expected one of full, truncated, metadata, off" in answer.body.decode()
    assert upstream.asked == []
    assert CARD not in kept(gateway)


async def test_events_and_spans_may_ask_for_less(gateway: InProcess):
    """The least of what is asked for holds for all sinks there."""
    event = {"type": "note", "run_id": RUN, "data": {"said": SAID}}
    for header in ("metadata", "otlp=off", "store=metadata, otlp=full"):
        assert (await post_events(gateway.url, event, ("x-gateway-capture", header))).status == 202
        spoken = span(1, attributes=otlp_attributes({"input.value": SAID, "kept": "yes"}))
        assert (await send(gateway.url, wrapped([spoken]), ("x-gateway-capture", header))).status == 200
    assert CARD not in kept(gateway)
    assert (await post_events(gateway.url, event, ("x-gateway-capture", "nothing"))).status == 422
    assert (await send(gateway.url, wrapped([span(2)]), ("x-gateway-capture", "nothing"))).status == 422
