"""OpenAI's npm package works with nothing changed but its base URL, and what it did is in the store.

`node/driver.mjs` does one thing at a time with it and prints what it saw.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateways import InProcess
from tests.support.npm import node_packages
from tests.support.paths import TESTS
from tests.support.sdks import (
    CHAT,
    FOREVER,
    KEY,
    TRIES,
    by_path,
    facts,
    parts_of,
    reasoning,
    recorded,
    said,
    telling_usage_when_asked,
    text,
    tool_call,
)
from tests.support.upstream import Upstream, events, reply, stream

pytestmark = pytest.mark.integration

TOKENS = ("usage_source", "input_tokens", "output_tokens", "total_tokens")
MODELS = [{"id": name, "object": "model", "created": 1790000000, "owned_by": "openai"} for name in ("a", "b")]
FILE = {"id": "file-1", "object": "file", "bytes": 256, "created_at": 1, "filename": "a.jsonl", "purpose": "batch"}
ERROR = {"message": "No é.", "type": "some_type", "param": "model", "code": "some_code"}

Read = Callable[[str], bytes]
Do = Callable[[str], Any]


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Put the driver beside its packages."""
    (tmp_path / "node_modules").symlink_to(node_packages())
    shutil.copy(TESTS / "node" / "driver.mjs", tmp_path)
    return tmp_path


@asynccontextmanager
async def driver(folder: Path, thing: str, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the driver; at the end of the context its input ends, and it must have gone well."""
    process = await asyncio.create_subprocess_exec(
        "node", "driver.mjs", thing, f"{url}/v1", KEY, cwd=folder,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
        _, problems = await process.communicate(b"")
        assert (process.returncode, problems) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture(name="do")
def _do(folder: Path, gateway: InProcess) -> Do:
    """Return what does a thing through the gateway and gives back the values it printed."""

    async def do(thing: str) -> list[Any]:
        async with driver(folder, thing, gateway.url) as process:
            printed = await process.stdout.read()
        return [json.loads(line) for line in printed.splitlines()]

    return do


async def test_chat(do: Do, upstream: Upstream, gateway: InProcess):
    """A whole answer is the provider's own, and the store says what was asked, answered and spent."""
    upstream.answers(reply(CHAT, headers=[("x-request-id", "req_1")]))
    (seen,) = await do("chat")
    assert seen == {"data": CHAT, "request_id": "req_1", "trace": recorded(gateway)[0]["trace_id"]}
    assert gateway.ask(
        "SELECT e.trace_id, e.client, e.model, e.outcome, e.attempts, e.retries, e.total_tokens, a.response_model,"
        " a.usage_source, a.finish_reasons, a.stream, a.input_messages->>'$[0].parts[0].content',"
        " a.output_messages->>'$[0].parts[0].content' FROM exchanges e JOIN attempts a USING (trace_id)"
    ) == [
        (
            *(seen["trace"], "OpenAI/JS", "gpt-5.4-mini", "ok", 1, 0, 29),
            *(CHAT["model"], "reported", ["stop"], False, "Hello", "Good day."),
        )
    ]


@pytest.mark.parametrize(("thing", "usages"), [("stream", []), ("streamWithUsage", [1293])])
async def test_chat_streamed(do: Do, upstream: Upstream, gateway: InProcess, read: Read, thing: str, usages: list[int]):
    """A client gets the usage chunk exactly if it asked, and its tokens are recorded either way."""
    upstream.answer = telling_usage_when_asked(read("chat_text.sse"))
    seen = await do(thing)
    assert len(seen) == 4 + len(usages)
    assert "".join(chunk["content"] or "" for chunk in seen) == "Grüß dich 👋 東京"
    assert [chunk["usage"] for chunk in seen if chunk["usage"]] == usages
    assert upstream.asked[0].json["stream_options"] == {"include_usage": True}
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "stream", "client") == ("ok", True, "OpenAI/JS")
    assert facts(attempt, *TOKENS) == ("reported", 1219, 74, 1293)
    assert said(attempt) == [("assistant", "stop", [text("Grüß dich 👋 東京")])]


async def test_tools(do: Do, upstream: Upstream, gateway: InProcess, read: Read):
    """Parallel tool calls, whole and streamed, are whole calls for the package and in the rows."""
    upstream.answers(reply(read("chat_whole.json")), stream(events(read("chat_tools.sse"))))
    whole, streamed = await do("tools")
    assert [call["id"] for call in whole] == ["call_1", "call_2"]
    assert [call["function"]["arguments"] for call in streamed] == ['{"city":"Paris"}', '{"city":"Oslo"}']
    _, (first,) = recorded(gateway, 0)
    calls = [tool_call("call_1", "search", {"q": "tides", "limit": 3}), tool_call("call_2", "run", "print(1)")]
    assert said(first) == [("assistant", "tool_calls", [text("Let me look."), *calls])]
    _, (second,) = recorded(gateway, 1)
    calls = [tool_call(f"call_{c.lower()}", "get_weather", {"city": c}) for c in ("Paris", "Oslo")]
    assert said(second) == [("assistant", "tool_calls", calls)]
    assert second["tool_definitions"][0]["function"]["name"] == "get_weather"


async def test_responses(do: Do, upstream: Upstream, gateway: InProcess, read: Read):
    """A response, whole and streamed through the package's helper, arrives and is recorded."""
    pieces = events(read("responses_text.sse"))
    upstream.answers(reply(read("responses_whole.json")), stream(pieces))
    whole, streamed = await do("responses")
    assert whole == "Two."
    assert streamed["text"] == "Hi thère."
    assert streamed["types"] == [piece.split(b"\n")[0].removeprefix(b"event: ").decode() for piece in pieces]
    for n, stream_ in enumerate([False, True]):
        root, (attempt,) = recorded(gateway, n)
        assert facts(root, "outcome", "dialect", "stream") == ("ok", "openai-responses", stream_)
        assert facts(attempt, *TOKENS) == ("reported", 328, 52, 380)
        assert said(attempt, "input") == [("user", None, [text("Hello")])]
    assert parts_of(attempt) == [reasoning("**Greeting** They say hi."), reasoning("Answer."), text("Hi thère.")]


async def test_embeddings(do: Do, upstream: Upstream, gateway: InProcess, read: Read):
    """The package asks for base64, gets it, and reads numbers from it."""
    upstream.answers(reply(read("embeddings_base64.json")))
    (vector,) = await do("embeddings")
    assert vector == pytest.approx([0.1, 0.2, 0.3])
    assert upstream.asked[0].json["encoding_format"] == "base64"
    _, (attempt,) = recorded(gateway)
    assert facts(attempt, "operation", *TOKENS) == ("embeddings", "reported", 8, None, 8)


async def test_what_is_only_relayed(do: Do, upstream: Upstream, gateway: InProcess):
    """Models are listed, and a file of every byte arrives whole."""
    upstream.answer = by_path({"GET /v1/models": {"object": "list", "data": MODELS}, "POST /v1/files": FILE})
    assert await do("relayed") == [["a", "b"], FILE]
    listed, uploaded = upstream.asked
    assert listed.header("Authorization") == f"Bearer {KEY}"
    assert bytes(range(256)) in uploaded.body
    for n, path in enumerate(["/v1/models", "/v1/files"]):
        root, (attempt,) = recorded(gateway, n)
        assert facts(root, "outcome", "path", "dialect", "total_tokens") == ("ok", path, None, None)
        assert attempt["outcome"] == "ok"


@pytest.mark.parametrize(
    ("status", "name", "outcome", "tries"),
    [
        ("400 Bad Request", "BadRequestError", "bad_input", 1),
        ("401 Unauthorized", "AuthenticationError", "auth", 1),
        ("429 Too Many Requests", "RateLimitError", "rate_limit", TRIES),
        ("500 Internal Server Error", "InternalServerError", "server", TRIES),
    ],
)
async def test_errors(do: Do, upstream: Upstream, gateway: InProcess, status: str, name: str, outcome: str, tries: int):
    """An error has the class, body and request id it has without the gateway, which adds no word on retries."""
    upstream.answers(reply({"error": ERROR}, status, [("x-request-id", "req_bad")]))
    (seen,) = await do("error")
    assert len(upstream.asked) == tries
    root, attempts = recorded(gateway)
    assert seen == {
        "name": name,
        "status": int(status[:3]),
        "code": "some_code",
        "type": "some_type",
        "param": "model",
        "requestID": "req_bad",
        "error": ERROR,
        "shouldRetry": None,
        "trace": root["trace_id"],
    }
    assert facts(root, "outcome", "attempts", "retries") == (outcome, tries, tries - 1)
    assert [row["outcome"] for row in attempts] == [outcome] * tries


async def test_retries_are_not_seen_by_the_client(do: Do, upstream: Upstream, gateway: InProcess):
    """After two failures the third try's answer is all that the package sees."""
    failed = reply({"error": ERROR}, "500 Internal Server Error")
    limited = reply({"error": ERROR}, "429 Too Many Requests", [("retry-after-ms", "20")])
    upstream.answers(failed, limited, reply(CHAT))
    (seen,) = await do("chat")
    assert seen["data"] == CHAT
    root, attempts = recorded(gateway)
    assert facts(root, "outcome", "retries", "rate_limited", "total_tokens") == ("ok", 2, True, 29)
    assert [facts(row, "outcome", "backoff_ms") for row in attempts] == [
        ("server", None), ("rate_limit", 1.0), ("ok", 20.0),
    ]  # fmt: skip


async def test_an_error_within_a_stream(do: Do, upstream: Upstream, gateway: InProcess, read: Read):
    """The provider's error event is thrown after what came before it, and is no success in the store."""
    upstream.answers(stream(events(read("chat_error.sse"))))
    chunk, thrown = await do("streamError")
    assert chunk["content"] == "Once upon"
    assert thrown["name"] == "APIError"
    assert "The server had an error" in thrown["message"]
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "attempts") == ("server", 1)
    assert facts(attempt, "outcome", "error_type", "usage_source") == ("server", "server_error", "estimated")


async def test_an_abort(folder: Path, upstream: Upstream, gateway: InProcess, read: Read):
    """An AbortController's abort half way leaves the provider at once, and what had come is recorded."""
    upstream.answers(stream([*events(read("chat_text.sse"))[:3], FOREVER]))
    async with driver(folder, "abort", gateway.url) as process:
        assert json.loads(await process.stdout.readline()) == {"aborted": True}
        await upstream.left()
        await gateway.ended()
        assert process.returncode is None
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "attempts", "stream") == ("client_abort", 1, True)
    assert facts(attempt, "outcome", "usage_source", "error_type") == ("client_abort", "estimated", None)
    assert said(attempt)[0][2] == [text("Grüß dich 👋 東京")]


async def test_a_timeout(folder: Path, upstream: Upstream, gateway: InProcess):
    """A client that waits no longer leaves the provider at once; nothing is known of the tokens."""
    upstream.answers([FOREVER])
    async with driver(folder, "timeout", gateway.url) as process:
        assert json.loads(await process.stdout.readline()) == {"name": "APIConnectionTimeoutError"}
        await upstream.left()
        await gateway.ended()
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "http_status") == ("client_abort", None)
    assert facts(attempt, "outcome", "usage_source") == ("client_abort", None)
