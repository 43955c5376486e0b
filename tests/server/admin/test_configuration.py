"""`/-/config`: the active configuration, and authorized changes while it runs; no secret is ever in a response."""

import asyncio
import fcntl
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.config.model import Sql
from gateway.server.admin import configuration
from gateway.server.admin.configuration import ConfigPages, Control
from gateway.server.data_dir import socket_path
from gateway.server.live_config.overrides import locked
from gateway.server.live_config.published import PublishedConfig
from gateway.server.live_config.reload import Reloader
from gateway.server.live_config.source import Source
from gateway.server.routes import recorder_app
from tests.support.gateways import InProcess, Process, to
from tests.support.raw_http import Answer, exchange, request
from tests.support.upstream import Upstream, reply

JSON = ("Content-Type", "application/json")
SECRET = "sk-planted-0123456789"
MODELS = request("GET", "/new/v1/models")


async def asked(url: str, method: str, path: str, body: Any = None, *headers: Any, host: str = "localhost") -> Answer:
    """Ask for a page."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return await exchange(url, request(method, path, headers, raw).replace(b"Host: test", b"Host: " + host.encode()))


async def change(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Change an entry; return the status and the JSON."""
    answer = await asked(url, method, f"/-/config/{path}", body, JSON)
    return answer.status, json.loads(answer.body)


async def shown(url: str, path: str = "") -> Any:
    """Read a page."""
    answer = await asked(url, "GET", f"/-/config{path}")
    assert answer.status == 200
    return json.loads(answer.body)


@pytest.mark.integration
async def test_a_change_is_active_once_it_is_answered(upstream: Upstream, tmp_path):
    """After 200 every worker applies the change; a deletion likewise; changes survive a restart."""
    upstream.answer = lambda _asked: reply({"data": []})
    async with Process(tmp_path, to(upstream.url), workers=2) as gateway:
        for round_ in range(3):
            assert (await exchange(gateway.url, MODELS)).status == 404
            status, body = await change(gateway.url, "PUT", "providers/new", {"base_url": f"{upstream.url}/v1"})
            assert (status, body) == (200, {"generation": 2 + 2 * round_, "applied": True})
            answers = await asyncio.gather(*(exchange(gateway.url, MODELS) for _ in range(16)))
            assert [answer.status for answer in answers] == [200] * 16
            assert await change(gateway.url, "DELETE", "providers/new") == (
                200,
                {"generation": 3 + 2 * round_, "applied": True},
            )
        key = {"value": SECRET}
        assert (await change(gateway.url, "PUT", "api_keys/team", key))[0] == 200
        alias = {"candidates": [{"provider": "openai", "model": "m", "api_key_name": "team"}]}
        assert (await change(gateway.url, "PUT", "aliases/a%2Fb%20c", alias))[0] == 200
        assert (await change(gateway.url, "PUT", "aliases/a%2Fb%20c", alias))[1]["applied"]
        await gateway.stop()
        await gateway.start()
        body = {"model": "a/b c", "messages": []}
        assert (await asked(gateway.url, "POST", "/v1/chat/completions", body, JSON)).status == 200
        assert upstream.asked[-1].json["model"] == "m"
        assert upstream.asked[-1].header("authorization") == f"Bearer {SECRET}"
        pages = [await asked(gateway.url, "GET", f"/-/config{each}") for each in ("", "/api_keys", "/api_keys/team")]
        assert [page.status for page in pages] == [200] * 3
        assert SECRET.encode() not in b"".join(page.body for page in pages)
        assert b"set, not shown" in pages[2].body
    assert SECRET not in gateway.log.read_text()


@pytest.mark.integration
async def test_many_changes_at_once_are_all_made(upstream: Upstream, tmp_path):
    """Concurrent changes of clients, and of a command on the same file, are all made."""
    async with Process(tmp_path, to(upstream.url)) as gateway:
        source = Source(data=gateway.data, environ={}, cwd=tmp_path)

        def beside(number: int) -> None:
            with locked(source) as held:
                held.put("api_keys", f"beside-{number}", {"value": "k"})

        done = await asyncio.gather(
            *(change(gateway.url, "PUT", f"api_keys/asked-{n}", {"value": "k"}) for n in range(12)),
            *(asyncio.to_thread(beside, n) for n in range(6)),
        )
        assert all(each is None or (each[0], each[1]["applied"]) == (200, True) for each in done)
        names = {f"asked-{n}" for n in range(12)} | {f"beside-{n}" for n in range(6)}
        await asyncio.sleep(1.5)  # what was written beside it is noticed
        assert set((await shown(gateway.url, "/api_keys"))["api_keys"]) == names


REFUSED: dict[str, tuple[str, str, Any, int, str]] = {
    "an entry that cannot work": ("PUT", "providers/a", {"base_url": "x"}, 422, "$.providers.a.base_url"),
    "an unknown key": ("PUT", "aliases/a", {"candidate": []}, 422, "did you mean `candidates`?"),
    "a provider that an alias names": ("DELETE", "providers/local", None, 422, "$.aliases.smart.candidates[0]"),
    "an entry of a file": ("DELETE", "providers/openai", None, 409, "gateway.toml; remove it there"),
    "an entry that is not there": ("DELETE", "api_keys/nobody", None, 404, "no api_keys.nobody"),
    "another table": ("PUT", "retry/max_tries", 3, 404, "there are providers, aliases, api_keys"),
    "no JSON": ("PUT", "api_keys/a", b'{"value": "sk-planted-0123456789"', 400, "the JSON of one entry"),
    "JSON without an end": ("PUT", "api_keys/a", b"[" * 100_000, 400, "the JSON of one entry"),
    "nothing": ("PUT", "api_keys/a", b"", 400, "the JSON of one entry"),
    "a whole table": ("PUT", "api_keys", {"a": "b"}, 405, "takes GET"),
}


@pytest.mark.integration
async def test_a_refused_change_changes_nothing(upstream: Upstream, tmp_path):
    """A refusal has the error and the remedy, repeats no secret, and changes nothing."""
    async with Process(tmp_path, to(upstream.url)) as gateway:
        await change(gateway.url, "PUT", "providers/local", {"base_url": "http://127.0.0.1:9/v1"})
        await change(gateway.url, "PUT", "aliases/smart", {"candidates": ["local/m"]})
        before = (gateway.data / "config.json").read_bytes()
        for name, (method, path, body, status, message) in REFUSED.items():
            found, said = await change(gateway.url, method, path, body)
            assert (name, found) == (name, status)
            assert message in said["error"]["message"], name
            assert SECRET not in str(said)
        assert (gateway.data / "config.json").read_bytes() == before
        assert (await shown(gateway.url))["generation"] == 3


@pytest.mark.integration
async def test_the_pages_show_the_active_configuration(upstream: Upstream, tmp_path):
    """Pages show active values with their origins; an error of newer files is in the status."""
    async with Process(tmp_path, to(upstream.url)) as gateway:
        await change(gateway.url, "PUT", "providers/local", {"base_url": "http://127.0.0.1:9/v1", "api_key": SECRET})
        (tmp_path / "gateway.toml").write_text("default_timeout = 'x'")
        gateway.process.send_signal(signal.SIGHUP)
        page = await shown(gateway.url)
        for _ in range(500):
            if page["error"]:
                break
            await asyncio.sleep(0.02)
            page = await shown(gateway.url)
        assert "gateway.toml: $.default_timeout: Expected `float`" in page["error"]
        settings = {each["path"]: each for each in page["settings"]}
        assert settings["$.default_timeout"]["value"] == 600.0
        assert settings["$.providers.openai.base_url"]["origin"]["file"] == str(tmp_path / "gateway.toml")
        assert settings["$.providers.local.api_key"]["value"] == "set, not shown"
        assert settings["$.providers.local.api_key"]["origin"]["file"] == str(gateway.data / "config.json")
        local = await shown(gateway.url, "/providers/local")
        assert local["kept"]
        assert local["comes_to"]["key"] == "$.providers.local.api_key"
        assert not (await shown(gateway.url, "/providers/openai"))["kept"]
        assert (await shown(gateway.url, "/providers/groq"))["settings"] == []
        assert (await asked(gateway.url, "GET", "/-/config/providers/nobody")).status == 404
        status, said = await change(gateway.url, "PUT", "api_keys/a", {"value": "k"})
        assert status == 422
        assert "gateway.toml: $.default_timeout" in said["error"]["message"]


@pytest.mark.integration
async def test_a_worker_that_hangs_makes_a_change_202(upstream: Upstream, tmp_path):
    """A change is 202 while a worker has not applied it, and is applied once the worker goes on."""
    async with Process(tmp_path, to(upstream.url), workers=2) as gateway:
        _, first, second = gateway.children()
        os.kill(first, signal.SIGSTOP)
        os.kill(second, signal.SIGSTOP)
        try:
            reader, writer = await asyncio.open_unix_connection(str(gateway.data / "recorder.sock"))
            body = b'{"value": "k"}'
            writer.write(request("PUT", "/-/config/api_keys/a", [JSON, ("Connection", "close")], body))
            answer = await asyncio.wait_for(reader.read(), 20)
            writer.close()
        finally:
            os.kill(first, signal.SIGCONT)
            os.kill(second, signal.SIGCONT)
        assert answer.startswith(b"HTTP/1.1 202 ")
        assert b'{"generation":2,"applied":false}' in answer
        assert (await change(gateway.url, "PUT", "api_keys/b", {"value": "k"}))[1]["applied"]


@asynccontextmanager
async def served(folder: Path, data: Path, **reloads: Any) -> AsyncIterator[Reloader]:
    """Serve the pages beside a gateway in this process, as its recorder would; `said` is where it reads its files."""
    published = PublishedConfig(0)
    source = Source(data=data, environ={}, cwd=folder)
    reloader = Reloader(
        source,
        published,
        lambda _loaded: (None, False),
        lambda: 0.0,
        changed=lambda _old, _new: None,
        notify=lambda _line: None,
    )
    await asyncio.to_thread(reloader.start)
    loop, reload = asyncio.get_running_loop(), reloads.get("reload", reloader.hangup)
    control = Control(source=source, published=published, reload=lambda: loop.run_in_executor(None, reload) and None)
    runner = web.AppRunner(recorder_app(data, Sql(), dict, config=ConfigPages(control)))
    await runner.setup()
    await web.UnixSite(runner, str(socket_path(data))).start()
    try:
        yield reloader
    finally:
        await runner.cleanup()


async def test_a_change_beside_a_broken_file_is_409(gateway: InProcess, tmp_path):
    """A change that is stored, but not active because a file became invalid, is 409."""

    def reload() -> None:
        (tmp_path / "gateway.toml").write_text("[")
        reloader.hangup()

    async with served(tmp_path, gateway.data, reload=reload) as reloader:
        status, said = await change(gateway.url, "PUT", "api_keys/a", {"value": "k"})
        assert status == 409
        assert "stored, but not active: " in said["error"]["message"]
        assert "gateway.toml: not valid TOML" in said["error"]["message"]


async def test_a_supervisor_that_does_not_answer_is_not_waited_for(gateway: InProcess, tmp_path, monkeypatch):
    """A change is answered in time without a supervisor, and so is the next one."""
    monkeypatch.setattr(configuration, "_APPLY_SECONDS", 0.05)
    async with served(tmp_path, gateway.data, reload=lambda: None):
        for name in "ab":
            assert await change(gateway.url, "PUT", f"api_keys/{name}", {"value": "k"}) == (
                202,
                {"generation": 1, "applied": False},
            )


async def test_changes_are_made_one_after_the_other(gateway: InProcess, tmp_path):
    """The lock is held until a change is active, so that each answer is to its own change."""
    free: list[bool] = []

    def reload() -> None:
        with (gateway.data / "config.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                free.append(False)
            else:
                free.append(True)
        reloader.hangup()

    async with served(tmp_path, gateway.data, reload=reload) as reloader:
        assert (await change(gateway.url, "PUT", "api_keys/a", {"value": "k"}))[0] == 200
        assert (await change(gateway.url, "DELETE", "api_keys/a"))[0] == 200
    assert free == [False, False]


PAGES = [("Origin", "https://evil.example"), ("Origin", "http://localhost:1"), ("Origin", "null")]
FORMS = ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH"])
async def test_no_web_page_can_change_anything(gateway: InProcess, tmp_path, method):
    """Another Host, a form, a foreign Origin and a preflight request are all refused."""
    async with served(tmp_path, gateway.data):
        path, body = "/-/config/api_keys/a", {"value": "k"}
        statuses = [
            (await asked(gateway.url, method, path, body, JSON, host="evil.example")).status,
            *[(await asked(gateway.url, method, path, body, JSON, page)).status for page in PAGES],
        ]
        assert statuses == [403] * 4
        forms = [(await asked(gateway.url, method, path, body, ("Content-Type", form))).status for form in FORMS]
        assert [*forms, (await asked(gateway.url, method, path)).status] == [415] * 4
        wish = ("Access-Control-Request-Method", method)
        for page in PAGES:
            answer = await asked(gateway.url, "OPTIONS", path, None, page, wish)
            assert answer.status == 403
            assert not [name for name, _ in answer.headers if name.lower().startswith(b"access-control-")]
        assert not (gateway.data / "config.json").exists()
        own = ("Origin", "http://localhost")
        allowed = (await asked(gateway.url, method, path, body, JSON, own)).status
        assert allowed == {"PUT": 200, "DELETE": 404}.get(method, 405)


async def test_a_required_token_protects_the_pages(tmp_path):
    """Reading and changing need the token; health without it names no files."""
    data = tmp_path / "data"
    async with InProcess(data, token="the-token-0123456789") as gateway, served(tmp_path, data) as reloader:
        gateway._worker._status = lambda: {"generation": 1, "loaded_at": 0.0, "error": "/a/file: $.path"}
        for method in ("GET", "PUT", "DELETE"):
            assert (await asked(gateway.url, method, "/-/config/api_keys/a", {"value": "k"}, JSON)).status == 401
        shown = ("Authorization", "Bearer the-token-0123456789")
        assert (await asked(gateway.url, "PUT", "/-/config/api_keys/a", {"value": "k"}, JSON, shown)).status == 200
        assert b"/a/file" in (await asked(gateway.url, "GET", "/-/health", None, shown)).body
        stranger = json.loads((await asked(gateway.url, "GET", "/-/health")).body)
        assert stranger["config"]["error"] == "see the gateway's log"
    assert reloader
