"""Entry points of the server: `gateway serve`, a supervisor with its children, and `gateway recorder` alone."""

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
from gateway.server.data_dir import lock_data_dir
from gateway.server.live_config.published import ConfigSnapshot, PublishedConfig
from gateway.server.live_config.reload import Reloader
from gateway.server.live_config.source import Source
from gateway.server.supervisor import Hooks, Role, Supervisor, listen
from gateway.store.otlp.exporter import wanted
from gateway.store.segments import VIEWS
from gateway.tracing import tracer

_OPEN_FILES = 65_536


class Options(Struct, frozen=True, kw_only=True):
    """The source of the configuration, and the options of the command line that are not in `gateway.toml`."""

    source: Source
    workers: int


def serve(options: Options) -> int:
    """Run the gateway until it is stopped; return the exit code. Raises ConfigError."""
    data = (options.source.cwd / options.source.data).absolute()
    gateway = _Gateway(structs.replace(options.source, data=data), options.workers)
    lock = lock_data_dir(data)
    try:
        return gateway.run()
    finally:
        os.close(lock)


def record(source: Source) -> None:
    """Run the recorder of a data directory until stopped, for workers in other processes. Raises ConfigError."""
    data = (source.cwd / source.data).absolute()
    loaded = structs.replace(source, data=data).load()
    lock = lock_data_dir(data)
    os.environ.update(loaded.environ)  # exporters read the process's own environment

    async def run_recorder() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with processes.open_recorder(data, loaded.config, loaded.environ) as recorder:
            _print(f"recording into {data}")
            await recorder.run(stop)

    try:
        asyncio.run(run_recorder())
    finally:
        os.close(lock)


class _Gateway:
    """One gateway: its listening sockets, its child processes, and the configuration published to them."""

    def __init__(self, source: Source, workers: int) -> None:
        self._source = source
        self._workers = workers
        self._tokens = Tokens()
        self._published = PublishedConfig(workers)
        self._reloader = Reloader(
            source, self._published, self._tokens.resolve, time.time, changed=self._changed, notify=_print
        )
        self._started = self._reloader.start()

    def run(self) -> int:
        """Listen, and run until stopped; return the exit code. Raises ConfigError."""
        config = self._started.loaded.config
        _raise_open_files_limit()
        sockets = listen(config.host, config.port, self._workers)
        recorder = partial(processes.recorder, self._published, self._source)
        self._supervisor = Supervisor(
            Role(name="recorder", run=partial(processes.run, recorder, sockets)),
            [self._role(slot, sockets) for slot in range(self._workers)],
            drain_seconds=config.limits.drain_seconds,
            hooks=Hooks(
                ready=lambda: announce(self._started, sockets[0], self._source.data, self._tokens.generated),
                tick=lambda: self._reloader.tick(time.monotonic()),
                hangup=self._reloader.hangup,
                stop=partial(_close, sockets),
            ),
        )
        return self._supervisor.run()

    def _role(self, slot: int, sockets: list[socket.socket]) -> Role:
        """Return the role of a worker, which listens on one of the sockets."""
        own = sockets[slot]
        main = partial(processes.worker, self._published, slot, self._source.data, own)
        return Role(name=f"w{slot}", run=partial(processes.run, main, [sock for sock in sockets if sock is not own]))

    def _changed(self, old: Loaded, new: Loaded) -> None:
        """Apply a configuration that has just been published: workers apply it live, the recorder by a restart."""
        self._supervisor.drain_seconds = new.config.limits.drain_seconds
        self._supervisor.wake_workers()
        if _recorder_settings(old) != _recorder_settings(new):
            self._supervisor.restart_recorder()


def _recorder_settings(loaded: Loaded) -> tuple[object, ...]:
    """Return the settings and variables that the recorder reads once, when it starts."""
    config, environ = loaded.config, loaded.environ
    exporting = sorted((name, value) for name, value in environ.items() if name.startswith("OTEL_"))
    return config.store, config.sql, config.otlp, config.capture.otlp, config.capture.otlp_bytes, exporting


def _raise_open_files_limit() -> None:
    """Raise the soft limit of open files: every connection takes one, and so does every file of the store."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Tokens:
    """The gateway's own token: from the file, else from the environment, else generated when the gateway starts.

    `generated`: the token that was generated for this run, if any.
    """

    def __init__(self) -> None:
        self.generated: str | None = None
        self._started = False

    def __repr__(self) -> str:
        """Keep the token out."""
        return f"<Tokens generated: {self.generated is not None}>"

    def resolve(self, loaded: Loaded) -> tuple[str | None, bool]:
        """Return the token, and whether clients and pages need it: off loopback, unless `$.auth.required` decides.

        Raises ConfigError if a token is first required by a reload: a generated one is printed at the start only.
        """
        auth, started = loaded.config.auth, self._started
        self._started = True
        required = auth.required if auth.required is not None else not _is_loopback(loaded.config.host)
        token = (auth.token or loaded.environ.get("GATEWAY_TOKEN") or "").strip() or None
        if not required or token is not None:
            return token, required
        if self.generated is None:
            if started:
                raise ConfigError("$.auth.required: a token is missing; set $.auth.token or GATEWAY_TOKEN too")
            self.generated = secrets.token_urlsafe(24)
        return self.generated, required


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def announce(snapshot: ConfigSnapshot, sock: socket.socket, data: Path, token: str | None) -> None:
    """Print the URL, and lines to paste for each client. `token`: the token generated for this run, if any."""
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    url = f"http://{shown}:{port}"
    exporting = wanted(snapshot.loaded.environ) and snapshot.loaded.config.capture.otlp != "off"
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
    if token is not None:
        lines += ["", f"  token    {token}   # generated for this run; clients send it as x-gateway-token"]
    _print("\n".join(lines))


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
