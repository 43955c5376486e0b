"""Reloads while the gateway runs, on SIGHUP or a changed file: applied as a whole, or not at all."""

import asyncio
import fcntl
import json
import logging
import os
import pty
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, Any

import pytest

from gateway.config.layers import Loaded
from gateway.errors import ConfigError
from gateway.server.live_config.published import PublishedConfig, stamp
from gateway.server.live_config.reload import Reloader, Watch
from gateway.server.live_config.source import Source
from tests.support.gateways import Process, to
from tests.support.raw_http import connected, exchange, request
from tests.support.upstream import Asked, Step, Upstream, reply, stream

JSON = ("Content-Type", "application/json")
BODY = b'{"model":"m","stream":true,"stream_options":{},"messages":[{"role":"user","content":"hello"}]}'
STREAM = request("POST", "/v1/chat/completions", [JSON], BODY)
MODELS = request("GET", "/v1/models")
HEALTH = request("GET", "/-/health").replace(b"Host: test", b"Host: localhost")
SECRET = "sk-planted-0123456789"
DELTA = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"w"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
STREAMS = 200


class Here:
    """A configuration in a folder, read by a reloader whose clock stands still; `said` and `changes` are what came."""

    def __init__(self, folder: Path, toml: str, **environ: str) -> None:
        self.file = folder / "gateway.toml"
        self.file.write_text(toml)
        self.source = Source(data=folder / "data", environ=environ, cwd=folder)
        self.published = PublishedConfig(1)
        self.said: list[str] = []
        self.changes: list[tuple[Loaded, Loaded]] = []
        self.now = 1000.0
        self.reloader = Reloader(
            self.source,
            self.published,
            lambda _loaded: (None, False),
            lambda: 5.0,
            changed=lambda old, new: self.changes.append((old, new)),
            notify=self.said.append,
        )
        self.reloader.start()
        self.look(1.0)

    def look(self, seconds: float) -> float:
        """Let time pass and tick; return when the next tick is wanted."""
        self.now += seconds
        return self.reloader.tick(self.now)

    def settle(self) -> None:
        """Let what has changed be noticed and read."""
        self.look(1.0)
        self.look(1.0)

    @property
    def timeout(self) -> float:
        """The value that tests change."""
        return self.published.get()[1].loaded.config.default_timeout


def timeout(seconds: float) -> str:
    """Return the text of a file with one value."""
    return f"default_timeout = {seconds}\n"


def test_a_changed_file_is_reloaded(tmp_path):
    """A file is reloaded once it has settled; `changed` gets both configurations, `notify` a line."""
    here = Here(tmp_path, timeout(1))
    assert (here.published.generation, here.timeout) == (1, 1.0)
    assert here.look(1.0) == 1.0
    here.file.write_text("")  # an editor truncates it, then writes
    assert here.look(1.0) < 1.0
    here.file.write_text(timeout(22))
    assert here.look(0.25) < 1.0
    assert (here.published.generation, here.timeout) == (1, 1.0)
    assert here.look(0.25) == 1.0
    assert (here.published.generation, here.timeout) == (2, 22.0)
    assert [(old.config.default_timeout, new.config.default_timeout) for old, new in here.changes] == [(1.0, 22.0)]
    assert here.said == ["the configuration was loaded again (generation 2)"]
    here.settle()
    assert here.published.generation == 2


def test_an_equal_configuration_is_not_published(tmp_path):
    """A file that was touched, or whose comments changed, causes no publication."""
    here = Here(tmp_path, timeout(1))
    here.file.write_text("# a comment\n" + timeout(1))
    here.settle()
    os.utime(here.file)
    here.settle()
    here.reloader.hangup()
    assert (here.published.generation, here.changes, here.said) == (1, [], [])


APPEARING: dict[str, tuple[str, str, str]] = {
    "a file nearer to the working directory": ("gateway.toml", "", timeout(7)),
    "a .env beside a file": (".env", "default_timeout = 1\n[providers.openai]\napi_key = '${env:A_KEY:-}'", "A_KEY=x"),
    "what is kept in the data folder": ("data/config.json", timeout(1), '{"api_keys": {"a": "b"}}'),
}


@pytest.mark.parametrize(("name", "toml", "text"), APPEARING.values(), ids=APPEARING.keys())
def test_a_file_that_appears_or_goes_is_noticed(tmp_path, name, toml, text):
    """Every file that would be read if it existed is watched."""
    here = Here(tmp_path, toml)
    (tmp_path / "data").mkdir()
    if not toml:
        here.file.unlink()
        here.settle()
    before = here.published.get()
    (tmp_path / name).write_text(text)
    here.settle()
    assert here.published.generation == before[0] + 1
    (tmp_path / name).unlink()
    here.settle()
    generation, current = here.published.get()
    assert generation == before[0] + 2
    assert current == before[1]


def test_the_dotenv_of_a_broken_file_is_watched(tmp_path):
    """A file that lacks a variable is loaded once its `.env` appears, which was never read before."""
    here = Here(tmp_path, "")
    here.file.unlink()
    here.settle()
    here.file.write_text("default_timeout = 3\n[api_keys]\nteam = '${env:TEAM_KEY}'")
    here.settle()
    assert "TEAM_KEY is not set" in (here.published.status.error or "")
    (tmp_path / ".env").write_text(f"TEAM_KEY={SECRET}")
    here.settle()
    assert (here.timeout, here.published.status.error) == (3.0, None)


BAD = {
    "no TOML": ("[providers", r"gateway\.toml: not valid TOML"),
    "half of a value": ('default_timeout = 1\n[providers.local]\nbase_url = "http', r"gateway\.toml: not valid TOML"),
    "a wrong type": ("default_timeout = 'x'", r"gateway\.toml: \$\.default_timeout: Expected `float`"),
    "an unknown key": ("defualt_timeout = 1", r"gateway\.toml: .*did you mean `default_timeout`"),
    "an alias to nothing": ("[aliases.a]\ncandidates = []", r"gateway\.toml: \$\.aliases\.a\.candidates: .*name one"),
    "a retention of nothing": (
        "[store]\nmax_age_days = -1",
        r"gateway\.toml: \$\.store\.max_age_days must be more than 0",
    ),
    "a key beside what is wrong": (f"[api_keys]\na = '{SECRET}'\nb = 1", r"gateway\.toml: \$\.api_keys\.b"),
}


@pytest.mark.parametrize(("toml", "error"), BAD.values(), ids=BAD.keys())
def test_an_invalid_file_leaves_the_active_configuration(tmp_path, toml, error, caplog):
    """An error is logged once, with path and remedy and without a secret; the next valid file is published."""
    here = Here(tmp_path, timeout(1))
    for _ in range(3):
        here.file.write_text(toml)
        here.settle()
        here.settle()
        assert (here.published.generation, here.timeout, here.changes) == (1, 1.0, [])
    os.utime(here.file)
    here.settle()
    (first, *more) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert first.getMessage().startswith("the configuration cannot be reloaded, and the active one stays: ")
    with pytest.raises(ConfigError, match=error):
        raise ConfigError(here.published.status.error or "")
    assert all(record.getMessage() == first.getMessage() for record in more)
    assert SECRET not in caplog.text + str(here.published.status)
    here.file.write_text(timeout(2))
    here.settle()
    assert (here.timeout, here.published.status.error) == (2.0, None)


def test_sighup_logs_the_error_again(tmp_path, caplog):
    """SIGHUP reports the result each time, polls report a change only."""
    here = Here(tmp_path, timeout(1))
    here.file.write_text("[")
    here.settle()
    here.settle()
    assert len(caplog.records) == 1
    here.reloader.hangup()
    here.settle()
    assert len(caplog.records) == 2


def test_an_undone_mistake_clears_the_error(tmp_path):
    """The error is cleared once the file is as before."""
    here = Here(tmp_path, timeout(1))
    here.file.write_text("[")
    here.settle()
    assert here.published.status.error
    here.file.write_text(timeout(1))
    here.settle()
    assert (here.published.generation, here.published.status.error) == (1, None)


def test_an_unexpected_exception_does_not_end_the_supervisor(tmp_path, monkeypatch, caplog):
    """An exception of the loader is logged, and the active configuration stays."""
    here = Here(tmp_path, timeout(1))

    def broken(_self: Source) -> Loaded:
        raise RuntimeError

    monkeypatch.setattr(Source, "load", broken)
    here.reloader.hangup()
    assert (here.published.generation, here.timeout) == (1, 1.0)
    assert "see the lines above" in (here.published.status.error or "")
    assert "RuntimeError" in caplog.text


def test_settings_that_need_a_restart_stay(tmp_path, caplog):
    """A new host or port is logged once per value and not applied; other changes are."""
    here = Here(tmp_path, timeout(1))
    here.file.write_text(timeout(2) + "port = 5\nhost = '127.0.0.2'\n")
    here.settle()
    here.file.write_text(timeout(3) + "port = 5\nhost = '127.0.0.2'\n")
    here.settle()
    config = here.published.get()[1].loaded.config
    assert (config.default_timeout, config.host, config.port) == (3.0, "127.0.0.1", 4000)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("$.host is '127.0.0.2' now, and stays '127.0.0.1'; $.port is 5 now, and stays 4000 until")


def test_the_status_has_the_stamp_of_the_overrides(tmp_path):
    """The status identifies the overrides that were loaded, and has their error."""
    here = Here(tmp_path, timeout(1))
    assert here.published.status.overrides is None
    kept = tmp_path / "data" / "config.json"
    kept.parent.mkdir()
    for text in ('{"api_keys": {"a": "b"}}', "{}", "["):
        kept.write_text(text)
        here.reloader.hangup()
        assert here.published.status.overrides == stamp(kept)


def test_a_watch_sees_a_change_while_files_are_read(tmp_path):
    """A change between the stamps and the reading of files counts as a change."""
    file = tmp_path / "file"
    watch = Watch()
    watch.begin([file])
    file.write_text("a")
    assert [watch.due(now) for now in (1.0, 1.1, 1.3, 1.4)] == [None, None, True, True]
    watch.begin([file])
    assert watch.due(2.0) is False
    watch.add([tmp_path / "other", file])
    assert [watch.due(now) for now in (3.0, 3.5)] == [None, True]


def test_published_values_are_what_was_put(tmp_path, monkeypatch):
    """Published values are those that were put, whatever the environment holds; no repr has a secret."""
    folder = tmp_path / os.fsdecode(b"f\xff")
    folder.mkdir()
    (folder / "gateway.toml").write_text(f"[api_keys]\na = '{SECRET}'\n[providers.openai]\ntimeout = 3")
    environ = {"A_KEY": SECRET, os.fsdecode(b"\xfe"): os.fsdecode(b"\xff\xff")}
    published = PublishedConfig(0)
    reloader = Reloader(
        Source(data=folder / "data", environ=environ, cwd=folder),
        published,
        lambda _loaded: (SECRET, True),
        lambda: 5.0,
        changed=lambda _old, _new: None,
        notify=lambda _line: None,
    )
    current = reloader.start()
    generation, read = published.get()
    assert generation == 1
    assert read.loaded.environ == current.loaded.environ == environ
    assert (read.loaded.config, read.loaded.files, read.token) == (current.loaded.config, current.loaded.files, SECRET)
    assert SECRET not in repr((published, read, read.loaded, published.status))
    monkeypatch.setattr("gateway.server.live_config.published._SNAPSHOT_MAX", 100)
    with pytest.raises(ConfigError, match=r"too large: it has .* make it smaller"):
        PublishedConfig(0).put(current)


async def until(true: Callable[[], Any]) -> None:
    """Wait until a condition holds; it may be a coroutine."""
    for _ in range(600):
        found = true()
        if await found if asyncio.iscoroutine(found) else found:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come true")


async def config_of(gateway: Process) -> dict[str, Any]:
    """Return the configuration's part of the health."""
    return json.loads((await exchange(gateway.url, HEALTH)).body)["config"]


async def generation(gateway: Process, number: int) -> None:
    """Wait until a generation is published, and for the time in which every worker applies it."""

    async def there() -> bool:
        return (await config_of(gateway))["generation"] >= number

    await until(there)
    await asyncio.sleep(0.3)


@pytest.mark.integration
async def test_a_reload_disturbs_no_stream_in_flight(upstream: Upstream, tmp_path):
    """200 streams end whole, under the configuration that they began with, over several reloads."""
    gate = asyncio.Event()
    upstream.answer = lambda _asked: stream([DELTA, gate, DELTA, DONE])
    file = tmp_path / "gateway.toml"
    async with (
        Upstream(lambda _asked: stream([DONE])) as other,
        Process(tmp_path, to(upstream.url), workers=2) as gateway,
        AsyncExitStack() as stack,
    ):
        workers = gateway.children()
        streams = [await stack.enter_async_context(connected(gateway.url)) for _ in range(STREAMS)]
        for each in streams:
            await each.send(STREAM)
        for each in streams:
            assert (await each.head())[0] == 200
            assert await each.piece() == DELTA
        file.write_text(to(other.url, "[capture]\nstore = 'metadata'\n"))
        gateway.process.send_signal(signal.SIGHUP)
        await generation(gateway, 2)
        file.write_text("[providers.openai")
        gateway.process.send_signal(signal.SIGHUP)
        await until(lambda: "not valid TOML" in gateway.log.read_text())
        answers = await asyncio.gather(*(exchange(gateway.url, STREAM) for _ in range(20)))
        assert {answer.body for answer in answers} == {DONE}
        assert (len(upstream.asked), len(other.asked)) == (STREAMS, 20)
        health = await config_of(gateway)
        assert health["generation"] == 2
        assert "gateway.toml: not valid TOML" in health["error"]
        file.write_text(to(other.url))
        gateway.process.send_signal(signal.SIGHUP)
        await generation(gateway, 3)
        gate.set()
        assert [await each.rest() for each in streams] == [DELTA + DONE] * STREAMS
        assert all(each.whole for each in streams)
        assert gateway.children() == workers
        assert await gateway.stop() == 0
    port, others = (each.url.rpartition(":")[2] for each in (upstream, other))
    seen = gateway.ask(
        """SELECT attributes ->> '$."server.port"', outcome, input_messages IS NOT NULL, count(*)
        FROM attempts GROUP BY ALL"""
    )
    assert sorted(seen) == sorted([(port, "ok", True, STREAMS), (others, "ok", False, 20)])
    assert gateway.ask("SELECT count(*) FROM exchanges WHERE outcome = 'ok'") == [(STREAMS + 20,)]


@pytest.mark.integration
async def test_a_restarted_worker_has_the_newest_configuration(upstream: Upstream, tmp_path):
    """A restarted worker applies the newest configuration, not the one at the first fork."""
    async with Upstream() as other, Process(tmp_path, to(upstream.url), workers=2) as gateway:
        (tmp_path / "gateway.toml").write_text(to(other.url))
        gateway.process.send_signal(signal.SIGHUP)
        await generation(gateway, 2)
        recorder, *victims = gateway.children()
        for pid in (recorder, *victims):
            os.kill(pid, signal.SIGKILL)
        answers = await asyncio.gather(*(exchange(gateway.url, MODELS) for _ in range(10)))
        assert [answer.status for answer in answers] == [200] * 10
        assert not set(victims) & set(gateway.children())
        assert (len(upstream.asked), len(other.asked)) == (0, 10)


@pytest.mark.integration
async def test_files_that_change_are_noticed_without_a_signal(upstream: Upstream, tmp_path):
    """The file and the `.env` beside it are watched."""
    toml = to(upstream.url) + "[providers.local]\nbase_url = '{url}'\napi_key = '${{env:LOCAL_KEY:-none}}'\n"
    seen: list[str | None] = []

    def answer(asked: Asked) -> Iterator[Step]:
        seen.append(asked.header("authorization"))
        yield from reply({"data": []})

    local = request("GET", "/local/v1/models")
    async with Upstream(answer) as other, Process(tmp_path, toml.format(url=upstream.url)) as gateway:
        (tmp_path / "gateway.toml").write_text(toml.format(url=other.url))
        await generation(gateway, 2)
        await exchange(gateway.url, local)
        (tmp_path / ".env").write_text("LOCAL_KEY=from-a-file\n")
        await generation(gateway, 3)
        await exchange(gateway.url, local)
        assert seen == ["Bearer none", "Bearer from-a-file"]
        said = gateway.log.read_text()
    assert said.count("the configuration was loaded again") == 2
    assert "from-a-file" not in said


@pytest.mark.integration
async def test_the_recorder_is_restarted_for_its_own_settings_only(upstream: Upstream, tmp_path):
    """Only settings that the recorder reads at its start restart it; the proxy goes on meanwhile."""
    rows = request("POST", "/-/sql", [JSON], b'{"sql": "SELECT * FROM range(50)", "limit": 50}')
    rows = rows.replace(b"Host: test", b"Host: localhost")
    async with Process(tmp_path, to(upstream.url)) as gateway:
        recorder, worker = gateway.children()
        (tmp_path / "gateway.toml").write_text(to(upstream.url, "[limits]\nbody_bytes = 1000\n"))
        await generation(gateway, 2)
        assert gateway.children() == [recorder, worker]
        (tmp_path / "gateway.toml").write_text(to(upstream.url, "[sql]\nmax_rows = 7\n"))

        async def bounded() -> bool:
            answer = await exchange(gateway.url, rows)
            return answer.status == 200 and len(json.loads(answer.body)["rows"]) == 7

        await until(bounded)
        assert recorder not in gateway.children()
        assert worker in gateway.children()
        assert "starting it again" not in gateway.log.read_text()


async def test_a_new_token_is_required_at_once(upstream: Upstream, tmp_path):
    """A configured token is required by the proxy and by pages; a generated one cannot be required later."""
    sql = request("POST", "/-/sql", [JSON], b'{"sql": "SELECT 1"}').replace(b"Host: test", b"Host: localhost")
    token = "a-token-of-the-file-12345"
    shown = sql.replace(b"Content-Type", b"Authorization: Bearer " + token.encode() + b"\r\nContent-Type")
    async with Process(tmp_path, to(upstream.url)) as gateway:
        (tmp_path / "gateway.toml").write_text(to(upstream.url, "[auth]\nrequired = true\n"))
        gateway.process.send_signal(signal.SIGHUP)
        await until(lambda: "$.auth.required: a token is missing" in gateway.log.read_text())
        assert (await exchange(gateway.url, MODELS)).status == 200
        (tmp_path / "gateway.toml").write_text(to(upstream.url, f"[auth]\nrequired = true\ntoken = '{token}'\n"))
        gateway.process.send_signal(signal.SIGHUP)
        await generation(gateway, 2)
        statuses = [(await exchange(gateway.url, each)).status for each in (MODELS, sql, shown)]
        assert statuses == [401, 401, 200]
        said = gateway.log.read_text()
    assert token not in said


# What a terminal's shell does: it is its session's leader, waits for what runs, and ends with the terminal.
_SHELL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if sys.argv[1] == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
pid = os.fork()
if not pid:
    os.execvp(sys.argv[2], sys.argv[2:])
signal.signal(signal.SIGHUP, signal.SIG_DFL)
print(pid, flush=True)
os.waitpid(pid, 0)
"""


@pytest.mark.integration
@pytest.mark.parametrize("nohup", [False, True])
async def test_a_closed_terminal_ends_it(tmp_path, nohup):
    """SIGHUP of a closed terminal ends the gateway, unless it was started to ignore that."""
    command = [sys.executable, "-m", "gateway", "--port", "0", "--data", str(tmp_path / "data"), "--bare"]
    log = tmp_path / "log"
    outer, inner = pty.openpty()
    with log.open("wb") as told:
        shell = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _SHELL, "nohup" if nohup else "", *command, stdin=inner, stdout=told, stderr=told
        )
    os.close(inner)
    try:
        await until(lambda: "is listening on" in log.read_text())
    finally:
        os.close(outer)
    gateway = int(log.read_text().partition("\n")[0])
    assert await shell.wait() == -signal.SIGHUP
    try:
        with (tmp_path / "data" / "lock").open() as lock:
            if nohup:
                await asyncio.sleep(1.5)
                assert not free(lock)
                os.kill(gateway, signal.SIGTERM)
            await until(lambda: free(lock))
    except BaseException:
        os.kill(gateway, signal.SIGKILL)
        raise


def free(lock: IO[str]) -> bool:
    """Whether the lock of a data directory is free."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
