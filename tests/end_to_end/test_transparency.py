"""The same request straight to the provider and through the gateway: neither side can tell that it is there."""

import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from gateway.dialects.wire.content_coding import zstd
from tests.support.examples import examples
from tests.support.gateways import InProcess, to
from tests.support.raw_http import Answer, Headers, connected, exchange, request
from tests.support.upstream import CLOSE, Asked, Step, Upstream, events, reply, stream

# What speaks of one connection, or says how long a body is: each side of the gateway says it for itself.
FRAMING = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "content-length", "expect",
}  # fmt: skip
# What the gateway adds to a response; the last two on streams only, and where the provider sent none.
ADDED = {"x-gateway-trace-id", "traceresponse", "x-accel-buffering", "cache-control"}
# What the provider sees of another host.
RENAMED = {"host"}

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
STREAM = CHAT | {"stream": True, "stream_options": {"include_usage": True}}
JSON = [("Content-Type", "application/json")]


def post(path: str = "/v1/chat/completions", body: object = CHAT, headers: Iterable[tuple[str | bytes, ...]] = ()):
    """Return a POST's bytes, the body as JSON or as it is."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request("POST", path, [*JSON, *headers], data)


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker that tries once: the provider is to see each request once."""
    async with InProcess(tmp_path / "data", to(upstream.url, "max_tries = 1\n")) as gateway:
        yield gateway


def told(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return a response's headers less what is allowed to differ; their order stays."""
    return [(name, value) for name, value in headers if name.lower().decode("latin-1") not in FRAMING | ADDED]


def seen(asked: Asked) -> list[tuple[str, str]]:
    """Return a request's headers less what is allowed to differ; their order stays."""
    return [(name, value) for name, value in asked.headers if name.lower() not in FRAMING | RENAMED]


async def compare(upstream: Upstream, gateway: InProcess, data: bytes) -> Answer:
    """Send a request both ways and require that client and provider see the same; return what the client got."""
    before = len(upstream.asked), len(gateway.rows("SERVER"))
    direct = await exchange(upstream.url, data)
    through = await exchange(gateway.url, data)
    there, here = upstream.asked[before[0] :]
    assert (through.status, through.reason) == (direct.status, direct.reason)
    assert told(through.headers) == told(direct.headers)
    assert through.body == direct.body
    assert through.whole
    assert here.method == there.method
    assert here.target == there.target
    assert seen(here) == seen(there)
    assert here.body == there.body
    assert len(gateway.rows("SERVER")) == before[1] + 1
    assert gateway.rows("SERVER")[-1]["attempts"] == 1
    return through


CHUNKED = request("POST", "/v1/chat/completions", [*JSON, ("Transfer-Encoding", "chunked")])
MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n\x00\xff\r\n\r\n--b--\r\n'
)
REQUESTS = {
    "get": request("GET", "/v1/models"),
    "get one": request("GET", "/v1/models/gpt-5"),
    "get with a body": request("GET", "/v1/models", JSON, b"{}"),
    "post": post(),
    "post without a body": request("POST", "/v1/responses/r_1/cancel"),
    "post of nothing": request("POST", "/v1/responses/r_1/cancel", [("Content-Length", "0")]),
    "put": request("PUT", "/v1/containers/1", JSON, b'{"a": 1}'),
    "patch": request("PATCH", "/v1/containers/1", JSON, b'{"a": 1}'),
    "delete": request("DELETE", "/v1/files/file-1"),
    "delete with a body": request("DELETE", "/v1/files/file-1", JSON, b"{}"),
    "head": request("HEAD", "/v1/models"),
    "options": request("OPTIONS", "/v1/models", [("Origin", "http://a")]),
    "unusual white space": post(body=b'\n{ "model" :\t"gpt-5",\r\n"messages":[ ] ,"x":1e3,"x":1.0}\n\n'),
    "unknown fields": post(body=CHAT | {"new": {"deep": [None, 1.50, "\u00e9\U0001f600"]}}),
    "five megabytes": post(body=CHAT | {"metadata": {"a": "x" * 5_000_000}}),
    "five megabytes of anything": request("POST", "/v1/files", (), bytes(range(256)) * 20_000),
    "gzip": post(body=gzip.compress(json.dumps(CHAT).encode()), headers=[("Content-Encoding", "gzip")]),
    "zstd": post("/v1/responses", zstd.compress(b'{"model":"gpt-5","input":"hi"}'), [("Content-Encoding", "zstd")]),
    "br": post(body=b"\x0b\x02\x80{}\x03", headers=[("Content-Encoding", "br")]),
    "multipart": request("POST", "/v1/files", [("Content-Type", "multipart/form-data; boundary=b")], MULTIPART),
    "chunked": CHUNKED + b'5\r\n{"mod\r\n1;ext=1\r\ne\r\n00a\r\nl":"gpt-5"\r\n1\r\n}\r\n0\r\n\r\n',
    "chunked, empty": CHUNKED + b"0\r\n\r\n",
    "expect": post(headers=[("Expect", "100-continue")]),
    "bytes that are no ASCII": post(headers=[("X-A", b"caf\xe9"), ("User-Agent", b"\xff\xfe \xc3\xa9/1")]),
    "60 KB of headers": post(headers=[("Cookie", "a=" + "b" * 30_000), *((f"X-{n}", "c" * 90) for n in range(300))]),
    "order, case, duplicates": post(headers=[("x-b", "1"), ("X-A", "2"), ("X-b", "3"), ("X-A", "")]),
    "keys": post(headers=[("authorization", "Bearer sk-one"), ("X-Api-Key", "two"), ("api-key", "three")]),
    "trace context": post(headers=[("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"), ("tracestate", "x=1")]),
    "hop by hop": post(headers=[("Connection", "keep-alive, X-Hop"), ("X-Kept", "1"), ("TE", "trailers")]),
    "an upgrade to h2c": post(headers=[("Connection", "Upgrade"), ("Upgrade", "h2c")]),
    "query": request("GET", "/v1/models?a=%20&b=c+d&b=&&key=sk-%2F&x[y]=1&%ff=%00?z=/"),
    "escapes": request("GET", "/v1/files/a%2Fb%20c/../%e9;p=1/./content"),
    "slashes": request("GET", "/v1/files//a//"),
    "unknown": request(
        "POST", "/v1/not/yet/known?x=1", [*JSON, ("Authorization", "Bearer sk-proj-0123456789")], b"[1,2"
    ),
    "no json": request("POST", "/v1/chat/completions", [("Content-Type", "text/plain")], b"hello"),
    "no content type": request("POST", "/v1/chat/completions", (), b'{"model": "gpt-5"}'),
    "count tokens": post("/v1/messages/count_tokens?beta=true", CHAT, [("anthropic-version", "2023-06-01")]),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_goes_up_as_it_is(name: str, upstream: Upstream, gateway: InProcess):
    """Method, target, headers in their order, case and number, and the body's bytes are the client's."""
    upstream.answers(reply({"ok": True}, headers=[("x-request-id", "req_1")]))
    if name == "head":
        upstream.answers([b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"])
    answer = await compare(upstream, gateway, REQUESTS[name])
    if name == "head":
        assert answer.values(b"content-length") == [b"12"]
    assert len(answer.values(b"x-gateway-trace-id")) == 1
    assert len(answer.values(b"traceresponse")) == 1


def plain(status: str, *headers: bytes, body: bytes = b"", close: bool = False) -> list[Step]:
    """Return a response with exactly these headers."""
    head = b"\r\n".join([b"HTTP/1.1 " + status.encode("latin-1"), *headers])
    return [head + b"\r\n\r\n" + body, *([CLOSE] if close else [])]


ERROR = {"error": {"message": "no \u00e9", "type": "t", "param": None, "code": None}}
CONTENT, NOTHING = b"Content-Type: application/json", b"Content-Length: 0"
RESPONSES: dict[str, list[Step]] = {
    "200": reply(b'{ "choices": [],\n"usage":null }'),
    "201": reply({"id": "file-1"}, "201 Created", [("Location", "/v1/files/file-1")]),
    "202": reply({}, "202 Accepted"),
    "204": plain("204 No Content", b"X-A: 1"),
    "206": reply(b"bytes", "206 Partial Content", [("Content-Range", "bytes 0-4/9")], "application/octet-stream"),
    "301": plain("301 Moved Permanently", b"Location: /v1/chat/completions", NOTHING),
    "307": plain("307 Temporary Redirect", b"Location: https://elsewhere.test/", NOTHING),
    "304": plain("304 Not Modified", b'ETag: "a"'),
    "400": reply(ERROR, "400 Bad Request"),
    "401": reply(ERROR, "401 Unauthorized", [("WWW-Authenticate", "Bearer")]),
    "404": reply(b"not found", "404 Not Found", content_type="text/plain"),
    "413": reply(b"", "413 Content Too Large"),
    "418": reply(ERROR, "418 I'm a teapot"),
    "429": reply(ERROR, "429 Too Many Requests", [("Retry-After", "7"), ("x-ratelimit-reset-tokens", "6m0s")]),
    "500": reply(b"<html>oops</html>", "500 Internal Server Error", content_type="text/html"),
    "503": reply(ERROR, "503 Service Unavailable", [("x-should-retry", "true"), ("retry-after-ms", "30")]),
    "529": reply(ERROR, "529 Overloaded"),
    "a reason of its own": plain("200 Very Fine, caf\xe9", NOTHING),
    "no reason": plain("200 ", b"Content-Length: 2", body=b"{}"),
    "an unknown status": plain("799 Odd", b"Content-Length: 2", body=b"{}"),
    "nothing": reply(b""),
    "no headers": plain("200 OK", b"Content-Length: 2", body=b"{}"),
    "its own date and server": plain("200 OK", b"date: today", b"SERVER: mine/1", b"content-length: 0"),
    "five megabytes": reply(bytes(range(256)) * 20_000, content_type="application/octet-stream"),
    "an error of five megabytes": reply(b"x" * 5_000_000, "500 Internal Server Error"),
    "gzip": reply(gzip.compress(b'{"choices": []}'), headers=[("Content-Encoding", "gzip"), ("Vary", "*")]),
    "zstd": reply(zstd.compress(b'{"choices": []}'), headers=[("Content-Encoding", "zstd")]),
    "br": reply(b"\x0b\x02\x80{}\x03", headers=[("Content-Encoding", "br")]),
    "an error, coded": reply(gzip.compress(b'{"error": {}}'), "400 Bad Request", [("Content-Encoding", "gzip")]),
    "not what it says": reply(b"garbage", headers=[("Content-Encoding", "gzip")]),
    "cookies": plain("200 OK", b"Set-Cookie: a=1; Path=/", b"set-cookie: b=2", b"Set-Cookie: a=3", NOTHING),
    "order, case, duplicates": plain("200 OK", b"x-b: 1", b"X-A: 2", b"X-b: 3", b"x-empty:", NOTHING),
    "bytes that are no ASCII": plain("200 OK", b"X-A: caf\xe9", b"X-B: caf\xc3\xa9", b"X-C: \xff\x80", NOTHING),
    "60 KB of headers": plain("200 OK", b"X-Long: " + b"a" * 60_000, NOTHING),
    "chunked": plain("200 OK", CONTENT, b"Transfer-Encoding: chunked", body=b"1;x=y\r\n{\r\n001\r\n}\r\n0\r\n\r\n"),
    "to the connection's end": plain("200 OK", CONTENT, body=b"{}", close=True),
    "said to close": plain("200 OK", b"Connection: close", b"Content-Length: 2", body=b"{}", close=True),
    "early hints before it": [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", *reply({"ok": 1})],
    "limits": reply({}, headers=[("openai-processing-ms", "7"), ("anthropic-ratelimit-tokens-remaining", "0")]),
}  # fmt: skip


@pytest.mark.parametrize("name", RESPONSES)
async def test_a_response_comes_back_as_it_is(name: str, upstream: Upstream, gateway: InProcess):
    """Status, reason, headers in their order, case and number, and the body's bytes are the provider's."""
    upstream.answers(RESPONSES[name])
    if name == "early hints before it":  # an interim response is for one connection
        assert (await exchange(gateway.url, post())).body == b'{"ok": 1}'
        return
    await compare(upstream, gateway, post())


async def test_what_is_of_one_connection_stays_on_it(upstream: Upstream, gateway: InProcess):
    """What the provider says of its own connection is not passed on, and does not end the client's."""
    hop = [
        b"Connection: close, X-Hop",
        b"x-hop: 1",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authenticate: Basic",
        b"Upgrade: x",
    ]
    upstream.answers(plain("200 OK", *hop, b"X-Kept: 1", b"Content-Length: 2", body=b"{}", close=True))
    async with connected(gateway.url) as connection:
        for _ in range(2):
            await connection.send(post())
            answer = await connection.answer()
            assert told(answer.headers) == [(b"X-Kept", b"1")]
            names = {name.lower() for name, _ in answer.headers}
            assert names == {b"x-kept", b"content-length", b"x-gateway-trace-id", b"traceresponse"}


EVENT = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"a"},"new":[1.0]}],"unknown":{"x":null}}\n\n'
DONE = b"data: [DONE]\n\n"
STREAMS = {
    "plain": EVENT + DONE,
    "comments": b": hello\n\n" + EVENT + b":\n: keepalive\n\n" + DONE,
    "names": b'event: ping\ndata: {"type": "ping"}\n\nevent: odd\nid: 7\nretry: 10\n' + EVENT + DONE,
    "CRLF": (EVENT + DONE).replace(b"\n", b"\r\n"),
    "CR": (EVENT + DONE).replace(b"\n", b"\r"),
    "no blank line at the end": EVENT + DONE.rstrip(b"\n"),
    "no last event": EVENT + EVENT,
    "several data lines": b"data: {\ndata: }\n\n" + DONE,
    "fields it does not know": b"foo: bar\nbaz\n" + EVENT + DONE,
    "a BOM": b"\xef\xbb\xbf" + EVENT + DONE,
    "no JSON": b"data: {nonsense\n\ndata: \xff\xfe\n\n" + DONE,
    "no events": b"hello",
    "after the last event": EVENT + DONE + b": bye\n\n" + EVENT,
    "nothing": b"",
}


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_comes_back_as_it_is(name: str, upstream: Upstream, gateway: InProcess):
    """Event names, comments, pings, line ends and unknown fields are the provider's; nobody between may buffer it."""
    upstream.answers(stream([STREAMS[name]] if STREAMS[name] else [], [("x-request-id", "req_1")]))
    answer = await compare(upstream, gateway, post(body=STREAM))
    assert answer.values(b"x-accel-buffering") == [b"no"]
    assert answer.values(b"cache-control") == [b"no-cache"]


async def test_a_providers_own_advice_stays(upstream: Upstream, gateway: InProcess):
    """Where the provider says how its stream may be cached and buffered, the gateway says nothing."""
    advice = [("cache-control", "private, no-store"), ("X-Accel-Buffering", "yes")]
    upstream.answers(stream([EVENT, DONE], advice))
    answer = await compare(upstream, gateway, post(body=STREAM))
    assert answer.values(b"cache-control") == [b"private, no-store"]
    assert answer.values(b"x-accel-buffering") == [b"yes"]


@pytest.mark.parametrize(
    "name", ["chat_text.sse", "chat_tools.sse", "responses_text.sse", "messages_thinking_tools.sse"]
)
async def test_the_providers_streams_come_back_as_they_are(name, upstream: Upstream, gateway: InProcess, read):
    """Each dialect's stream is relayed byte for byte on its own path."""
    path, asked = {
        "chat": ("/v1/chat/completions", STREAM),
        "resp": ("/v1/responses", {"model": "gpt-5", "input": "hi", "stream": True}),
        "mess": ("/v1/messages?beta=true", {**CHAT, "max_tokens": 9, "stream": True}),
    }[name[:4]]
    upstream.answers(stream(events(read(name))))
    await compare(upstream, gateway, post(path, asked))


PLACES = {
    "/openai/v1/models?a=1": "/v1/models?a=1",
    "/openai/models": "/v1/models",
    "/openai/v1/v1/chat/completions": "/v1/chat/completions",
    "/openai/v1/files/a%2Fb": "/v1/files/a%2Fb",
    "/anthropic/v1/messages?beta=true": "/v1/messages?beta=true",
    "/anthropic/v1/messages/count_tokens?beta=true": "/v1/messages/count_tokens?beta=true",
    "/anthropic/unknown": "/unknown",
    "/v1/v1/messages": "/v1/messages",
    "/chat/completions?x=%20": "/v1/chat/completions?x=%20",
    "/messages": "/v1/messages",
    "/anthropic/messages": "/v1/messages",
    "/v1/v1/v1/embeddings": "/v1/embeddings",
}


@pytest.mark.parametrize("path", PLACES)
async def test_mounts_and_any_number_of_v1(path: str, upstream: Upstream, gateway: InProcess):
    """A provider's mount, and `/v1` missing or doubled, change the path's beginning and nothing behind it."""
    body = b'{"model": "m",  "max_tokens": 1, "messages": []}'
    answer = await exchange(gateway.url, post(path, body))
    assert answer.status == 200
    assert upstream.asked[-1].target == PLACES[path]
    assert upstream.asked[-1].body == body


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_coded_bodies_are_read_for_the_trace(coding: str, upstream: Upstream, gateway: InProcess, read):
    """A coded request and a coded response pass as they are, and the trace has what they say."""
    encode: Callable[[bytes], bytes] = {"gzip": gzip.compress, "zstd": zstd.compress}[coding]
    upstream.answers(reply(encode(read("chat_whole.json")), headers=[("Content-Encoding", coding)]))
    body = encode(json.dumps(CHAT).encode())
    await compare(upstream, gateway, post(body=body, headers=[("Content-Encoding", coding)]))
    row = gateway.attempt()
    assert row["request_model"] == "gpt-5"
    assert row["input_messages"][0]["parts"] == [{"type": "text", "content": "hi"}]
    assert row["output_messages"][0]["role"] == "assistant"
    assert row["usage_source"] == "reported"


async def test_requests_in_a_row_on_one_connection(upstream: Upstream, gateway: InProcess):
    """A client that sends its next request before it has the first answer gets both, in order."""
    upstream.answer = lambda asked: reply(asked.body or asked.target.encode())
    async with connected(gateway.url) as connection:
        await connection.send(
            request("GET", "/v1/files/a") + post("/v1/files", b"b" * 100_000) + request("GET", "/v1/files/c")
        )
        bodies = [(await connection.answer()).body for _ in range(3)]
    assert bodies == [b"/v1/files/a", b"b" * 100_000, b"/v1/files/c"]
    assert [row["path"] for row in gateway.rows("SERVER")] == ["/v1/files/a", "/v1/files", "/v1/files/c"]


# Hypothesis: whatever a header, a path or a body may be.

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
NAMES = st.one_of(
    st.text(TOKEN, min_size=1, max_size=20).map(lambda name: f"X-{name}"),
    st.sampled_from(["Accept", "accept", "Cookie", "anthropic-beta", "OpenAI-Organization", "x-stainless-lang", "Via"]),
).filter(lambda name: not name.lower().startswith("x-gateway-"))
VISIBLE = bytes([*range(0x21, 0x7F), *range(0x80, 0x100)])
WITHIN = VISIBLE + b" \t"
VALUES = st.builds(
    lambda first, middle, last: bytes([first, *middle, last]),
    st.sampled_from(VISIBLE), st.lists(st.sampled_from(WITHIN), max_size=40), st.sampled_from(VISIBLE),
)  # fmt: skip
HEADERS = st.lists(st.tuples(NAMES, VALUES | st.just(b"")), max_size=30)
# A path's first segment must not be one more `v1`, which is taken for a base URL's.
PATHS = st.text("abcXYZ019-._~!$&'()*+,;=:@/%25\"<>[\\]^`{|}", max_size=60).filter(
    lambda path: not path.lstrip("/").startswith("v1")
)
QUERIES = st.text("abcXYZ019-._~!$&'()*+,;=:@/%?\"<>[\\]^`{|}", max_size=60)
_settings = examples(
    200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.integration
@_settings
@given(up=HEADERS, down=HEADERS)
async def test_any_headers_pass_both_ways(up, down, upstream: Upstream, gateway: InProcess):
    """Whatever names and values of headers there are, each side has them in order, in their case, as often as sent."""
    lines = [name.encode() + b": " + value for name, value in down]
    upstream.answers(plain("200 OK", *lines, NOTHING))
    await compare(upstream, gateway, post(headers=up))


@pytest.mark.integration
@_settings
@given(path=PATHS, query=QUERIES, up=st.binary(max_size=300), down=st.binary(max_size=300), method=st.sampled_from(
    ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]))  # fmt: skip
async def test_any_path_and_body_pass(path, query, up, down, method, upstream: Upstream, gateway: InProcess):
    """Whatever is in a path, a query and the bodies, the provider and the client get it byte for byte."""
    upstream.answers(reply(down))
    await compare(upstream, gateway, request(method, f"/v1/files/{path}?{query}", JSON, up))
