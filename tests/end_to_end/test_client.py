"""What an application says, and what it asks of models meanwhile, is one tree in the store of a real gateway."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from gateway.client import configure, delivery, dropped, event, flush, headers, httpx_async_hook, run, step
from tests.support.event_receiver import ended
from tests.support.gateways import Process, to
from tests.support.paths import ROOT
from tests.support.sdks import CHAT, HELLO, KEY, MESSAGE
from tests.support.upstream import Asked, Upstream, reply

TREE = """
WITH RECURSIVE tree AS (
    SELECT trace_id, span_id, 0 AS depth, kind || ' ' || name AS path FROM spans WHERE parent_span_id IS NULL
    UNION ALL
    SELECT s.trace_id, s.span_id, depth + 1, t.path || ' > ' || s.kind || ' ' || s.name
    FROM spans s JOIN tree t ON s.parent_span_id = t.span_id AND s.trace_id = t.trace_id
)
SELECT path FROM tree ORDER BY path
"""


async def told(gateway: Process, events: int, exchanges: int = 0) -> None:
    """Wait until the store shows so many events and exchanges: a journal is listed soon after it is begun."""
    for _ in range(400):
        found = gateway.ask("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM exchanges)")
        if found == [(events, exchanges)]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(found, gateway.ask("SELECT type, run_id, time FROM events"), gateway.log.read_text())


@pytest.fixture(name="gateway")
async def _gateway(monkeypatch: pytest.MonkeyPatch, upstream: Upstream, tmp_path: Path) -> AsyncIterator[Process]:
    """Start the real command with two workers, and lead the client to it."""

    def answer(asked: Asked) -> list[Any]:
        if "flaky" in asked.body.decode() and len(upstream.asked) % 2:
            return reply({"error": {"message": "busy"}}, "503 Service Unavailable")
        return reply(MESSAGE if asked.target.startswith("/v1/messages") else CHAT)

    upstream.answer = answer
    async with Process(
        tmp_path, to(upstream.url, "[auth]\ntoken = 's3cret-of-the-gateway'\nrequired = true\n"), workers=2
    ) as gateway:
        monkeypatch.setattr(delivery, "_delivery", None)
        configure(url=gateway.url, token="s3cret-of-the-gateway", application="shop", environment="prod")
        yield gateway
        await ended()


@pytest.mark.integration
async def test_runs_steps_exchanges_and_attempts_are_one_tree(gateway):
    """Each attempt below its exchange, below the step that made it, below its run; whatever API it was."""
    async with (
        openai.AsyncOpenAI(
            base_url=f"{gateway.url}/v1",
            api_key=KEY,
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"request": [httpx_async_hook]}),
        ) as of_openai,
        anthropic.AsyncAnthropic(
            base_url=gateway.url,
            api_key=KEY,
            http_client=anthropic.DefaultAsyncHttpxClient(event_hooks={"request": [httpx_async_hook]}),
        ) as of_anthropic,
    ):

        @step("rank", capture=True)
        async def rank(model: str) -> str:
            done = await of_anthropic.messages.create(model=model, messages=HELLO, max_tokens=9)
            return done.content[0].text

        async with run("answer", input={"id": 7}, user="u-1", session="s-1", tags=["a"]) as r:
            async with step("retrieve", type="tool", input="q", prompt_id="p-1", prompt_version=2) as retrieve:
                await of_openai.chat.completions.create(model="flaky", messages=HELLO)
                retrieve.output, _ = await asyncio.gather(rank("m1"), rank("m2"))
            event("ranked", {"n": 2})
            await of_openai.chat.completions.create(
                model="m", messages=HELLO, extra_headers=headers() | {"x-gateway-user": "u-2"}
            )
            with pytest.raises(ValueError, match="no"), step("fails"):
                raise ValueError("no")
            r.output = "done"
    assert await asyncio.to_thread(flush, 10.0)
    assert dropped() == 0
    await told(gateway, 11, 4)
    chat, claude = "SERVER POST /v1/chat/completions", "SERVER POST /v1/messages"
    below = "INTERNAL answer > INTERNAL retrieve"
    assert [path for (path,) in gateway.ask(TREE)] == sorted(
        [
            "INTERNAL answer",
            below,
            f"{below} > {chat}",
            f"{below} > {chat} > CLIENT chat flaky",
            f"{below} > {chat} > CLIENT chat flaky",
            *[f"{below} > INTERNAL rank"] * 2,
            *[f"{below} > INTERNAL rank > {claude}"] * 2,
            f"{below} > INTERNAL rank > {claude} > CLIENT chat m1",
            f"{below} > INTERNAL rank > {claude} > CLIENT chat m2",
            f"INTERNAL answer > {chat}",
            f"INTERNAL answer > {chat} > CLIENT chat m",
            "INTERNAL answer > INTERNAL fails",
        ]
    )
    assert gateway.ask("SELECT count(DISTINCT trace_id), min(trace_id) FROM spans") == [(1, r.trace_id)]
    assert gateway.ask(
        "SELECT run_id, name, status, application, environment, input::VARCHAR, output::VARCHAR, tags, trace_id,"
        " span_id FROM runs"
    ) == [(r.id, "answer", "finished", "shop", "prod", '{"id":7}', '"done"', ["a"], r.trace_id, r.span_id)]
    assert gateway.ask("SELECT info ->> 'user_id', info ->> 'session_id' FROM runs") == [("u-1", "s-1")]
    steps = gateway.ask(
        "SELECT name, type, status, output::VARCHAR, error ->> 'message' FROM steps ORDER BY started_at, name"
    )
    assert steps[0] == ("retrieve", "tool", "finished", '"Good day."', None)
    assert steps[1:3] == [("rank", "task", "finished", '"Good day."', None)] * 2
    assert steps[3] == ("fails", "task", "error", None, "no")
    assert gateway.ask(
        "SELECT run_id, step_id, session_id, user_id, application, prompt_id, prompt_version, attempts FROM exchanges"
        " WHERE model = 'flaky'"
    ) == [(r.id, retrieve.id, "s-1", "u-1", "shop", "p-1", 2, 2)]
    assert gateway.ask("SELECT run_id, step_id, user_id FROM exchanges WHERE model = 'm'") == [(r.id, None, "u-2")]
    assert gateway.ask("SELECT run_id, step_id, data::VARCHAR FROM events WHERE type = 'ranked'") == [
        (r.id, None, '{"n":2}')
    ]
    assert "s3cret-of-the-gateway" not in str(gateway.ask("FROM spans") + gateway.ask("FROM events"))


@pytest.mark.integration
async def test_a_restart_of_the_gateway_costs_no_event(gateway):
    """What is said while it is away is told when it is back, in order, and once."""
    with run("r") as r:
        with step("before"):
            pass
        assert await asyncio.to_thread(flush, 10.0)
        await gateway.stop()
        with step("meanwhile"):
            pass
        assert not await asyncio.to_thread(flush, 0.2)
        await gateway.start()
        with step("after"):
            pass
    assert await asyncio.to_thread(flush, 20.0)
    assert dropped() == 0
    await told(gateway, 8)
    assert gateway.ask("SELECT name, status FROM steps ORDER BY started_at") == [
        (name, "finished") for name in ("before", "meanwhile", "after")
    ]
    assert gateway.ask("SELECT run_id, status FROM runs") == [(r.id, "finished")]


async def test_what_any_application_says_is_taken(gateway):
    """Odd names, ids, values and times: the gateway refuses nothing that the client sends."""
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    odd = {"\ud800": float("nan"), 1: 2**80, "deep": deep, "large": "x" * 2_000_000}
    about = {"description": "", "input": odd, "tags": ["\udfff", 1], "info": odd, "status": "", "extra": {"é": 1}}
    with run("\ud800", id="i" * 300, **about), step("", type="", id="é", input=odd, info={"a": odd}) as s:
        s.state("")
        s.output = object()
        event("t" * 300, odd, error=odd)
        event("")
    assert await asyncio.to_thread(flush, 20.0)
    assert dropped() == 0
    await told(gateway, 7)
    assert gateway.ask("SELECT name, status FROM steps") == [(None, "finished")]


@pytest.mark.integration
async def test_the_example_of_the_readme_works(tmp_path):
    """As it stands there, but for the port: a run, its steps, and a call below the second one."""
    example = next(
        block
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        if "from gateway.client import" in block
    )
    async with Process(tmp_path) as gateway:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", example.replace("http://127.0.0.1:4000", gateway.url),
            env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
        assert await process.wait() == 0
        await told(gateway, 7, 1)
        assert [path for (path,) in gateway.ask(TREE)] == [
            "INTERNAL answer a ticket",
            "INTERNAL answer a ticket > INTERNAL retrieve",
            "INTERNAL answer a ticket > INTERNAL write",
            "INTERNAL answer a ticket > INTERNAL write > SERVER POST /v1/chat/completions",
            "INTERNAL answer a ticket > INTERNAL write > SERVER POST /v1/chat/completions > CLIENT chat chat",
        ]
        assert gateway.ask("SELECT input::VARCHAR, output::VARCHAR FROM steps WHERE name = 'retrieve'") == [
            ('{"question":"refund"}', '["Refunds take five days."]')
        ]
