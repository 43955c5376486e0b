"""Table of provider faults over real sockets, with the expected outcome of each."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import ceil
from pathlib import Path
from typing import Any

from tests.support.raw_http import Answer
from tests.support.upstream import CLOSE, RESET, Step, Upstream, reply, stream

WHOLE_BODY = {"id": "c1", "model": "m-1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}]}
EVENTS = [
    b'data: {"id":"c1","model":"m-1","choices":[{"index":0,"delta":{"content":"h"}}]}\n\n',
    b'data: {"id":"c1","model":"m-1","choices":[{"index":0,"delta":{"content":"i"},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
]
# Heads of responses that never come whole.
_WHOLE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_FIRST_EVENT = b"%x\r\n%b\r\n" % (len(EVENTS[0]), EVENTS[0])

# Longer than any silence that the gateway allows in these tests; shorter than that.
STALL, MOMENT = 30.0, 0.04
# Seconds of silence that are allowed before the head, and within the body; any else is a busy machine's.
_FIRST_BYTE = {"stall before the head": 0.3}
_IDLE = {"stall before the body": 0.2, "stall within the body": 0.2, "slow drip": 0.6}
_PATIENT = 20.0

_SETTINGS = """
[retry]
max_tries = 3
initial_backoff = 10.0
jitter = 0.0
max_backoff = 1000.0
[aliases.one]
candidates = ["first/m"]
[aliases.two]
candidates = ["first/m", "second/m"]
"""


def settings(fault: str) -> str:
    """Return what the table expects of a gateway.toml, but for the providers."""
    first_byte, idle = (seconds.get(fault, _PATIENT) for seconds in (_FIRST_BYTE, _IDLE))
    return f"{_SETTINGS}[timeouts]\nfirst_byte = {first_byte}\nidle = {idle}\n"


def good(*, streamed: bool) -> list[Step]:
    """Return what a provider in good health answers."""
    return stream(EVENTS) if streamed else reply(WHOLE_BODY)


def _broken(*steps: Step) -> Callable[[bool], list[Step]]:
    """Begin a response, and go on like this."""
    return lambda streamed: [_STREAM_HEAD if streamed else _WHOLE_HEAD, *steps]


def _begun(*steps: Step) -> Callable[[bool], list[Step]]:
    """Begin a response and its body, and go on like this."""
    return lambda streamed: [*([_STREAM_HEAD, _FIRST_EVENT] if streamed else [_WHOLE_HEAD, b'{"id":']), *steps]


def _status(status: str, **headers: str | Callable[[], str]) -> Callable[[bool], list[Step]]:
    """Answer by an error."""

    def answer(_streamed: bool) -> list[Step]:
        said = [
            (name.replace("_", "-"), value if isinstance(value, str) else value()) for name, value in headers.items()
        ]
        return reply({"error": {"message": f"no: {status}", "type": "test"}}, status, said)

    return answer


def _always(*steps: Step) -> Callable[[bool], list[Step]]:
    return lambda _: [*steps]


def _drip(streamed: bool) -> list[Step]:
    """Send a good response in pieces, for longer than a silence may last, but with no silence as long as that."""
    head, mark, body = b"".join(good(streamed=streamed)).partition(b"\r\n\r\n")
    size = ceil(len(body) / 10)
    return [head + mark, *(step for at in range(0, len(body), size) for step in (0.07, body[at : at + size]))]


def _in_200(body: dict[str, Any]) -> Callable[[bool], list[Step]]:
    """Answer with success, and a failure in the body, or in the first event."""
    event = b"data: %b\n\n" % json.dumps(body).encode()
    return lambda streamed: stream([event, EVENTS[-1]]) if streamed else reply(body)


def _in_a_minute() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=60)


ANSWERS: dict[str, Callable[[bool], list[Step]]] = {
    "reset before the head": _always(RESET),
    "closed before the head": _always(CLOSE),
    "closed within the head": _always(b"HTTP/1.1 200 OK\r\nConte", CLOSE),
    "stall before the head": _always(STALL),
    "garbage": _always(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", CLOSE),
    "reset after the head": _broken(MOMENT, RESET),
    "stall before the body": _broken(STALL),
    "reset within the body": _begun(MOMENT, RESET),
    "stall within the body": _begun(STALL),
    "slow drip": _drip,
    "500": _status("500 Internal Server Error"),
    "500, not to be retried": _status("500 Internal Server Error", x_should_retry="false"),
    "503 with Retry-After": _status("503 Service Unavailable", retry_after="0.15"),
    "529": _status("529 Overloaded"),
    "400": _status("400 Bad Request"),
    "401": _status("401 Unauthorized"),
    "409, to be retried": _status("409 Conflict", x_should_retry="true"),
    "429": _status("429 Too Many Requests"),
    "429, seconds": _status("429 Too Many Requests", retry_after="0.15"),
    "429, milliseconds": _status("429 Too Many Requests", retry_after_ms="160", retry_after="600"),
    "429, longer than may be": _status("429 Too Many Requests", retry_after="60"),
    "429, a date": _status("429 Too Many Requests", retry_after=lambda: format_datetime(_in_a_minute(), usegmt=True)),
    "429, a date gone by": _status("429 Too Many Requests", retry_after="Tue, 14 Nov 2023 22:13:20 GMT"),
    "429, Anthropic's reset": _status(
        "429 Too Many Requests", anthropic_ratelimit_requests_reset=lambda: _in_a_minute().isoformat()
    ),
    "429, OpenAI's reset": _status("429 Too Many Requests", x_ratelimit_reset_requests="0.1s70ms"),
    "200, and a rate limit in it": _in_200({"error": {"message": "no", "code": 429}}),
    "200, and an overload in it": _in_200({"error": {"message": "no", "type": "overloaded_error"}}),
    "200, and a bad key in it": _in_200({"error": {"message": "no", "type": "invalid_api_key"}}),
    "200, and no credits in it": _in_200({"error": {"message": "no", "code": 429, "type": "insufficient_quota"}}),
    "200, and a finish word of failure": _in_200(
        {"choices": [{"index": 0, "message": {}, "delta": {}, "finish_reason": "insufficient_system_resource"}]}
    ),
    "200, and no body": lambda streamed: stream([]) if streamed else reply(b""),
    "200, and a page": _always(*reply(b"<html>busy</html>", content_type="text/html")),
}


def bad_urls(fault: str, upstream: Upstream, tls: str, plain: str) -> str:
    """Return where a fault is found."""
    return {
        "refused": "http://127.0.0.1:1",
        "no such name": "http://nowhere.invalid",
        "a certificate of somebody's": tls,
        "no TLS": plain,
    }.get(fault, upstream.url)


@asynccontextmanager
async def without_trust(certificate: Path) -> AsyncIterator[tuple[str, str]]:
    """Serve TLS with a certificate that nobody trusts, and no TLS where it is expected; give both URLs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    servers = [
        await asyncio.start_server(plain, "127.0.0.1", 0, ssl=context),
        await asyncio.start_server(plain, "127.0.0.1", 0),
    ]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    try:
        yield f"https://127.0.0.1:{ports[0]}", f"https://127.0.0.1:{ports[1]}"
    finally:
        for server in servers:
            server.close()


# Milliseconds that these say to wait. Where another attempt was made meanwhile, what is left of them is waited.
_SAID = {"503 with Retry-After": 150, "429, seconds": 150, "429, milliseconds": 160, "429, OpenAI's reset": 170}
_BACKOFF = 10

_WORDS = {"first": "", "retry": "retry ", "fallback": "next ", "another": "again "}


def cell(fault: str, answer: Answer, rows: list[dict[str, Any]]) -> str:
    """Return what came of it: the client's status, then each attempt as why it was made, the wait and the outcome."""
    said = []
    for row in rows:
        waited = row.get("backoff_ms") or 0
        why = row["reason"].partition(" ")[0]
        most = _SAID.get(fault, 0)
        left = why == "another" and _BACKOFF < waited <= most
        wait = f"+..{most} " if left else f"+{waited:g} " if waited else ""
        kind = f"({row['error_type']})" if row.get("error_type") not in {None, row["outcome"]} else ""
        said.append(f"{_WORDS[why]}{wait}{row['outcome']}{kind}")
    return f"{answer.status}{'' if answer.whole else ' broken'}: {', '.join(said)}"


def _each(status: int, kind: str) -> tuple[str, str, str]:
    """Return what comes of a failure that is tried again."""
    return (
        f"{status}: {kind}, retry +10 {kind}, retry +20 {kind}",
        f"200: {kind}, next ok",
        f"{status}: {kind}, next {kind}, again +10 {kind}",
    )


def _once(status: int, kind: str) -> tuple[str, str, str]:
    """Return what comes of a failure that moves on, but does not get better by trying again."""
    return f"{status}: {kind}", f"200: {kind}, next ok", f"{status}: {kind}, next {kind}"


def _told(status: int, kind: str, wait: int) -> tuple[str, str, str]:
    """Return what comes of a failure that says how long to wait."""
    return (
        f"{status}: {kind}, retry +{wait} {kind}, retry +{wait} {kind}",
        f"200: {kind}, next ok",
        f"{status}: {kind}, next {kind}, again +..{wait} {kind}",
    )


def _begun_already(kind: str) -> tuple[str, str, str]:
    """Return what comes of a failure after the first byte: nothing can mend it."""
    return (f"200 broken: {kind}",) * 3


SITUATIONS = ("one candidate", "the second is good", "both fail")

EXPECTED = {
    "refused": _each(502, "sending"),
    "no such name": _each(502, "sending"),
    "a certificate of somebody's": _each(502, "sending"),
    "no TLS": _each(502, "sending"),
    "reset before the head": _each(502, "upstream_abort"),
    "closed before the head": _each(502, "upstream_abort"),
    "closed within the head": _each(502, "upstream_abort"),
    "stall before the head": _once(504, "timeout"),
    "garbage": _each(502, "parsing"),
    "reset after the head": _each(502, "upstream_abort"),
    "stall before the body": _once(504, "timeout"),
    "reset within the body": _each(502, "upstream_abort"),
    "stall within the body": _once(504, "timeout"),
    "slow drip": ("200: ok", "200: ok", "200: ok"),
    "500": _each(500, "server(500)"),
    "500, not to be retried": _once(500, "server(500)"),
    "503 with Retry-After": _told(503, "server(503)", 150),
    "529": _each(529, "server(529)"),
    "400": _once(400, "bad_input(400)"),
    "401": _once(401, "auth(401)"),
    "409, to be retried": _each(409, "permanent(409)"),
    "429": _each(429, "rate_limit(429)"),
    "429, seconds": _told(429, "rate_limit(429)", 150),
    "429, milliseconds": _told(429, "rate_limit(429)", 160),
    "429, longer than may be": _once(429, "rate_limit(429)"),
    "429, a date": _once(429, "rate_limit(429)"),
    "429, a date gone by": _each(429, "rate_limit(429)"),
    "429, Anthropic's reset": _once(429, "rate_limit(429)"),
    "429, OpenAI's reset": _told(429, "rate_limit(429)", 170),
    "200, and a rate limit in it": _each(200, "rate_limit(429)"),
    "200, and an overload in it": _each(200, "server(overloaded_error)"),
    "200, and a bad key in it": _once(200, "auth(invalid_api_key)"),
    "200, and no credits in it": _once(200, "out_of_credits(insufficient_quota)"),
    "200, and a finish word of failure": _each(200, "server(insufficient_system_resource)"),
    "200, and no body": _each(200, "parsing"),
    "200, and a page": _each(200, "parsing"),
}
# A stream goes to the client with its first content: after it nothing can be mended. A small body goes whole.
EXPECTED_OF_STREAMS = EXPECTED | {
    "reset within the body": _begun_already("upstream_abort"),
    "stall within the body": _begun_already("timeout"),
    "200, and no body": _each(200, "upstream_abort"),
}
