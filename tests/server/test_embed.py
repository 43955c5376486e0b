"""The gateway inside another application: run or mounted, with a recorder beside it or elsewhere."""

import asyncio
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

import gateway
from gateway.config.model import Config, Provider
from gateway.errors import ConfigError
from gateway.server import embed
from gateway.server.data_dir import lock_data_dir
from gateway.store.recorder import Recorder
from tests.support.gateways import ask
from tests.support.paths import ROOT
from tests.support.raw_http import connected, exchange, request
from tests.support.sdks import CHAT
from tests.support.upstream import Upstream, events, reply, stream

JSON = ("Content-Type", "application/json")
BODY = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}).encode()
HOST = b"Host: localhost"
FOREVER = 60.0


def tables(upstream: Upstream) -> dict[str, Any]:
    """Return a configuration, as tables, that sends all requests to `upstream`."""
    return {
        "providers": {"openai": {"base_url": f"{upstream.url}/v1", "api_key": "${env:A_KEY}"}},
        "retry": {"max_tries": 1},
        "limits": {"drain_seconds": 0.5},
    }


@asynccontextmanager
async def serving(app: web.Application, **runner: Any) -> AsyncIterator[str]:
    """Run an application as a host would; yield its URL."""
    running = web.AppRunner(app, **runner)
    await running.setup()
    try:
        site = web.TCPSite(running, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{running.addresses[0][1]}"
    finally:
        await running.cleanup()


def host(below: str, app: web.Application) -> web.Application:
    """Return an application with a route of its own, and the gateway below a path."""

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    parent = web.Application()
    parent.router.add_get("/hello", hello)
    parent.add_subapp(below, app)
    return parent


async def rows(data: Path, sql: str, expected: list[tuple[Any, ...]]) -> None:
    """Wait for the rows of a query, which the store has a moment after the response."""
    for _ in range(200):
        found = await asyncio.to_thread(ask, data, sql) if (data / "spans.duckdb").exists() else None
        if found == expected:
            return
        await asyncio.sleep(0.05)
    assert found == expected


async def until_asked(upstream: Upstream) -> None:
    """Wait until the provider has received a request."""
    for _ in range(500):
        if upstream.asked:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing was sent upstream")


@pytest.mark.parametrize("below", ["", "/llm", "/of/our-own"])
async def test_an_sdk_is_answered_and_recorded(upstream: Upstream, tmp_path: Path, below: str):
    """Mounted or not, the gateway forwards the same request and records it; the host's routes are untouched."""
    upstream.answers(reply(CHAT))
    app = gateway.create_app(tables(upstream), data=tmp_path / "data", environ={"A_KEY": "sk-of-the-gateway-1"})
    async with serving(host(below, app) if below else app) as url:
        async with openai.AsyncOpenAI(base_url=f"{url}{below}/v1", api_key="mine") as client:
            answer = await client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "hi"}])
        assert answer.id == CHAT["id"]
        (asked,) = upstream.asked
        assert (asked.target, asked.header("authorization")) == ("/v1/chat/completions", "Bearer sk-of-the-gateway-1")
        await rows(
            tmp_path / "data", "SELECT path, outcome, attempts FROM exchanges", [("/v1/chat/completions", "ok", 1)]
        )
        sql = request("POST", f"{below}/-/sql", [JSON], b'{"sql": "SELECT count(*) FROM attempts"}').replace(
            b"Host: test", HOST
        )
        page = await exchange(url, sql)
        assert json.loads(page.body)["rows"] == [[1]]
        if below:
            assert (await exchange(url, request("GET", "/hello"))).body == b"hello"
    assert ask(tmp_path / "data", "SELECT count(*), sum(interrupted) FROM ledger") == [(1, 0)]
    assert list((tmp_path / "data" / "segments").glob("*.duckdb"))


@pytest.mark.parametrize("auto_decompress", [True, False])
async def test_a_coded_body_is_read(upstream: Upstream, tmp_path: Path, auto_decompress: bool):
    """A body that the host's runner has decoded is forwarded without a coding, any other one unchanged."""
    upstream.answers(reply(CHAT))
    app = gateway.create_app(
        tables(upstream), data=tmp_path / "data", environ={"A_KEY": "k"}, auto_decompress=auto_decompress
    )
    async with serving(host("/llm", app), auto_decompress=auto_decompress) as url:
        coded = gzip.compress(BODY)
        sent = request("POST", "/llm/v1/chat/completions", [JSON, ("Content-Encoding", "gzip")], coded)
        assert (await exchange(url, sent)).status == 200
        (asked,) = upstream.asked
        assert asked.body == (BODY if auto_decompress else coded)
        assert asked.header("content-encoding") == (None if auto_decompress else "gzip")
        await rows(tmp_path / "data", "SELECT model FROM exchanges", [("gpt-5",)])


@pytest.mark.parametrize("handler_cancellation", [True, False])
async def test_a_client_that_leaves_is_noticed(upstream: Upstream, tmp_path: Path, handler_cancellation: bool):
    """The upstream connection of a client that leaves is closed, whether or not the host cancels handlers."""
    upstream.answers([FOREVER])
    app = gateway.create_app(tables(upstream), data=tmp_path / "data", environ={"A_KEY": "k"})
    async with serving(host("/llm", app), handler_cancellation=handler_cancellation) as url:
        async with connected(url) as client:
            await client.send(request("POST", "/llm/v1/chat/completions", [JSON], BODY))
            await until_asked(upstream)
        await upstream.left()
        await rows(tmp_path / "data", "SELECT outcome FROM attempts", [("client_abort",)])


@pytest.mark.parametrize("handler_cancellation", [True, False])
async def test_an_abandoned_response_is_read_on(upstream: Upstream, tmp_path: Path, handler_cancellation: bool):
    """If the configuration sets a time for it, in any host."""
    go_on, data = asyncio.Event(), tmp_path / "data"
    upstream.answers([go_on, *reply(CHAT)])
    config = tables(upstream) | {"usage": {"drain_seconds": 30}}
    app = gateway.create_app(config, data=data, environ={"A_KEY": "k"})
    async with serving(host("/llm", app), handler_cancellation=handler_cancellation) as url:
        async with connected(url) as client:
            await client.send(request("POST", "/llm/v1/chat/completions", [JSON], BODY))
            await until_asked(upstream)
        await asyncio.sleep(2 * embed._POLL_SECONDS)  # the host looks for the client twice
        go_on.set()
        await rows(data, "SELECT outcome, usage_source FROM attempts", [("client_abort", "reported")])
    assert upstream.gone == 0


async def test_a_stop_drains_and_leaves_nothing(upstream: Upstream, tmp_path: Path, read: Any):
    """A stream still in flight after the drain is cancelled and recorded; no task and no thread remains."""
    before = set(threading.enumerate())
    upstream.answers(stream([*events(read("chat_text.sse"))[:2]], end=FOREVER))
    app = gateway.create_app(tables(upstream), data=tmp_path / "data", environ={"A_KEY": "k"})
    body = BODY.replace(b'"model"', b'"stream": true, "model"')
    async with serving(host("/llm", app)) as url, connected(url) as client:
        await client.send(request("POST", "/llm/v1/chat/completions", [JSON], body))
        await client.head()
    assert ask(tmp_path / "data", "SELECT outcome FROM exchanges") == [("shutdown",)]
    tasks = {task for task in asyncio.all_tasks() if "gateway" in repr(task.get_coro())}
    assert tasks == set()
    assert {each for each in threading.enumerate() if each not in before and "gateway" in each.name} == set()


@pytest.mark.integration
async def test_another_process_may_record(upstream: Upstream, tmp_path: Path):
    """With recorder="none" applications write journals only, and `gateway recorder` seals those of several."""
    upstream.answers(reply(CHAT))
    data = tmp_path / "data"
    apps = [gateway.create_app(tables(upstream), data=data, recorder="none", environ={"A_KEY": "k"}) for _ in range(2)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "recorder", "--data", str(data), cwd=tmp_path, stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        assert b"recording into" in await process.stderr.readline()
        for app in apps:
            async with serving(app) as url:
                assert (await exchange(url, request("POST", "/v1/chat/completions", [JSON], BODY))).status == 200
        await rows(data, "SELECT count(*) FROM exchanges", [(2,)])
    finally:
        process.terminate()
        assert await process.wait() == 0
    assert ask(data, "SELECT sum(accepted), sum(stored) FROM ledger") == [(2, 2)]


async def test_a_data_directory_has_one_recorder(upstream: Upstream, tmp_path: Path):
    """A second recorder in the same directory is refused, with the remedy."""
    data = tmp_path / "data"
    first, second = (gateway.create_app(tables(upstream), data=data, environ={"A_KEY": "k"}) for _ in range(2))
    async with serving(first):
        with pytest.raises(ConfigError, match="another gateway is using"):
            async with serving(second):
                pass


async def test_a_token_is_required_if_one_is_given(upstream: Upstream, tmp_path: Path):
    """A given token is required of clients and for pages; a required token that is missing is an error."""
    upstream.answers(reply(CHAT))
    made = tables(upstream)
    app = gateway.create_app(made, data=tmp_path / "data", environ={"A_KEY": "k"}, token="t-0123456789")
    async with serving(app) as url:
        assert (await exchange(url, request("POST", "/v1/chat/completions", [JSON], BODY))).status == 401
        with_it = [JSON, ("x-gateway-token", "t-0123456789")]
        assert (await exchange(url, request("POST", "/v1/chat/completions", with_it, BODY))).status == 200
        assert (await exchange(url, request("GET", "/-/sql"))).status == 401
    with pytest.raises(ConfigError, match=re.escape("$.auth.required")):
        gateway.create_app({"auth": {"required": True}}, data=tmp_path / "x", environ={})


def test_wrong_configurations_are_errors(tmp_path: Path):
    """A wrong configuration raises at once, with the file's name and the path in it."""
    file = tmp_path / "gateway.toml"
    file.write_text("[providers.local]\ntimeout = 'x'\n")
    with pytest.raises(ConfigError, match=re.escape(f"{file}: ")):
        gateway.create_app(file)
    with pytest.raises(ConfigError, match="there is no such file"):
        gateway.create_app(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"\$\.default_timeout must be more than 0"):
        gateway.create_app(Config(default_timeout=0))
    with pytest.raises(ConfigError, match="A_KEY"):
        gateway.create_app({"providers": {"openai": {"api_key": "${env:A_KEY}"}}}, environ={})
    with pytest.raises(ConfigError, match="circle"):
        gateway.create_app({"aliases": {"a": {"candidates": ["a"]}}}, environ={})


@pytest.mark.parametrize("how", ["tables", "a Config", "a path", "a path as text", "what is kept"])
async def test_each_form_of_the_configuration(upstream: Upstream, tmp_path: Path, how: str):
    """A file is read with its `.env`; with a file or without any, the runtime overrides apply."""
    file = tmp_path / "some.toml"
    file.write_text("[providers.local]\nbase_url = '${env:UPSTREAM}/v1'")
    (tmp_path / ".env").write_text(f"UPSTREAM={upstream.url}\n")
    provider = {"base_url": f"{upstream.url}/v1"}
    (tmp_path / "data").mkdir()
    if how == "what is kept":
        (tmp_path / "data" / "config.json").write_text(json.dumps({"providers": {"local": provider}}))
    said: dict[str, Any] = {
        "tables": {"providers": {"local": provider}},
        "a Config": Config(providers={"local": Provider(base_url=provider["base_url"])}),
        "a path": file,
        "a path as text": str(file),
        "what is kept": None,
    }
    app = await asyncio.to_thread(
        gateway.create_app, said[how], data=tmp_path / "data", recorder="none", environ={"A_KEY": "k"}
    )
    async with serving(app) as url:
        assert (await exchange(url, request("GET", "/local/v1/models"))).status == 200


async def test_the_token_may_be_that_of_the_environment(upstream: Upstream, tmp_path: Path):
    """GATEWAY_TOKEN is the token, as for the command."""
    environ = {"A_KEY": "k", "GATEWAY_TOKEN": "t-0123456789"}
    async with serving(gateway.create_app(tables(upstream), data=tmp_path, recorder="none", environ=environ)) as url:
        assert (await exchange(url, request("GET", "/v1/models"))).status == 401
        assert (await exchange(url, request("GET", "/v1/models", [("x-gateway-token", "t-0123456789")]))).status == 200


async def test_a_recorder_that_fails_is_restarted(
    upstream: Upstream, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """A recorder that fails is restarted and logged; the application goes on."""
    upstream.answers(reply(CHAT))
    monkeypatch.setattr(embed, "_RESTART_SECONDS", 0.05)
    run = Recorder.run

    async def broken(_self: Recorder, _stop: asyncio.Event) -> None:
        monkeypatch.setattr(Recorder, "run", run)
        raise RuntimeError("as it was asked to")

    monkeypatch.setattr(Recorder, "run", broken)
    app = gateway.create_app(tables(upstream), data=tmp_path / "data", environ={"A_KEY": "k"})
    async with serving(app) as url:
        assert (await exchange(url, request("POST", "/v1/chat/completions", [JSON], BODY))).status == 200
        await rows(tmp_path / "data", "SELECT outcome FROM exchanges", [("ok",)])
        assert "failed; starting it again" in caplog.text
    assert list((tmp_path / "data" / "segments").glob("*.duckdb"))


async def test_a_recorder_that_cannot_start_is_an_error(upstream: Upstream, tmp_path: Path):
    """A recorder without a socket fails the application's start, and releases the directory."""
    data = tmp_path / "data"
    (data / "recorder.sock").mkdir(parents=True)
    app = gateway.create_app(tables(upstream), data=data, environ={"A_KEY": "k"})
    with pytest.raises(OSError, match=r"recorder\.sock"):
        async with serving(app):
            pass
    os.close(await asyncio.to_thread(lock_data_dir, data))


@pytest.mark.integration
async def test_the_readmes_example_runs(tmp_path: Path):
    """The README's example runs unchanged but for its port."""
    text = (ROOT / "README.md").read_text()
    (example,) = [each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "create_app" in each]
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "gateway.toml").write_text("")
    (tmp_path / "example.py").write_text(example.replace("port=8080", f'host="127.0.0.1", port={port}'))
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "example.py", cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL
    )
    sent = request(
        "POST",
        "/llm/v1/chat/completions",
        [JSON],
        b'{"model": "demo/chat", "messages": [{"role": "user", "content": "hi"}]}',
    )
    try:
        for _ in range(400):
            try:
                answer = await exchange(f"http://127.0.0.1:{port}", sent)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                break
        assert answer.status == 200
        await rows(tmp_path / "gateway-data", "SELECT provider, outcome FROM attempts", [("demo", "ok")])
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()
    assert process.returncode == 0


def test_importing_the_package_is_light():
    """`import gateway` imports no module of the proxy; `create_app` does."""
    code = (
        "import gateway, sys; assert not {'aiohttp', 'duckdb'} & set(sys.modules); gateway.create_app; import aiohttp"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
