"""Chronicle's clients over real sockets: chats of every dialect of provider, options, errors and broken streams."""

import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gateway.ids import step_span_id, trace_id
from tests.support.gateways import InProcess, to
from tests.support.raw_http import Answer, connected, exchange, request
from tests.support.upstream import CLOSE, RESET, Step, Upstream, events, reply, stream

Read = Callable[[str], bytes]

RUN, STEP = "01a212d9-478c-7759-916d-18ab7b348327", "01a212d9-478c-7759-916d-18ab7b348328"
HELLO = [{"role": "user", "content": "Hello"}]
CHAT = {"id": "a", "object": "chat.completion", "choices": [{"index": 0, "message": {"content": "Hi"}}]}
CHUNK = b'data: {"id":"a","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
FINISH = b'data: {"id":"a","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
DIALECTS = ("openai-chat", "openai-responses", "anthropic-messages", "gemini", "ollama")


def toml(url: str, more: str = "") -> str:
    """Return a gateway.toml with a provider of each dialect, by its name, and two for OpenAI and Anthropic."""
    base = "".join(f'[providers.{name}]\nbase_url = "{url}/{name}"\ndialect = "{name}"\n' for name in DIALECTS)
    return to(url, more) + base


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with InProcess(tmp_path / "data", toml(upstream.url)) as gateway:
        yield gateway


async def post(
    gateway: InProcess, body: dict[str, Any] | bytes, *headers: tuple[str, str], path: str = "/chat"
) -> Answer:
    """Send a chat; a body that is no dict is sent as it is."""
    said = body if isinstance(body, bytes) else json.dumps({"model": "gpt-5", "messages": HELLO} | body).encode()
    return await exchange(gateway.url, request("POST", path, [("Content-Type", "application/json"), *headers], said))


def chunks(answer: Answer) -> list[Any]:
    """Return what a whole stream has said, having checked how it ends."""
    assert (answer.status, answer.whole) == (200, True)
    assert answer.values(b"content-type") == [b"text/event-stream; charset=utf-8"]
    *said, done = events(answer.body)
    assert done == DONE
    assert answer.body.count(b"[DONE]") == 1
    return [json.loads(each.removeprefix(b"data: ")) for each in said]


def failed(answer: Answer) -> dict[str, Any]:
    """Return the error of a response, having checked its shape."""
    assert answer.whole
    whole = json.loads(answer.body)
    error = whole["error"]
    assert whole == {"error": error}
    assert list(error) == ["kind", "message", "details"]
    assert list(error["details"]) == ["body", "details"]
    return {"status": answer.status, **error, "body": error["details"]["body"]}


def meta(**other: Any) -> dict[str, Any]:
    """Return what is expected beside the id."""
    return {"provider": "openai", "model": "gpt-5", "num_retries": 0, "was_rate_limited": False} | other


WHOLE = {
    "openai-chat": "chat_whole.json",
    "openai-responses": "responses_whole.json",
    "anthropic-messages": "messages_whole.json",
    "gemini": "gemini_whole.json",
    "ollama": "ollama_chat_whole.json",
}
STREAMED = {
    "openai-chat": "chat_text.sse",
    "openai-responses": "responses_text.sse",
    "anthropic-messages": "messages_text.sse",
    "gemini": "gemini_text.sse",
    "ollama": "ollama_chat_text.ndjson",
}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_whole_chats(gateway: InProcess, upstream: Upstream, read: Read, dialect: str):
    """Whatever the provider speaks, the client gets a chat completion with `meta`, and the id leads to the trace."""
    upstream.answers(reply(read(WHOLE[dialect])))
    answer = await post(gateway, {"model": "big", "provider": dialect, "timeout": 9000}, ("Accept-Encoding", "gzip"))
    assert (answer.status, answer.values(b"content-type")) == (200, [b"application/json"])
    said = json.loads(answer.body)
    told = said.pop("meta")
    assert UUID(told["id"]).version == 7
    assert told == meta(id=told["id"], provider=dialect, model="big")
    assert said["choices"][0]["message"]["role"] == "assistant"
    if dialect == "openai-chat":
        assert answer.body.startswith(read(WHOLE[dialect]).rstrip()[:-1])
    row = gateway.exchange()
    assert row["attributes"]["gateway.chat.id"] == told["id"]
    assert (row["outcome"], row["path"], row["dialect"], row["provider"]) == ("ok", "/chat", "openai-chat", dialect)
    assert not {"provider", "timeout", "meta"} & upstream.asked[0].json.keys()
    assert upstream.asked[0].header("Accept-Encoding") == "identity"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_streamed_chats(gateway: InProcess, upstream: Upstream, read: Read, dialect: str):
    """The first chunk has `meta`, no other one; the usage is told, and the end is `[DONE]`."""
    raw = read(STREAMED[dialect])
    pieces, kind = events(raw), "text/event-stream"
    if dialect == "ollama":
        pieces, kind = [line + b"\n" for line in raw.splitlines()], "application/x-ndjson"
    upstream.answers(stream(pieces, content_type=kind))
    said = chunks(await post(gateway, {"model": "big", "provider": dialect, "stream": True}))
    told = said[0]["meta"]
    assert told == meta(id=told["id"], provider=dialect, model="big")
    assert not any("meta" in chunk for chunk in said[1:])
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in said if chunk["choices"])
    assert [chunk["usage"]["total_tokens"] for chunk in said if chunk.get("usage")] == [
        gateway.exchange()["total_tokens"]
    ]
    assert gateway.exchange()["outcome"] == "ok"


async def test_a_provider_of_the_same_dialect_is_asked_for_its_bytes(gateway: InProcess, upstream: Upstream):
    """Values go up as they came, in no coding; usage is asked for, and chunks come back as they were, at once."""
    upstream.answers(stream([CHUNK, FINISH]))
    body = b'{"model" : "gpt-5","temperature":0.10,"messages":[ ],"metadata":{"a":1},"stream": true}'
    answer = await post(gateway, gzip.compress(body), ("Content-Encoding", "gzip"), ("Accept-Encoding", "gzip"))
    (asked,) = upstream.asked
    expected = (
        b'{"model":"gpt-5","temperature":0.10,"messages":[ ],"stream":true,"stream_options":{"include_usage":true}}'
    )
    assert (asked.target, asked.body) == ("/v1/chat/completions", expected)
    assert (asked.header("Accept-Encoding"), asked.header("Content-Encoding")) == ("identity", None)
    first, *rest = events(answer.body)
    assert first.startswith(CHUNK.rstrip()[:-1] + b',"meta":{')
    assert rest == [FINISH, DONE]


@pytest.mark.parametrize("path", ["/chat", "/chat/chat/completions", "/v1/chat/x", "/chat?api-version=1"])
async def test_routes(gateway: InProcess, upstream: Upstream, path: str):
    """Any tail is a chat, and goes where chats go."""
    upstream.answers(reply(CHAT))
    answer = await post(gateway, {}, path=path)
    assert json.loads(answer.body)["meta"]["provider"] == "openai"
    assert upstream.asked[0].target == "/v1/chat/completions"


async def test_openais_own_path(gateway: InProcess, upstream: Upstream):
    """It is chronicle's for who has a header of it, and transparent for all others; a mount is a provider's."""
    upstream.answers(reply(CHAT))
    plain = await post(gateway, {"metadata": {"a": "b"}}, path="/v1/chat/completions")
    assert json.loads(plain.body) == CHAT
    assert upstream.asked[0].json["metadata"] == {"a": "b"}
    key = ("Authorization", "Bearer sk-mine")
    its = await post(gateway, {"provider": "openai"}, ("X-Chronicle-User-Id", "u"), key, path="/v1/chat/completions")
    assert json.loads(its.body)["meta"]["model"] == "gpt-5"
    assert "provider" not in upstream.asked[1].json
    assert upstream.asked[1].header("Authorization") == "Bearer sk-mine"
    mounted = await post(gateway, {}, ("X-Chronicle-User-Id", "u"), path="/openai-chat/chat/completions")
    assert json.loads(mounted.body) == CHAT


async def test_a_bearer_token_is_no_providers_key(gateway: InProcess, upstream: Upstream):
    """On chronicle's routes it is for who guards the gateway."""
    upstream.answers(reply(CHAT))
    await post(gateway, {}, ("Authorization", "Bearer for-the-gateway"))
    assert upstream.asked[0].header("Authorization") is None


async def test_a_model_leads_to_who_claims_it(gateway: InProcess, upstream: Upstream, read: Read):
    """By its maker's name or a prefix, also where OpenAI's address was set."""
    upstream.answers(reply(read("messages_whole.json")), reply(CHAT))
    claimed = json.loads((await post(gateway, {"model": "claude-sonnet-5"})).body)["meta"]
    prefixed = json.loads((await post(gateway, {"model": "openai/gpt-5"})).body)["meta"]
    assert (claimed["provider"], claimed["model"]) == ("anthropic", "claude-sonnet-5")
    assert (prefixed["provider"], prefixed["model"]) == ("openai", "gpt-5")
    assert upstream.asked[1].json["model"] == "gpt-5"


async def test_retries_are_told(gateway: InProcess, upstream: Upstream):
    """`meta` has their number, whether a limit was hit, and who answered in the end."""
    limited = reply({"error": {"message": "Slowly."}}, "429 Too Many Requests", [("retry-after-ms", "1")])
    upstream.answers(limited, reply({}, "500 Internal Server Error"), reply(CHAT))
    models = [{"model": "gpt-4", "provider": "openai"}, {"model": "m", "provider": "openai-chat"}]
    told = json.loads((await post(gateway, {"models": models, "retry": {"max_tries": 3}})).body)["meta"]
    assert told == meta(id=told["id"], model="gpt-4", num_retries=2, was_rate_limited=True)
    assert [asked.json["model"] for asked in upstream.asked] == ["gpt-4", "m", "gpt-4"]


async def test_metadata_becomes_columns(gateway: InProcess, upstream: Upstream):
    """The body's goes before the headers', what has no column is in `extra`, and the exchange is below its step."""
    upstream.answers(reply(CHAT))
    told = {
        "application": "shop",
        "run_id": RUN,
        "step_id": STEP,
        "step_index": 3,
        "prompt_version": 7,
        "colour": "red",
    }
    headers = [("x-chronicle-application", "other"), ("x-chronicle-environment", "test")]
    await post(gateway, {"metadata": told, "user": "somebody"}, *headers)
    await post(gateway, {"metadata": {"user_id": "u"}, "user": "somebody"})
    assert gateway.ask(
        "SELECT application, environment, run_id, step_id, step_index, prompt_version, extra, user_id FROM exchanges"
        " ORDER BY started_at"
    ) == [
        ("shop", "test", RUN, STEP, 3, 7, '{"colour":"red"}', "somebody"),
        (None, None, None, None, None, None, None, "u"),
    ]
    first, _ = gateway.rows("SERVER")
    assert (first["trace_id"], first["parent_span_id"]) == (trace_id(RUN), step_span_id(STEP, RUN))
    assert {row["trace_id"] for row in gateway.rows("CLIENT")[:1]} == {trace_id(RUN)}
    assert [asked.json.get("user") for asked in upstream.asked] == ["somebody"] * 2


@pytest.mark.parametrize("streams", [True, False])
async def test_an_answer_of_the_other_kind(gateway: InProcess, upstream: Upstream, read: Read, streams: bool):
    """A whole answer to who wanted a stream is told as one, and a stream to who did not is put together."""
    upstream.answers(reply(read("chat_whole.json")) if streams else stream(events(read("chat_text.sse"))))
    answer = await post(gateway, {"stream": streams})
    if streams:
        said = chunks(answer)
        assert (said[0]["meta"]["model"], said[-1]["usage"]["total_tokens"]) == (
            "gpt-5",
            gateway.exchange()["total_tokens"],
        )
    else:
        whole = json.loads(answer.body)
        assert whole["choices"][0]["message"]["content"] == "Grüß dich 👋 東京"
        assert whole["meta"]["model"] == "gpt-5"
    assert gateway.exchange()["outcome"] == "ok"


async def test_a_stream_for_who_wanted_none_that_stops(gateway: InProcess, upstream: Upstream):
    """What came of it is not put together as if it were whole."""
    upstream.answers(reply(CHUNK, content_type="text/event-stream"))
    error = failed(await post(gateway, {"retry": {"max_tries": 1}}))
    assert (error["status"], error["kind"]) == (502, "provider_connection_closed")
    assert gateway.exchange()["outcome"] == "upstream_abort"


@pytest.mark.parametrize("capture", ["off", "full"])
async def test_a_stream_without_a_done(upstream: Upstream, tmp_path: Path, capture: str):
    """One that has said why it stopped is whole, and gets the mark, whatever is kept of it."""
    async with InProcess(tmp_path / "data", toml(upstream.url, f'[capture]\nstore = "{capture}"\n')) as gateway:
        upstream.answers(stream([CHUNK, FINISH]))
        assert len(chunks(await post(gateway, {"stream": True}))) == 2


@pytest.mark.parametrize("streams", [True, False])
async def test_a_coding_that_nobody_asked_for(gateway: InProcess, upstream: Upstream, streams: bool):
    """It is undone where it is known; where it is not, the body passes as it came."""
    body = CHUNK + FINISH if streams else json.dumps(CHAT).encode()
    kind = "text/event-stream" if streams else "application/json"
    coded = gzip.compress(body)
    upstream.answers(
        reply(coded, headers=[("Content-Encoding", "gzip")], content_type=kind),
        reply(coded, headers=[("Content-Encoding", "compress")], content_type=kind),
        reply(b"x" * 40, headers=[("Content-Encoding", "gzip")], content_type=kind),
    )
    known, unknown = [await post(gateway, {"stream": streams}) for _ in range(2)]
    assert b'"meta":{' in known.body
    assert known.values(b"content-encoding") == []
    assert (unknown.body, unknown.values(b"content-encoding")) == (coded, [b"compress"])
    broken = await post(gateway, {"stream": streams})
    assert failed(broken)["kind"] == "parsing_provider_response"


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        ("400 Bad Request", "provider_rejected_input", 1),
        ("401 Unauthorized", "provider_rejected_token", 1),
        ("402 Payment Required", "out_of_credits", 1),
        ("403 Forbidden", "provider_rejected_token", 1),
        ("404 Not Found", "provider_rejected_input", 1),
        ("418 I'm a teapot", "unrecoverable_server_error", 1),
        ("429 Too Many Requests", "rate_limit", 4),
        ("500 Internal Server Error", "provider_server_error", 4),
        ("529 Overloaded", "provider_server_error", 4),
    ],
)
@pytest.mark.parametrize("provider", ["openai-chat", "anthropic-messages", "gemini"])
async def test_providers_errors(
    gateway: InProcess, upstream: Upstream, status: str, kind: str, tries: int, provider: str
):
    """The status is the provider's own, and its body is within the error, whatever it speaks."""
    body = {"type": "error", "error": {"message": "So not.", "type": "t"}}
    upstream.answers(reply(body, status, [("x-request-id", "r1")]))
    answer = await post(gateway, {"provider": provider, "stream": True})
    number = int(status[:3])
    assert failed(answer) == {
        "status": number,
        "kind": kind,
        "message": f"The provider {provider!r} answered {number}: So not.",
        "details": {"body": body, "details": None},
        "body": body,
    }
    assert answer.values(b"x-request-id") == [b"r1"]
    assert len(upstream.asked) == tries
    assert gateway.exchange()["http_status"] == number


async def test_an_error_that_is_no_json(upstream: Upstream, tmp_path: Path):
    """It is a string then; a key of ours that it repeats is not in it."""
    config = toml(upstream.url).replace("[providers.openai]", '[providers.openai]\napi_key = "sk-ours-4711"')
    async with InProcess(tmp_path / "data", config) as gateway:
        upstream.answers(reply(b"<p>Bad key sk-ours-4711", "401 Unauthorized", content_type="text/html"))
        error = failed(await post(gateway, {}))
    assert error["body"] == "<p>Bad key [redacted]"
    assert "4711" not in repr(gateway.rows())


@pytest.mark.parametrize(
    ("script", "status", "kind"),
    [
        ([CLOSE], 502, "provider_connection_closed"),
        ([b"garbage\r\n\r\n", CLOSE], 502, "parsing_provider_response"),
        ([5.0], 504, "timeout"),
        (reply(b"<html>", content_type="text/html"), 502, "parsing_provider_response"),
        (reply(b"[]"), 502, "parsing_provider_response"),
    ],
)
async def test_failures_before_the_first_byte(
    gateway: InProcess, upstream: Upstream, script: list[Step], status: int, kind: str
):
    """They are told as whole responses, with the text where chronicle's client looks for it."""
    upstream.answers(script)
    error = failed(await post(gateway, {"timeout": 300, "retry": {"max_tries": 1}}))
    assert (error["status"], error["kind"], error["body"]) == (status, kind, error["message"])
    assert error["message"]


async def test_a_provider_that_is_not_there(tmp_path: Path):
    """The same for one that refuses."""
    async with InProcess(tmp_path / "data", toml("http://127.0.0.1:9")) as gateway:
        error = failed(await post(gateway, {"retry": {"max_tries": 1}}))
    assert (error["status"], error["kind"]) == (502, "provider_connection_error")


@pytest.mark.parametrize(
    ("body", "status", "kind", "message"),
    [
        ({"model": None}, 400, "missing_model", "Request is missing model name"),
        ({"provider": "nobody"}, 422, "missing_provider", "no provider 'nobody'"),
        ({"models": [{"model": "a", "provider": "b"}]}, 422, "missing_provider", "no provider 'b'"),
        ({"models": [{"model": "a", "provider": "openai", "api_key_name": "k"}]}, 422, "invalid_request", "no key 'k'"),
        ({"api_key": "sk-1"}, 422, "invalid_request", "$.requests.api_keys"),
        ({"override_url": "http://a"}, 422, "invalid_request", "$.requests.override_url"),
        ({"timeout": "soon"}, 422, "invalid_request", "'timeout'"),
        ({"model": "openai/"}, 400, "missing_provider", "only a prefix"),
        ({"provider": "gemini", "messages": []}, 400, "transforming_request", "no messages"),
        (b"{", 400, "invalid_request", "no JSON object"),
        (b"", 400, "invalid_request", "no JSON object"),
    ],
)
async def test_requests_that_cannot_be_sent(
    gateway: InProcess, upstream: Upstream, body: dict[str, Any] | bytes, status: int, kind: str, message: str
):
    """Each is refused by name, nothing is sent, and it is recorded."""
    error = failed(await post(gateway, body))
    assert (error["status"], error["kind"]) == (status, kind)
    assert message in error["message"]
    assert error["body"] == error["message"]
    assert upstream.asked == []
    assert gateway.exchange()["http_status"] == status


async def test_a_bad_header_is_told(gateway: InProcess, upstream: Upstream):
    """By its name, in chronicle's shape."""
    error = failed(await post(gateway, {}, ("x-chronicle-timeout", "soon")))
    assert (error["status"], error["kind"]) == (422, "invalid_proxy_headers")
    assert error["message"].startswith("x-chronicle-timeout")
    assert upstream.asked == []


async def test_a_key_and_a_url_of_the_request(upstream: Upstream, tmp_path: Path):
    """Where the configuration allows them they are used, and stand nowhere in the store."""
    allowed = "[requests]\napi_keys = true\noverride_url = true\n"
    async with InProcess(tmp_path / "data", toml(upstream.url, allowed)) as gateway:
        upstream.answers(reply(CHAT))
        await post(gateway, {"api_key": "sk-planted-4711", "override_url": f"{upstream.url}/elsewhere"})
        (asked,) = upstream.asked
        assert (asked.target, asked.header("Authorization")) == ("/elsewhere", "Bearer sk-planted-4711")
        assert "4711" not in repr(gateway.rows())


async def test_the_gateways_token(upstream: Upstream, tmp_path: Path):
    """Chronicle's client sends it as a bearer token; without it the refusal is in chronicle's shape."""
    async with InProcess(tmp_path / "data", toml(upstream.url), token="let-me-in") as gateway:
        upstream.answers(reply(CHAT))
        assert (await post(gateway, {}, ("Authorization", "Bearer let-me-in"))).status == 200
        error = failed(await post(gateway, {}))
        assert (error["status"], error["kind"]) == (401, "auth_missing")
        assert upstream.asked[0].header("Authorization") is None
        health = await exchange(gateway.url, request("GET", "/healthz"))
        assert (health.status, health.body) == (200, b'{"status":"ok"}')


@pytest.mark.parametrize("path", ["/", "/healthz"])
async def test_health(gateway: InProcess, path: str):
    """It is there, as JSON; that is no exchange."""
    answer = await exchange(gateway.url, request("GET", path))
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    assert answer.values(b"content-type") == [b"application/json"]
    assert gateway.rows() == []


@pytest.mark.parametrize("end", [RESET, CLOSE, b"0\r\n\r\n", b"no chunk\r\n"])
@pytest.mark.parametrize("provider", ["openai-chat", "anthropic-messages"])
async def test_a_stream_that_dies(gateway: InProcess, upstream: Upstream, read: Read, provider: str, end: Step):
    """However it does, what came is followed by an error event, no `[DONE]`, and a connection that breaks off."""
    pieces = [CHUNK, CHUNK[:20]] if provider == "openai-chat" else events(read("messages_text.sse"))[:4]
    upstream.answers(stream(pieces, end=end))
    answer = await post(gateway, {"stream": True, "provider": provider})
    assert (answer.status, answer.whole) == (200, False)
    *said, last = events(answer.body.removesuffix(b"\n"))
    assert b"[DONE]" not in answer.body
    assert json.loads(said[0].removeprefix(b"data: "))["meta"]["provider"] == provider
    name, data = last.strip().split(b"\n")
    assert name == b"event: error"
    told = json.loads(data.removeprefix(b"data: "))
    assert told == {"error": {"message": told["message"]}, "message": told["message"]}
    assert told["message"]
    assert gateway.exchange()["outcome"] in {"upstream_abort", "parsing"}
    assert gateway.attempt()["outcome"] == gateway.exchange()["outcome"]


@pytest.mark.parametrize(
    ("provider", "fixture"), [("openai-chat", "chat_error.sse"), ("anthropic-messages", "messages_error.sse")]
)
async def test_an_error_within_a_stream(
    gateway: InProcess, upstream: Upstream, read: Read, provider: str, fixture: str
):
    """The provider's own error event is chronicle's then, with its words."""
    upstream.answers(stream(events(read(fixture))))
    answer = await post(gateway, {"stream": True, "provider": provider})
    assert b"[DONE]" not in answer.body
    (told,) = [each for each in events(answer.body) if each.startswith(b"event: error\n")]
    data = json.loads(told.partition(b"data: ")[2])
    assert data["message"] == data["error"]["message"]
    assert gateway.exchange()["outcome"] == "server"


async def test_chunks_leave_at_once(gateway: InProcess, upstream: Upstream):
    """The first one is there before the provider says more."""
    upstream.answers(stream([CHUNK, 600.0]))
    body = json.dumps({"model": "gpt-5", "messages": HELLO, "stream": True}).encode()
    async with connected(gateway.url) as connection:
        await connection.send(request("POST", "/chat", [("Content-Type", "application/json")], body))
        assert (await connection.head())[0] == 200
        assert b'"meta":{' in await connection.piece()


async def test_a_groq_call_in_an_error(tmp_path: Path, upstream: Upstream):
    """An answer that is recovered from an error has `meta`, as a stream or not."""
    config = f'[providers.groq]\nbase_url = "{upstream.url}/v1"\napi_key = "k"\n'
    failure = {"code": "tool_use_failed", "message": "m", "failed_generation": '<tool-use>{"tool_calls":[{"id":"p",'
               '"type":"function","function":{"name":"f"},"parameters":{"a":1}}]}</tool-use>'}  # fmt: skip
    async with InProcess(tmp_path / "data", config) as gateway:
        upstream.answers(reply({"error": failure}, "400 Bad Request"))
        whole = json.loads((await post(gateway, {"model": "groq/llama"})).body)
        streamed = chunks(await post(gateway, {"model": "groq/llama", "stream": True}))
    assert whole["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"
    assert whole["meta"] | {"id": ""} == meta(id="", provider="groq", model="llama")
    assert streamed[0]["meta"]["provider"] == "groq"
