"""Translation on the way: what cannot be told, answers of another form than was asked for, errors, and nothing held."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.dialects.bedrock import CONVERSE
from tests.support.gateways import InProcess
from tests.support.raw_http import Answer, connected, exchange, request
from tests.support.upstream import CLOSE, RESET, Step, Upstream, events, reply, stream

JSON = ("Content-Type", "application/json")
HELLO = [{"role": "user", "content": "hi"}]
SECRET = "what the model said to nobody else"
NAMES = ("anthropic", "gemini", "ollama", "groq", "aws-bedrock", "openai", "together")
BEDROCKS = {"AWS_BEARER_TOKEN_BEDROCK": "sk-bedrock-0123456789-0123456789"}


def everywhere(url: str, more: str = "") -> str:
    """Return a configuration that sends all to `url`."""
    providers = "".join(f'[providers.{name}]\nbase_url = "{url}"\n' for name in NAMES)
    return f"{providers}[retry]\ninitial_backoff = 1.0\njitter = 0.0\n{more}"


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, tmp_path: Path):
    async with InProcess(tmp_path / "data", everywhere(upstream.url), BEDROCKS) as gateway:
        yield gateway


async def post(gateway: InProcess, path: str, body: dict[str, Any], *headers: tuple[str, str]) -> Answer:
    """Post JSON."""
    return await exchange(gateway.url, request("POST", path, [JSON, *headers], json.dumps(body).encode()))


def chat(model: str = "anthropic/c", **more: Any) -> dict[str, Any]:
    """Return a chat request."""
    return {"model": model, "messages": HELLO, **more}


def dropped(answer: Answer) -> list[str]:
    """Return the names in the header."""
    return [name for value in answer.values(b"x-gateway-dropped") for name in value.decode().split(", ")]


# What cannot be told.


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_lost_is_named_to_the_client_and_in_the_span(
    upstream: Upstream, gateway: InProcess, read, streamed
):
    """Both fields without a place there and quirks of a provider; of a request that lost nothing there is no word."""
    upstream.answers(stream(events(read("messages_text.sse"))) if streamed else reply(read("messages_whole.json")))
    answer = await post(gateway, "/v1/chat/completions", chat(stream=streamed, logit_bias={"1": 1}, seed=7))
    assert answer.status == 200
    assert set(dropped(answer)) >= {"logit_bias", "seed"}
    assert set(gateway.attempt()["attributes"]["gateway.dropped"]) >= {"logit_bias", "seed"}
    plain = await post(gateway, "/v1/chat/completions", chat(stream=streamed))
    assert dropped(plain) == []
    assert "gateway.dropped" not in gateway.rows("CLIENT")[1]["attributes"]


async def test_what_a_provider_refuses_is_named_too(upstream: Upstream, gateway: InProcess, read):
    """Groq speaks the dialect and not all of it."""
    upstream.answers(reply(read("chat_whole.json")))
    body = {"model": "groq/l", "max_tokens": 1, "messages": HELLO, "top_k": 3}
    answer = await post(gateway, "/v1/messages", body)
    assert (answer.status, dropped(answer)) == (200, ["top_k"])
    assert "top_k" not in upstream.asked[0].json


async def test_what_is_lost_is_named_with_an_error_as_well(upstream: Upstream, gateway: InProcess, read):
    """It may be why."""
    upstream.answers(reply(read("messages_error.json"), "400 Bad Request"))
    answer = await post(gateway, "/v1/chat/completions", chat(seed=7))
    assert (answer.status, dropped(answer)) == (400, ["seed"])


async def test_what_an_answer_loses_is_named(upstream: Upstream, gateway: InProcess, read):
    """In the head of a whole one, and in the span of a stream, whose head has gone by then."""
    two = {"index": 1, "message": {"role": "assistant", "content": "Or so."}, "finish_reason": "stop"}
    said = json.loads(read("chat_whole.json"))
    said["choices"].append(two)
    upstream.answers(reply(said), stream(events(read("chat_two_choices.sse"))))
    whole = await post(gateway, "/v1/messages", chat("openai/m", max_tokens=9))
    streamed = await post(gateway, "/v1/messages", chat("openai/m", max_tokens=9, stream=True))
    assert (whole.status, streamed.status) == (200, 200)
    assert any(name.startswith("choices[1]") for name in dropped(whole))
    for row in gateway.rows("CLIENT"):
        assert any(name.startswith("choices[1]") for name in row["attributes"]["gateway.dropped"])


REFUSED = {
    "a conversation that is elsewhere": (
        "/v1/responses",
        {"model": "anthropic/c", "input": "hi", "previous_response_id": "resp_1"},
        "conversation_unavailable",
    ),
    "one by its own name": (
        "/v1/responses",
        {"model": "anthropic/c", "input": "hi", "conversation": "conv_1"},
        "conversation_unavailable",
    ),
    "no messages": ("/v1/chat/completions", {"model": "anthropic/c"}, "bad_input"),
    "embeddings": ("/v1/embeddings", {"model": "anthropic/c", "input": "hi"}, "dialect_mismatch"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_translated_is_refused_before_it_is_sent(upstream: Upstream, gateway: InProcess, name):
    """With 400 and a code, in the client's words, naming the provider."""
    path, body, code = REFUSED[name]
    answer = await post(gateway, path, body)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (400, code)
    assert "'anthropic'" in error["message"]
    assert upstream.asked == []
    assert gateway.exchange()["outcome"] == "bad_input"


async def test_a_conversation_goes_on_with_whom_it_is(upstream: Upstream, gateway: InProcess, read):
    """A body of the Responses API on the chat path keeps it, where the provider speaks that API."""
    upstream.answers(reply(read("responses_whole.json")))
    body = {"model": "openai/g", "input": "hi", "previous_response_id": "resp_1"}
    answer = await post(gateway, "/v1/chat/completions", body)
    assert (answer.status, json.loads(answer.body)["object"]) == (200, "chat.completion")
    assert (upstream.asked[0].target, upstream.asked[0].json["previous_response_id"]) == ("/v1/responses", "resp_1")


# Answers of another form.


@pytest.mark.parametrize("coding", [None, "gzip"])
async def test_a_whole_answer_to_who_wants_a_stream(upstream: Upstream, gateway: InProcess, read, coding):
    """It is told as one, with the event that ends it."""
    body = read("messages_whole.json")
    headers = [("Content-Encoding", coding)] if coding else []
    upstream.answers(reply(gzip.compress(body) if coding else body, headers=headers))
    answer = await post(gateway, "/v1/chat/completions", chat(stream=True))
    assert answer.values(b"content-type")[0].startswith(b"text/event-stream")
    assert answer.values(b"content-encoding") == []
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert json.loads(events(answer.body)[0].removeprefix(b"data: "))["object"] == "chat.completion.chunk"


async def test_a_stream_to_who_wants_a_whole_answer(upstream: Upstream, gateway: InProcess, read):
    """It is put together."""
    upstream.answers(stream(events(read("messages_text.sse"))))
    answer = await post(gateway, "/v1/chat/completions", chat())
    assert answer.values(b"content-type") == [b"application/json"]
    said = json.loads(answer.body)
    assert said["object"] == "chat.completion"
    assert said["choices"][0]["message"]["content"]


async def test_a_coded_answer_is_read(upstream: Upstream, gateway: InProcess, read):
    """Though the provider was asked for none, and the client gets it in none."""
    upstream.answers(reply(gzip.compress(read("messages_whole.json")), headers=[("Content-Encoding", "gzip")]))
    answer = await post(gateway, "/v1/chat/completions", chat(), ("Accept-Encoding", "gzip"))
    assert upstream.asked[0].header("accept-encoding") == "identity"
    assert answer.values(b"content-encoding") == []
    assert json.loads(answer.body)["object"] == "chat.completion"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("body", [f"<html>{SECRET}</html>", f'{{"said": "{SECRET}"}}', f'["{SECRET}"]', ""])
async def test_what_cannot_be_read_is_no_answer(upstream: Upstream, gateway: InProcess, body, streamed):
    """It is tried again, then told without a word of what came, which no span has either."""
    upstream.answers(reply(body.encode()))
    answer = await post(gateway, "/v1/chat/completions", chat(stream=streamed))
    assert answer.status == 502
    assert "anthropic-messages" in json.loads(answer.body)["error"]["message"]
    assert SECRET.encode() not in answer.body
    assert SECRET not in json.dumps(gateway.rows())
    assert [row["outcome"] for row in gateway.rows()] == ["parsing"] * 5
    assert answer.values(b"x-should-retry") == []


@pytest.mark.parametrize(
    ("delay", "headers", "expected"),
    [
        ("31.2s", [], [b"32"]),
        ("3600s", [], [b"60"]),
        ("31.2s", [("Retry-After", "7.5")], [b"7.5"]),
        ("soon", [], []),
    ],
)
async def test_a_wait_in_a_translated_body_becomes_a_header(
    upstream: Upstream, gateway: InProcess, delay: str, headers: list[tuple[str, str]], expected: list[bytes]
):
    """It is in whole seconds, a minute at most, unless the provider sends one; Google's own clients read the body."""
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    error = {"error": {"code": 429, "message": "No.", "status": "RESOURCE_EXHAUSTED", "details": details}}
    upstream.answers(reply(error, "429 Too Many Requests", headers))
    once = ("x-gateway-retry", '{"max_tries": 1}')
    answer = await post(gateway, "/v1/messages", chat("gemini/g", max_tokens=9), once)
    assert (answer.status, answer.values(b"retry-after")) == (429, expected)
    own = await post(gateway, "/v1beta/models/g:generateContent", {}, once)
    assert (own.status, own.values(b"retry-after")) == (429, [value.encode() for _, value in headers])


async def test_google_streams_as_its_client_asks(upstream: Upstream, gateway: InProcess, read):
    """As events where it says `alt=sse`, else as one array."""
    upstream.answers(stream(events(read("chat_text.sse"))))
    contents = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    path = "/v1beta/models/openai/g:streamGenerateContent"
    told = await post(gateway, f"{path}?alt=sse", contents)
    array = await post(gateway, path, contents)
    assert told.body.startswith(b"data: {")
    assert array.values(b"content-type")[0].startswith(b"application/json")
    assert json.loads(array.body)[0]["candidates"]


# Errors.

ERRORS: dict[str, tuple[str, str, int, str]] = {
    "chat": ("chat_error.json", "openai/m", 429, "/v1/messages"),
    "messages": ("messages_error.json", "anthropic/m", 400, "/v1/chat/completions"),
    "gemini": ("gemini_error.json", "gemini/m", 400, "/v1/messages"),
    "ollama": ("ollama_error.json", "ollama/m", 404, "/v1beta/models/ollama/m:generateContent"),
    "bedrock": ("bedrock_error.json", "bedrock/m", 400, "/v1/chat/completions"),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_crosses_with_its_status_and_its_message(upstream: Upstream, gateway: InProcess, read, name):
    """In the client's shape, where its SDK looks for the message; the span has it too."""
    fixture, model, status, path = ERRORS[name]
    upstream.answers(reply(read(fixture), f"{status} X", headers=[("retry-after", "99"), ("x-request-id", "r1")]))
    asked = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]} if "v1beta" in path else chat(model)
    answer = await post(gateway, path, asked | {"max_tokens": 1})
    assert answer.status == status
    assert (answer.values(b"retry-after"), answer.values(b"x-request-id")) == ([b"99"], [b"r1"])
    said = json.loads(answer.body)["error"]["message"]
    assert said == gateway.attempt()["error"]
    assert said in read(fixture).decode()
    assert ("type" in json.loads(answer.body)) == (path == "/v1/messages")


@pytest.mark.parametrize(
    ("path", "model", "status"),
    [
        ("/v1/chat/completions", "anthropic/m", 503),
        ("/v1/responses", "anthropic/m", 503),
        ("/v1/messages", "openai/m", 529),
    ],
)
async def test_an_overload_is_one_to_every_client(upstream: Upstream, tmp_path: Path, path, model, status):
    """Anthropic's own status is one that others have no class for."""
    upstream.answers(reply({"error": {"type": "overloaded_error", "message": "busy"}}, "529 Overloaded"))
    async with InProcess(tmp_path / "data", everywhere(upstream.url, "max_tries = 1\n")) as gateway:
        body = {"model": model, "input": "hi"} if "responses" in path else chat(model, max_tokens=1)
        answer = await post(gateway, path, body)
        assert answer.status == status
        assert json.loads(answer.body)["error"]["message"] == "busy"
        assert gateway.attempt()["http_status"] == 529


async def test_a_coded_error_is_read(upstream: Upstream, gateway: InProcess, read):
    """Though no coding was asked for."""
    body = gzip.compress(read("messages_error.json"))
    upstream.answers(reply(body, "400 Bad Request", headers=[("Content-Encoding", "gzip")]))
    answer = await post(gateway, "/v1/chat/completions", chat())
    assert json.loads(answer.body)["error"]["message"] in read("messages_error.json").decode()
    assert answer.values(b"content-encoding") == []


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"upstream connect error", "upstream connect error"), (b"", "the provider answered 400"), (b"\xff", "\ufffd")],
)
async def test_an_error_without_a_shape_is_told_as_it_is(upstream: Upstream, gateway: InProcess, body, said):
    """What a proxy before the provider says is all there is to tell."""
    upstream.answers(reply(body, "400 Bad Request", content_type="text/plain"))
    answer = await post(gateway, "/v1/chat/completions", chat())
    assert (answer.status, json.loads(answer.body)["error"]["message"]) == (400, said)


async def test_an_error_that_repeats_our_key_is_told_without_it(upstream: Upstream, tmp_path: Path):
    """The words are ours then, and no secret is in them."""
    key = "sk-configured-0123456789"
    upstream.answers(reply({"type": "error", "error": {"type": "x", "message": f"no such key: {key}"}}, "401 X"))
    toml = everywhere(upstream.url).replace("[providers.anthropic]\n", f'[providers.anthropic]\napi_key = "{key}"\n')
    async with InProcess(tmp_path / "data", toml) as gateway:
        answer = await post(gateway, "/v1/chat/completions", chat())
        assert (answer.status, json.loads(answer.body)["error"]["message"]) == (401, "no such key: [redacted]")
        assert key not in json.dumps(gateway.rows())


# As it comes.


def gated(pieces: list[bytes]) -> tuple[list[asyncio.Event], list[Step]]:
    """Return a gate for each piece, and the stream that sends a piece only once its gate is open."""
    gates = [asyncio.Event() for _ in pieces]
    return gates, stream(step for pair in zip(gates, pieces, strict=True) for step in pair)


DELTAS = {
    "messages": ("messages_text.sse", "anthropic/m", "/v1/chat/completions", b"text_delta"),
    "chat": ("chat_text.sse", "openai/m", "/v1/messages", b'"content":"'),
    "responses": ("responses_text.sse", "openai/m", "/v1/chat/completions", b"output_text.delta"),
}


@pytest.mark.parametrize("name", DELTAS)
async def test_a_delta_leaves_when_it_arrives(upstream: Upstream, gateway: InProcess, read, name):
    """Each piece of text is read by the client while the provider has not sent the next."""
    fixture, model, path, mark = DELTAS[name]
    pieces = events(read(fixture))
    gates, script = gated(pieces)
    upstream.answers(script)
    asked = {"model": model, "input": "hi", "stream": True} if name == "responses" else chat(model, stream=True)
    async with connected(gateway.url) as client:
        await client.send(request("POST", path, [JSON], json.dumps(asked | {"max_tokens": 9}).encode()))
        gates[0].set()
        assert await client.head() == (200, b"OK")
        seen = 0
        for gate, piece in zip(gates, pieces, strict=True):
            gate.set()
            if mark not in piece:
                continue
            said = json.loads(piece.partition(b"data: ")[2])
            text = said.get("delta") or said["choices"][0]["delta"]["content"]
            text = text if isinstance(text, str) else text["text"]
            if not text:
                continue
            got = b""
            while json.dumps(text, ensure_ascii=False).encode()[1:-1] not in got:
                got += await client.piece()
            seen += 1
        assert seen > 1
        assert await client.rest()
        assert client.whole


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("/v1/messages", b'{"type":"message_stop"}\n\n'),
        ("/api/chat", b'"done":true'),
        ("/v1/responses", b"response.completed"),
    ],
)
async def test_a_stream_without_its_last_event_has_the_clients(upstream: Upstream, gateway: InProcess, read, path, end):
    """Some servers stop after the reason why: that is an end, which the client's SDK waits for."""
    upstream.answers(stream(events(read("chat_text.sse"))[:4]))
    asked = {"model": "together/m", "stream": True}
    asked |= {"input": "hi"} if "responses" in path else {"messages": HELLO, "max_tokens": 9}
    answer = await post(gateway, path, asked)
    assert (answer.status, answer.whole) == (200, True)
    assert end in answer.body
    assert gateway.exchange()["outcome"] == "ok"


BREAKS = {
    "/v1/chat/completions": ("anthropic/m", "messages_text.sse"),
    "/v1/responses": ("anthropic/m", "messages_text.sse"),
    "/v1/messages": ("openai/m", "chat_text.sse"),
    "/api/chat": ("openai/m", "chat_text.sse"),
    "/model/openai%2Fm/converse-stream": ("m", "chat_text.sse"),
    "/v1beta/models/openai/m:streamGenerateContent?alt=sse": ("m", "chat_text.sse"),
}


@pytest.mark.parametrize("end", [CLOSE, RESET, b"0\r\n\r\n"])
@pytest.mark.parametrize("path", BREAKS)
async def test_a_stream_that_breaks_off_is_told_in_the_clients_dialect(
    upstream: Upstream, gateway: InProcess, read, path, end
):
    """After all that came, with an event of the client's own, and an end that is no good one.

    So is one that the provider ends in good order, and without its last event.
    """
    model, fixture = BREAKS[path]
    upstream.answers(stream([*events(read(fixture))[: 5 if "messages" in fixture else 3], 0.02], end=end))
    asked: dict[str, Any] = chat(model, stream=True, max_tokens=9)
    if "responses" in path:
        asked = {"model": model, "input": "hi", "stream": True}
    elif "v1beta" in path:
        asked = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    elif "converse" in path:
        asked = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    answer = await post(gateway, path, asked)
    assert (answer.status, answer.whole) == (200, False)
    if "converse" in path:
        reader = CONVERSE.stream_reader()
        reader.feed(answer.body)
        assert (reader.unread, bool(reader.response().error_message)) == (0, True)
    else:
        assert b"error" in answer.body.split(b"\n\n")[-2 if answer.body.endswith(b"\n\n") else -1]
    assert gateway.attempt()["outcome"] == "upstream_abort"
    assert gateway.exchange()["outcome"] == "upstream_abort"


# Tools, texts and results that the provider takes in another form.

LONG = "mcp__some_server__" + "look_" * 12
FUNCTIONS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "fg"]


async def test_a_tools_long_name_is_the_clients_again_in_the_call(upstream: Upstream, gateway: InProcess):
    """Sent within the provider's limit, whole and streamed."""

    def called(asked) -> list[Step]:
        name = json.loads(asked.body)["tools"][0]["function"]["name"]
        assert len(name) == 64
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
        if json.loads(asked.body).get("stream"):
            chunk = {"id": "i", "object": "chat.completion.chunk", "model": "m", "created": 1}
            deltas = [({"tool_calls": [call]}, None), ({}, "tool_calls")]
            chunks = [{**chunk, "choices": [{"index": 0, "delta": d, "finish_reason": f}]} for d, f in deltas]
            return stream([b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks] + [b"data: [DONE]\n\n"])
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choices = [{"index": 0, "finish_reason": "tool_calls", "message": message}]
        return reply(json.dumps({"id": "i", "object": "chat.completion", "choices": choices}).encode())

    upstream.answer = called
    body = {"model": "groq/m", "max_tokens": 9, "messages": HELLO, "tools": [{"name": LONG, "input_schema": {}}]}
    whole = await post(gateway, "/v1/messages", body)
    assert json.loads(whole.body)["content"][0]["name"] == LONG
    streamed = await post(gateway, "/v1/messages", body | {"stream": True})
    assert f'"name":"{LONG}"'.encode() in streamed.body


async def test_only_allowed_tools_are_offered(upstream: Upstream, gateway: InProcess, read):
    """To a provider without such a choice, and the mode stays."""
    upstream.answers(reply(read("messages_whole.json")))
    only = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}
    body = chat(tools=FUNCTIONS, tool_choice={"type": "allowed_tools", "allowed_tools": only})
    assert dropped(await post(gateway, "/v1/chat/completions", body)) == []
    sent = json.loads(upstream.asked[0].body)
    assert [tool["name"] for tool in sent["tools"]] == ["g"]
    assert sent["tool_choice"] == {"type": "any"}


SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://e.example/a.png"}}
MEDIA = [
    pytest.param("anthropic/m", SOUND, "messages[0].parts[1]: audio blob", id="sound"),
    pytest.param("aws-bedrock/m", PICTURE, "messages[0].parts[1]: image uri", id="picture elsewhere, Converse"),
]


@pytest.mark.parametrize(("model", "part", "name"), MEDIA)
async def test_media_without_a_place_are_refused_before_anything_is_sent(
    upstream: Upstream, gateway: InProcess, model, part, name
):
    """Since a model that does not see them answers another question."""
    body = {"model": model, "messages": [{"role": "user", "content": [{"type": "text", "text": "this?"}, part]}]}
    answer = await post(gateway, "/v1/chat/completions", body)
    assert answer.status == 400
    message = json.loads(answer.body)["error"]["message"]
    assert name in message
    assert "$.translation.lossy" in message
    assert upstream.asked == []


async def test_media_without_a_place_are_dropped_if_configured(upstream: Upstream, tmp_path: Path, read):
    """And named."""
    upstream.answers(reply(read("messages_whole.json")))
    more = '[translation]\nlossy = "drop"\n'
    async with InProcess(tmp_path / "data", everywhere(upstream.url, more), BEDROCKS) as gateway:
        content = [{"type": "text", "text": "this?"}, SOUND]
        body = {"model": "anthropic/m", "messages": [{"role": "user", "content": content}]}
        assert dropped(await post(gateway, "/v1/chat/completions", body)) == ["messages[0].parts[1]: audio blob"]


@pytest.mark.parametrize(
    ("setting", "field"),
    [("", "reasoning_content"), ('reasoning = "reasoning"', "reasoning"), ('reasoning = "none"', None)],
)
async def test_a_provider_of_ones_own_gets_its_reasoning_back(upstream: Upstream, tmp_path: Path, read, setting, field):
    """Models that think between tool calls lose their thread without it."""
    upstream.answers(reply(read("chat_whole.json")))
    own = f'[providers.own]\nbase_url = "{upstream.url}"\ndialect = "openai-chat"\n{setting}\n'
    thought = {"type": "thinking", "thinking": "I think", "signature": ""}
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "1"}
    turns = [*HELLO, {"role": "assistant", "content": [thought, call]}, {"role": "user", "content": [result]}]
    async with InProcess(tmp_path / "data", own) as gateway:
        body = {"model": "own/m", "max_tokens": 9, "messages": turns, "tools": [{"name": "f", "input_schema": {}}]}
        assert (await post(gateway, "/v1/messages", body)).status == 200
    message = json.loads(upstream.asked[0].body)["messages"][1]
    assert {key: message[key] for key in message if key.startswith("reasoning")} == (
        {field: "I think"} if field else {}
    )
