"""A client of chronicle's works with nothing changed but its URL: chats, streams, errors, runs and steps, from Node.

`node/chronicle.mjs` does one thing at a time, by chronicle's npm package where it can be had, and always by
`node/chronicle_calls.mjs`, which makes the same calls.
"""

import asyncio
import functools
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateways import InProcess, to
from tests.support.npm import node_packages
from tests.support.paths import TESTS
from tests.support.sdks import CHAT
from tests.support.upstream import RESET, Asked, Upstream, events, reply, stream

pytestmark = pytest.mark.integration

OURS = TESTS / "node" / "chronicle_calls.mjs"
META = {"provider": "openai", "model": "gpt-5.4-mini", "num_retries": 0, "was_rate_limited": False}

Read = Callable[[str], bytes]
Do = Callable[[str], Any]


@functools.cache
def package() -> Path:
    """Return chronicle's own package; skip where it cannot be had, in CI too: npm's registry does not list it."""
    script = TESTS / "tools" / "install_chronicle_js.sh"
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no package of chronicle's: {done.stderr.strip().splitlines()[-1]}")
    return Path(done.stdout.strip().splitlines()[-1]).resolve() / "dist" / "index.js"


async def drive(folder: Path, thing: str, url: str, module: Path) -> list[Any]:
    """Do a thing, which must go well, and return the values that were printed."""
    (folder / "node_modules").is_symlink() or (folder / "node_modules").symlink_to(node_packages())
    shutil.copy(TESTS / "node" / "chronicle.mjs", folder)
    process = await asyncio.create_subprocess_exec(
        "node", "chronicle.mjs", thing, url, str(module), cwd=folder,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        printed, problems = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, problems) == (0, b"")
    return [json.loads(line) for line in printed.splitlines()]


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with InProcess(tmp_path / "data", to(upstream.url)) as gateway:
        yield gateway


@pytest.fixture(name="do", params=["ours", "package"])
def _do(request: pytest.FixtureRequest, tmp_path: Path, gateway: InProcess) -> Do:
    """Return what does a thing through the gateway."""
    module = OURS if request.param == "ours" else package()
    return lambda thing: drive(tmp_path, thing, gateway.url, module)


async def test_chat(do: Do, upstream: Upstream, gateway: InProcess):
    """The answer is the provider's own with `meta`, and what the client said of itself is in columns."""
    upstream.answers(reply(CHAT))
    (said,) = await do("chat")
    told = said.pop("meta")
    assert (said, told) == (CHAT, META | {"id": told["id"]})
    assert upstream.asked[0].json == {
        "model": "gpt-5.4-mini", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]
    }  # fmt: skip
    assert upstream.asked[0].header("Authorization") is None
    assert gateway.ask(
        "SELECT path, application, environment, workflow_id, extra, model, outcome, total_tokens FROM exchanges"
    ) == [("/chat", "shop", "test", "w", '{"colour":"red"}', "openai/gpt-5.4-mini", "ok", 29)]


async def test_stream(do: Do, upstream: Upstream, read: Read):
    """Chunks of another maker's model come with `meta` on the first, the usage on the last, and an end."""
    upstream.answers(stream(events(read("messages_text.sse"))))
    first, *rest = await do("stream")
    assert first["meta"] == META | {"id": first["meta"]["id"], "provider": "anthropic", "model": "claude-sonnet-5"}
    assert "".join(chunk["content"] or "" for chunk in [first, *rest]) == "Hello, 世界!"
    assert not any("meta" in chunk for chunk in rest)
    assert rest[-1]["usage"] > 0


async def test_errors(do: Do, upstream: Upstream):
    """The client throws what the provider said, or what the gateway has to say of what it does not send."""
    upstream.answers(reply({"error": {"message": "So not.", "code": "c"}}, "400 Bad Request"))
    assert await do("error") == [{"error": '{"message":"So not.","code":"c"}'}]
    ((told,),) = [each.values() for each in await do("unknown")]
    assert told.startswith("There is no provider 'nobody'")
    assert len(upstream.asked) == 1


async def test_a_stream_that_dies(do: Do, upstream: Upstream, gateway: InProcess, read: Read):
    """After what came, the client throws the reason: it is told before the connection breaks off."""
    upstream.answers(stream(events(read("chat_text.sse"))[:3], end=RESET))
    *chunks, thrown = await do("streamError")
    assert chunks[0]["meta"]["provider"] == "openai"
    assert "closed before the end of the body" in thrown["error"]
    assert gateway.exchange()["outcome"] == "upstream_abort"


async def test_openais_package_wrapped(do: Do, upstream: Upstream, gateway: InProcess):
    """Options come as headers then, and the header's model goes before the body's."""
    upstream.answers(reply(CHAT))
    (said,) = await do("wrapped")
    assert said["meta"]["model"] == "gpt-5.4-mini"
    assert upstream.asked[0].json["model"] == "gpt-5.4-mini"
    assert gateway.ask("SELECT user_id, extra, outcome FROM exchanges") == [("u", '{"a":1}', "ok")]


@pytest.mark.parametrize("thing", ["chat", "stream", "wrapped"])
async def test_our_calls_are_the_packages(tmp_path: Path, upstream: Upstream, thing: str):
    """Method, path, headers and bodies are the same, so that what holds for ours holds for the package."""

    def comparable(asked: Asked) -> tuple[Any, ...]:
        headers = {name.lower(): value for name, value in asked.headers if name.lower() != "host"}
        ids = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
        return asked.method, asked.target, headers, json.loads(ids.sub(b"", asked.body))

    module = package()
    upstream.answers(stream([b"data: [DONE]\n\n"]) if thing == "stream" else reply(CHAT))
    for each in (OURS, module):
        await drive(tmp_path, thing, upstream.url, each)
    ours, theirs = map(comparable, upstream.asked)
    assert ours == theirs


async def test_a_run_is_one_tree(do: Do, upstream: Upstream, gateway: InProcess):
    """What startRun and runStep tell is read back by SQL: steps below their run, and attempts below their steps."""
    upstream.answers(reply(CHAT))
    (said,) = await do("run")
    run = said["id"]
    assert gateway.ask("SELECT run_id, name, status, application, input, output FROM runs") == [
        (run, "night", "finished", "shop", '{"a":1}', json.dumps(said["chats"], separators=(",", ":")))
    ]
    assert gateway.ask("SELECT name, type, status, error ->> '$.message' FROM steps ORDER BY started_at, name") == [
        ("outer", "task", "finished", None),
        ("fails", "check", "error", "not today"),
        ("inner", "ask", "finished", None),
    ]
    tree = gateway.ask(
        "WITH RECURSIVE tree AS ("
        " SELECT span_id, trace_id, name AS path FROM spans WHERE parent_span_id IS NULL UNION ALL"
        " SELECT s.span_id, s.trace_id, t.path || ' > ' || s.name FROM spans s JOIN tree t"
        " ON s.parent_span_id = t.span_id AND s.trace_id = t.trace_id) SELECT path FROM tree ORDER BY path"
    )
    chat = "POST /chat"
    assert [path for (path,) in tree] == [
        "night",
        "night > outer",
        f"night > outer > {chat}",
        f"night > outer > {chat} > chat gpt-5.4-mini",
        "night > outer > fails",
        "night > outer > inner",
        f"night > outer > inner > {chat}",
        f"night > outer > inner > {chat} > chat gpt-5.4-mini",
    ]
    assert [each["attributes"]["gateway.chat.id"] for each in gateway.rows("SERVER")] == said["chats"]
    assert gateway.ask("SELECT count(DISTINCT trace_id), count(DISTINCT run_id) FROM exchanges") == [(1, 1)]
