"""Clients that send what they should not: a clear answer or the bytes as they are, one record, and no disturbance."""

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from gateway.dialects.wire.content_coding import zstd
from tests.support.examples import examples
from tests.support.gateway_errors import gateway_error
from tests.support.gateways import InProcess, to
from tests.support.raw_http import Answer, connected, exchange, request
from tests.support.upstream import Asked, Upstream, reply, stream

pytestmark = pytest.mark.integration

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
JSON = ("Content-Type", "application/json")
GOOD = b'{"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}'
LIMIT = 300_000
_settings = examples(100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker that takes small bodies and is not patient."""
    more = f"[limits]\nbody_bytes = {LIMIT}\n[timeouts]\nidle = 0.3\n"
    async with InProcess(tmp_path / "data", to(upstream.url, more)) as gateway:
        upstream.answer = _echo
        yield gateway


def _echo(asked: Asked):
    """Answer with how much was asked."""
    return reply({"size": len(asked.body)})


async def still_serves(gateway: InProcess, upstream: Upstream, before: int = 0, *, sql: bool = True) -> None:
    """Require that the next request is served and recorded, after so many exchanges, and that SQL can read them all."""
    asked = len(upstream.asked)
    answer = await exchange(gateway.url, request("POST", PATHS["openai"], [JSON], GOOD))
    assert (answer.status, answer.body) == (200, json.dumps({"size": len(GOOD)}).encode())
    assert len(upstream.asked) == asked + 1
    assert len(gateway.rows("SERVER")) == before + 1
    assert gateway.journal.in_flight == 0
    assert gateway.journal.dropped == {}
    if sql:
        assert gateway.ask("SELECT count(*) FROM exchanges") == [(before + 1,)]


# What is no HTTP request is answered before anything knows of an exchange.

HOST = b"Host: a\r\n"
CHUNKED = HOST + b"Transfer-Encoding: chunked\r\n\r\n"
NO_REQUEST = {
    "garbage": b"\x00\x01\x02garbage\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown method": b"BREW /v1/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method in lower case": b"get /v1/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "no path": b"GET  HTTP/1.1\r\n" + HOST + b"\r\n",
    "bytes in the path": b"GET /v1/\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "a NUL in the path": b"GET /v1/\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "no host": b"GET /v1/x HTTP/1.1\r\n\r\n",
    "a header without a colon": b"GET /v1/x HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n",
    "a space in a name": b"GET /v1/x HTTP/1.1\r\n" + HOST + b"X A: 1\r\n\r\n",
    "a folded header": b"GET /v1/x HTTP/1.1\r\n" + HOST + b"X-A: 1\r\n 2\r\n\r\n",
    "a NUL in a header": b"GET /v1/x HTTP/1.1\r\n" + HOST + b"X-A: \x00\r\n\r\n",
    "two lengths": b"POST /v1/x HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "the same length twice": b"POST /v1/x HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "a negative length": b"POST /v1/x HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "a length that is none": b"POST /v1/x HTTP/1.1\r\n" + HOST + b"Content-Length: two\r\n\r\nab",
    "a length and chunks": b"POST /v1/x HTTP/1.1\r\nContent-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n",
    "chunked, but not last": b"POST /v1/x HTTP/1.1\r\n" + CHUNKED.replace(b"chunked", b"chunked, gzip") + b"0\r\n\r\n",
    "a bad chunk size": b"POST /v1/x HTTP/1.1\r\n" + CHUNKED + b"zz\r\nab\r\n0\r\n\r\n",
    "a long header": b"GET /v1/x HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n",
    "a long path": b"GET /v1/" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "many headers": b"GET /v1/x HTTP/1.1\r\n" + HOST + b"X-A: 1\r\n" * 1100 + b"\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", NO_REQUEST)
async def test_no_request_is_refused_at_once(name: str, upstream: Upstream, gateway: InProcess):
    """What cannot be understood is a 400 that closes the connection, is not sent on, and is no exchange."""
    async with connected(gateway.url) as connection:
        connection.writer.write(NO_REQUEST[name] + request("GET", "/v1/smuggled"))
        answer = await connection.answer()
        assert answer.status == 400
        assert answer.whole
        assert await connection.reader.read() == b""
    assert upstream.asked == []
    assert gateway.rows() == []
    await still_serves(gateway, upstream)


@_settings
@given(noise=st.binary(max_size=80), at=st.integers(0, 200), instead=st.integers(0, 20))
async def test_no_noise_disturbs_anything(noise: bytes, at: int, instead: int, upstream: Upstream, gateway: InProcess):
    """Whatever bytes are in a request, others are served as before and every exchange ends."""
    data = request("POST", PATHS["openai"], [JSON], GOOD)
    async with connected(gateway.url) as connection:
        connection.writer.write(data[:at] + noise + data[at + instead :])
        with suppress(TimeoutError):  # it may well wait for more
            await asyncio.wait_for(connection.reader.read(1), 0.02)
    for _ in range(500):
        if gateway.journal.in_flight == 0:
            break
        await asyncio.sleep(0.01)
    await still_serves(gateway, upstream, before=gateway.journal.accepted, sql=False)


async def test_a_stream_in_flight_does_not_notice(upstream: Upstream, tmp_path: Path):
    """While one client streams, all that others send wrong changes nothing for it."""
    event, bad = b'data: {"choices": []}\n\n', [*NO_REQUEST.values(), *_posts()]
    gates = [asyncio.Event() for _ in bad]
    good = stream(step for gate in gates for step in (gate, event))
    upstream.answer = lambda asked: good if asked.target == "/v1/files/good" else _echo(asked)
    async with InProcess(tmp_path / "data", to(upstream.url)) as gateway, connected(gateway.url) as connection:
        await connection.send(request("GET", "/v1/files/good"))
        await connection.head()
        for gate, data in zip(gates, bad, strict=True):
            assert (await exchange(gateway.url, data)).status in {200, 400}
            gate.set()
            assert await connection.piece() == event
        assert await connection.rest() == b""
        assert connection.whole


# Bodies that are not what they should be are the provider's to judge.

DEEP = b'{"model": "m", "messages": ' + b"[" * 100_000
BODIES: dict[str, tuple[bytes, str | None]] = {
    "no JSON": (b"hello", None),
    "half of it": (GOOD[:-20], None),
    "null": (b"null", None),
    "a list": (b"[1, 2]", None),
    "a string": (b'"model"', None),
    "a model that is a number": (b'{"model": 7, "messages": []}', None),
    "messages that are a string": (b'{"model": "m", "messages": "hi", "max_tokens": "many"}', None),
    "everything of other types": (b'{"model": "m", "messages": {"a": 1}, "tools": 7, "stop": {}, "system": 1}', None),
    "content of other types": (b'{"model": "m", "messages": [1, null, [], {"role": 7, "content": {"x": [1]}}]}', None),
    "stream that is a string": (b'{"model": "m", "stream": "yes", "messages": []}', None),
    "numbers beyond all types": (b'{"model": "m", "max_tokens": 1e999, "seed": 99999999999999999999, "n": -0}', None),
    "NaN": (b'{"model": "m", "temperature": NaN, "messages": []}', None),
    "the model twice": (b'{"model": "a", "model": "b", "messages": []}', None),
    "invalid UTF-8": (b'{"model": "m\xff", "messages": [{"role": "user", "content": "\xc3\x28"}]}', None),
    "half a surrogate pair": (b'{"model": "\\ud800", "messages": [{"role": "user", "content": "\\udfff"}]}', None),
    "NUL bytes": (b'{"model": "m", "messages": [{"role": "user", "content": "a\x00b"}]}\x00', None),
    "NUL escapes": (b'{"model": "m\\u0000", "messages": [{"role": "user", "content": "a\\u0000b"}]}', None),
    "a BOM": (b"\xef\xbb\xbf" + GOOD, None),
    "deep": (DEEP, None),
    "deep and whole": (DEEP + b"]" * 100_000 + b"}", None),
    "deep objects": (b'{"model": "m", "messages": [{"role": "user", "content": ' + b'{"a":' * 50_000, None),
    "a prefix of nobody": (b'{"model": "nobody/m", "messages": []}', None),
    "an odd model": (b'{"model": "\'; DROP TABLE spans; -- \\n\\t\\"", "messages": []}', None),
    "bad gzip": (b"\x1f\x8bgarbage", "gzip"),
    "half of a gzip": (gzip.compress(GOOD)[:30], "gzip"),
    "more than one gzip": (gzip.compress(GOOD) + b"tail", "gzip"),
    "bad zstd": (b"\x28\xb5\x2f\xfdgarbage", "zstd"),
    "half of a zstd": (zstd.compress(GOOD)[:20], "zstd"),
    "a bomb": (gzip.compress(bytes(100_000_000)), "gzip"),
    "not coded": (GOOD, "gzip"),
    "an unknown coding": (GOOD, "nonsense"),
    "two codings": (GOOD, "gzip, zstd"),
}  # fmt: skip


def _posts() -> list[bytes]:
    """Return a request with each of the bodies."""
    return [
        request("POST", PATHS["openai"], [JSON, ("Content-Encoding", coding or "identity")], body)
        for body, coding in BODIES.values()
    ]


@pytest.mark.parametrize("family", PATHS)
@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_body_is_sent_on_as_it_is(name: str, family: str, upstream: Upstream, gateway: InProcess):
    """A body that cannot be read goes to the provider untouched, and its exchange is recorded like any other."""
    body, coding = BODIES[name]
    headers = [JSON, ("Content-Encoding", coding)] if coding else [JSON]
    answer = await exchange(gateway.url, request("POST", PATHS[family], headers, body))
    assert answer.status == 200
    assert upstream.asked[0].body == body
    assert upstream.asked[0].header("Content-Encoding") == coding
    assert [row["outcome"] for row in gateway.rows()] == ["ok", "ok"]
    assert gateway.exchange()["provider"] == family
    await still_serves(gateway, upstream, before=1)


# What the gateway itself must refuse.


async def refused(gateway: InProcess, upstream: Upstream, data: bytes, family: str, status: int, code: str) -> Answer:
    """Require an error of ours in the dialect, one exchange that says the same, and no attempt."""
    answer = await exchange(gateway.url, data)
    assert answer.status == status
    error = gateway_error(answer, family)
    if family == "openai":
        assert error["code"] == code
    assert upstream.asked == []
    (row,) = gateway.rows()
    assert (row["kind"], row["http_status"], row["error"], row["attempts"]) == ("SERVER", status, error["message"], 0)
    await still_serves(gateway, upstream, before=1)
    return answer


@pytest.mark.parametrize("family", PATHS)
async def test_an_unknown_path_is_said_to_be_one(family: str, upstream: Upstream, gateway: InProcess):
    """A path that belongs to no provider is a 404 in the client's dialect, with the paths that there are."""
    headers = [JSON, ("anthropic-version", "2023-06-01")] if family == "anthropic" else [JSON]
    answer = await exchange(gateway.url, request("POST", "/v2/x", headers, GOOD))
    assert answer.status == 404
    assert "/openai/" in gateway_error(answer, family, traced=False)["message"]
    assert (upstream.asked, gateway.rows()) == ([], [])


CLIMBING = (
    "/v1/../admin",
    "/openai/%2e%2E/admin",
    "/v1/..%2fadmin",
    "/openai/..\\admin",
    "/v1beta/models/..%252f..%252fx:a",
)


async def test_a_path_with_a_parent_segment(upstream: Upstream, gateway: InProcess):
    """A path that a server could resolve to one above the base URL is refused, and nothing is sent."""
    for path in CLIMBING:
        answer = await exchange(gateway.url, request("POST", path, [JSON], GOOD))
        assert (answer.status, gateway_error(answer, "openai")["code"]) == (400, "bad_path")
    assert upstream.asked == []
    await still_serves(gateway, upstream, before=len(CLIMBING))


@pytest.mark.parametrize("family", PATHS)
async def test_a_model_that_is_only_a_prefix(family: str, upstream: Upstream, gateway: InProcess):
    """A prefix without a name behind it is refused, since no provider could know what is meant."""
    data = request("POST", PATHS[family], [JSON], GOOD.replace(b'"m"', b'"openai/"'))
    await refused(gateway, upstream, data, family, 400, "model_not_found")


async def test_a_dialect_that_the_provider_does_not_speak(upstream: Upstream, gateway: InProcess):
    """What cannot be translated for a provider of another dialect is refused; the message says which it speaks."""
    data = request("POST", "/anthropic/v1/embeddings", [JSON], GOOD)
    answer = await refused(gateway, upstream, data, "openai", 400, "dialect_mismatch")
    assert "$.providers.anthropic.dialect" in gateway_error(answer, "openai")["message"]


def chunked(*chunks: bytes) -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


BIG = b"a" * LIMIT + b"b"
CHUNKS = [JSON, ("Transfer-Encoding", "chunked")]
TOO_LARGE = {
    "by its length": ([JSON, ("Content-Length", str(len(BIG)))], BIG),
    "by its length, not sent": ([JSON, ("Content-Length", "99999999999")], b""),
    "by its length, which is waited for": ([JSON, ("Expect", "100-continue"), ("Content-Length", "99999999999")], b""),
    "in one chunk": (CHUNKS, chunked(BIG)),
    "in many chunks": (CHUNKS, chunked(*[b"a" * 1000] * 301)),
    "without an end": (CHUNKS, chunked(*[b"a" * 1000] * 3000)[:-5]),
}


@pytest.mark.parametrize("family", PATHS)
@pytest.mark.parametrize("name", TOO_LARGE)
async def test_a_body_that_is_too_large(name: str, family: str, upstream: Upstream, gateway: InProcess):
    """A body over the limit is a 413 that names the setting, however it is framed, and is not sent on."""
    headers, body = TOO_LARGE[name]
    data = request("POST", PATHS[family], headers) + body
    answer = await refused(gateway, upstream, data, family, 413, "body_too_large")
    assert f"{LIMIT} bytes (setting: $.limits.body_bytes)" in gateway_error(answer, family)["message"]


@pytest.mark.parametrize("framed", ["length", "chunks", "one chunk"])
async def test_a_body_of_just_the_limit(framed: str, upstream: Upstream, gateway: InProcess):
    """A body of exactly the limit is sent on."""
    body = BIG[:-1]
    data = request("POST", "/v1/files", [("Content-Type", "text/plain")], body)
    if framed != "length":
        pieces = [body] if framed == "one chunk" else [body[at : at + 1000] for at in range(0, LIMIT, 1000)]
        data = request("POST", "/v1/files", [("Transfer-Encoding", "chunked")]) + chunked(*pieces)
    assert (await exchange(gateway.url, data)).status == 200
    assert upstream.asked[0].body == body


STOPPED = {
    "by its length": (request("POST", PATHS["openai"], [JSON, ("Content-Length", "50")]), GOOD[:20]),
    "in chunks": (request("POST", PATHS["openai"], CHUNKS), b"14\r\n" + GOOD[:20] + b"\r\n"),
    "in a chunk that is none": (request("POST", PATHS["openai"], CHUNKS), b"14\r\n" + GOOD[:20] + b"\r\nzz\r\n"),
}


@pytest.mark.parametrize("name", STOPPED)
async def test_a_body_that_stops_coming_is_given_up(name: str, upstream: Upstream, gateway: InProcess):
    """A client that does not send the rest of its body gets 408, and its exchange ends."""
    head, part = STOPPED[name]
    async with connected(gateway.url) as connection:
        await connection.send(head)
        await asyncio.sleep(0.05)  # the head is being handled when the rest comes
        await connection.send(part)
        answer = await connection.answer()
    assert answer.status == 408
    assert "within 0.3 s (setting: $.timeouts.idle)" in gateway_error(answer, "openai")["message"]
    assert upstream.asked == []
    assert (gateway.exchange()["outcome"], gateway.exchange()["http_status"]) == ("timeout", 408)
    await still_serves(gateway, upstream, before=1)


@pytest.mark.parametrize("name", STOPPED)
async def test_a_client_that_leaves_within_its_body(name: str, upstream: Upstream, gateway: InProcess):
    """Half a request is never sent on: the client left."""
    async with connected(gateway.url) as connection:
        await connection.send(b"".join(STOPPED[name][:1]) + b"14\r\n"[: 4 * ("chunk" in name)] + GOOD[:10])
        await asyncio.sleep(0.05)
    await gateway.ended()
    assert upstream.asked == []
    assert gateway.exchange()["outcome"] == "client_abort"
    await still_serves(gateway, upstream, before=1)


# Headers that mean something to us.

VALID = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
VALUE = st.binary(max_size=70).map(lambda data: bytes(b for b in data if b >= 32 and b != 127))
PARENT = st.from_regex(r"\A[0-9a-fA-F]{2}-[0-9a-fA-F]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{2}(-x)?\Z")


@_settings
@given(parent=VALUE | PARENT.map(str.encode), state=VALUE, baggage=VALUE)
@example(parent=b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", state=b"x=1,y=2", baggage=b"k=v")
@example(parent=b"ff-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", state=b"\xff=,,=", baggage=b"%ff")
@example(parent=b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01", state=b"=" * 600, baggage=b";;;=")
async def test_any_trace_context(parent: bytes, state: bytes, baggage: bytes, upstream: Upstream, gateway: InProcess):
    """A trace context that is one is continued, any other is passed on and otherwise ignored."""
    headers = [JSON, ("traceparent", parent), ("tracestate", state), ("baggage", baggage)]
    before = gateway.journal.accepted
    answer = await exchange(gateway.url, request("POST", PATHS["openai"], headers, GOOD))
    assert answer.status == 200
    assert upstream.asked[-1].header("traceparent") == parent.decode("latin-1").strip()
    row = gateway.rows("SERVER")[-1]
    assert answer.values(b"x-gateway-trace-id") == [row["trace_id"].encode()]
    valid = VALID.fullmatch(parent.decode("latin-1").strip())
    assert (row["trace_id"] == valid.group(1)) if valid else "parent_span_id" not in row
    await still_serves(gateway, upstream, before=before + 1, sql=False)


@pytest.mark.parametrize(
    "name", ["User-Agent", "X-Gateway-Session", "X-Gateway-User", "X-Gateway-Run", "Helicone-User-Id"]
)
async def test_names_that_are_no_text_are_recorded_as_far_as_they_are(
    name: str, upstream: Upstream, gateway: InProcess
):
    """Bytes that are no UTF-8 in a header that we record cost nothing but themselves."""
    headers = [JSON, (name, b"caf\xe9/1 \xc3\xa9")]
    assert (await exchange(gateway.url, request("POST", PATHS["openai"], headers, GOOD))).status == 200
    assert "caf\ufffd/1 \u00e9" in json.dumps(gateway.exchange(), ensure_ascii=False)
    await still_serves(gateway, upstream, before=1)
