"""The composition root: puts the parts together, and is the only file that knows them all."""

import asyncio
import contextlib
import ipaddress
import os
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from msgspec import Struct, structs

from gateway.config.layers import Loaded
from gateway.errors import ConfigError
from gateway.server import processes
from gateway.server.data_dir import hold
from gateway.server.live_config.published import ConfigSnapshot, PublishedConfig
from gateway.server.live_config.reload import Reloader
from gateway.server.live_config.source import Source
from gateway.server.supervisor import Hooks, Role, Supervisor, listen
from gateway.store.otlp.exporter import wanted
from gateway.store.segments import VIEWS
from gateway.tracing import tracer

_OPEN_FILES = 65_536


class Options(Struct, frozen=True, kw_only=True):
    """What the command line says, and where the configuration comes from."""

    source: Source
    workers: int


def serve(options: Options) -> int:
    """Run the gateway until it is told to stop; return the exit code. Raises ConfigError."""
    data = (options.source.cwd / options.source.data).absolute()
    gateway = _Gateway(structs.replace(options.source, data=data), options.workers)
    lock = hold(data)
    try:
        return gateway.run()
    finally:
        os.close(lock)


def record(source: Source) -> None:
    """Look after a data folder until told to stop, for workers that are in other processes. Raises ConfigError."""
    data = (source.cwd / source.data).absolute()
    loaded = structs.replace(source, data=data).load()
    lock = hold(data)
    os.environ.update(loaded.environ)  # the exporter reads the process's own

    async def look_after() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with processes.looked_after(data, loaded.config, loaded.environ) as one:
            _say(f"looking after {data}")
            await one.run(stop)

    try:
        asyncio.run(look_after())
    finally:
        os.close(lock)


class _Gateway:
    """One gateway: its listening sockets, its children, and what they are told. Raises ConfigError."""

    def __init__(self, source: Source, workers: int) -> None:
        self._source = source
        self._workers = workers
        self._tokens = Tokens()
        self._published = PublishedConfig(workers)
        self._reloader = Reloader(source, self._published, self._tokens.of, time.time, changed=self._changed, say=_say)
        self._current = self._reloader.start()

    def run(self) -> int:
        """Listen, and run until told to stop; return the exit code. Raises ConfigError."""
        config = self._current.loaded.config
        _open_many_files()
        sockets = listen(config.host, config.port, self._workers)
        recorder = partial(processes.recorder, self._published, self._source)
        self._supervisor = Supervisor(
            Role(name="recorder", run=partial(processes.run, recorder, sockets)),
            [self._role(slot, sockets) for slot in range(self._workers)],
            drain_seconds=config.limits.drain_seconds,
            hooks=Hooks(
                ready=lambda: announce(self._current, sockets[0], self._source.data, self._tokens.made),
                tick=lambda: self._reloader.tick(time.monotonic()),
                hangup=self._reloader.hangup,
                stop=partial(_close, sockets),
            ),
        )
        return self._supervisor.run()

    def _role(self, slot: int, sockets: list[socket.socket]) -> Role:
        """Return a worker, which has one of the sockets for its own."""
        own = sockets[slot]
        main = partial(processes.worker, self._published, slot, self._source.data, own)
        return Role(name=f"w{slot}", run=partial(processes.run, main, [sock for sock in sockets if sock is not own]))

    def _changed(self, old: Loaded, new: Loaded) -> None:
        """Have the children go on by what has just been published."""
        self._supervisor.drain_seconds = new.config.limits.drain_seconds
        self._supervisor.tell_workers()
        if _of_the_recorder(old) != _of_the_recorder(new):
            self._supervisor.renew_first()


def _of_the_recorder(loaded: Loaded) -> tuple[object, ...]:
    """Return what the recorder goes by, which it reads once, when it starts."""
    config, environ = loaded.config, loaded.environ
    exporting = sorted((name, value) for name, value in environ.items() if name.startswith("OTEL_"))
    return config.store, config.sql, config.otlp, config.capture.otlp, config.capture.otlp_bytes, exporting


def _open_many_files() -> None:
    """Raise the limit of open files to what is allowed: each connection is one, and each file of the store."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Tokens:
    """Our own token: the file's, else the environment's, else one that is made when the gateway starts."""

    def __init__(self) -> None:
        self.made: str | None = None
        self._started = False

    def __repr__(self) -> str:
        """Keep it out."""
        return f"<Tokens made: {self.made is not None}>"

    def of(self, loaded: Loaded) -> tuple[str | None, bool]:
        """Return our token, and whether clients and pages need it: off loopback, unless something else is asked for.

        Raises ConfigError where one is needed all at once: one that is made is told at the start only.
        """
        auth, started = loaded.config.auth, self._started
        self._started = True
        required = auth.required if auth.required is not None else not _local(loaded.config.host)
        token = (auth.token or loaded.environ.get("GATEWAY_TOKEN") or "").strip() or None
        if not required or token is not None:
            return token, required
        if self.made is None:
            if started:
                raise ConfigError("$.auth.required: it needs a token; set $.auth.token or GATEWAY_TOKEN too")
            self.made = secrets.token_urlsafe(24)
        return self.made, required


def _local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def announce(current: ConfigSnapshot, sock: socket.socket, data: Path, made: str | None) -> None:
    """Say where we are, and what to paste for each client. `made`: the token that was made for this run."""
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    url = f"http://{shown}:{port}"
    exporting = wanted(current.loaded.environ) and current.loaded.config.capture.otlp != "off"
    with contextlib.suppress(ValueError):
        data = data.relative_to(Path.cwd())
    lines = [
        f"gateway {tracer.VERSION} is listening on {url}",
        "",
        f"  export OPENAI_BASE_URL={url}/v1      # OpenAI SDKs",
        f"  export ANTHROPIC_BASE_URL={url}      # Anthropic SDKs, Claude Code",
        "",
        f"  traces   gateway tail -f --data {data}",
        f"  SQL      duckdb {data / VIEWS}",
        f"  OTLP     {'on' if exporting else 'off; set OTEL_EXPORTER_OTLP_ENDPOINT to send spans to a collector'}",
    ]
    if made is not None:
        lines += ["", f"  token    {made}   # made for this run; clients send it as x-gateway-token"]
    _say("\n".join(lines))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
