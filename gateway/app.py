"""The composition root: puts the parts together, and is the only file that knows them all."""

import asyncio
import fcntl
import gc
import ipaddress
import logging
import os
import resource
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import uvloop
from aiohttp import web
from msgspec import Struct

from gateway import setup, telemetry
from gateway.admin.pages import pages, socket_path
from gateway.config import Config
from gateway.errors import ConfigError
from gateway.otlp.exporter import Exporter, wanted
from gateway.providers.aws_profiles import with_region
from gateway.recorder import Recorder
from gateway.segments import VIEWS
from gateway.supervisor import Lifeline, Role, Supervisor, listen
from gateway.worker import Worker

log = logging.getLogger("gateway")

_TICK = 1.0
_OPEN_FILES = 65_536


class Options(Struct, frozen=True, kw_only=True):
    """What the command line says."""

    host: str
    port: int
    data: Path
    workers: int
    config: Config


def serve(options: Options, environ: Mapping[str, str]) -> int:
    """Run the gateway until it is told to stop; return the exit code. Raises ConfigError."""
    environ = with_region(environ)
    setup.build(options.config, environ)
    data = options.data.absolute()
    lock = _hold(data)
    try:
        return _supervise(options, data, environ)
    finally:
        os.close(lock)


def _supervise(options: Options, data: Path, environ: Mapping[str, str]) -> int:
    """Listen, and run the recorder and the workers."""
    config = options.config
    token, required = _token(options, environ)
    _open_many_files()
    sockets = listen(options.host, options.port, options.workers)
    recorder = Role(name="recorder", run=partial(_run, partial(_recorder, config, data, environ), sockets))
    workers = [
        Role(
            name=f"w{index}",
            run=partial(
                _run,
                partial(_worker, config, data, environ, token, required, f"w{index}", own),
                [sock for sock in sockets if sock is not own],
            ),
        )
        for index, own in enumerate(sockets)
    ]
    supervisor = Supervisor(
        recorder,
        workers,
        drain_seconds=config.limits.drain_seconds,
        on_ready=lambda: _announce(options, sockets[0], token if required else None, environ),
        on_stop=partial(_close, sockets),
    )
    return supervisor.run()


def _open_many_files() -> None:
    """Raise the limit of open files to what is allowed: each connection is one, and each file of the store."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _hold(data: Path) -> int:
    """Make the data folder and lock it, so that one gateway looks after it. Raises ConfigError."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"the data folder {data} cannot be used: {error.strerror}; choose another with --data"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ConfigError(f"another gateway is using {data}; stop it, or choose another folder with --data") from None
    return lock


def _token(options: Options, environ: Mapping[str, str]) -> tuple[str | None, bool]:
    """Return our token, and whether clients and pages need it: off loopback, unless something else is asked for."""
    auth = options.config.auth
    try:
        local = options.host == "localhost" or ipaddress.ip_address(options.host).is_loopback
    except ValueError:
        local = False
    required = auth.required if auth.required is not None else not local
    token = (auth.token or environ.get("GATEWAY_TOKEN") or "").strip() or None
    if required and token is None:
        token = secrets.token_urlsafe(24)
    return token, required


def _announce(options: Options, sock: socket.socket, token: str | None, environ: Mapping[str, str]) -> None:
    """Say where we are, and what to paste for each client."""
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    url = f"http://{shown}:{port}"
    exporting = wanted(environ) and options.config.capture.otlp != "off"
    try:
        data = options.data.absolute().relative_to(Path.cwd())
    except ValueError:
        data = options.data.absolute()
    lines = [
        f"gateway {telemetry.VERSION} is listening on {url}",
        "",
        f"  export OPENAI_BASE_URL={url}/v1      # OpenAI SDKs",
        f"  export ANTHROPIC_BASE_URL={url}      # Anthropic SDKs, Claude Code",
        "",
        f"  traces   gateway tail -f --data {data}",
        f"  SQL      duckdb {data / VIEWS}",
        f"  OTLP     {'on' if exporting else 'off; set OTEL_EXPORTER_OTLP_ENDPOINT to send spans to a collector'}",
    ]
    if token is not None and not (options.config.auth.token or environ.get("GATEWAY_TOKEN")):
        lines += ["", f"  token    {token}   # made for this run; clients send it as x-gateway-token"]
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _run(
    main: Callable[[Lifeline, asyncio.Event], Awaitable[None]], others: Iterable[socket.socket], lifeline: Lifeline
) -> None:
    """Run a child's main coroutine on its own event loop until SIGTERM, or until the parent is gone.

    `others`: listening sockets of its siblings. Held open here, they would take connections that nobody answers while
    those drain.
    """
    _close(others)

    async def until_stopped() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_reader(lifeline.alive, stop.set)
        await main(lifeline, stop)
        loop.remove_reader(lifeline.alive)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_stopped())


def _ready(lifeline: Lifeline) -> None:
    os.write(lifeline.ready, f"{os.getpid()} ".encode())


def _urls(sock: socket.socket) -> list[str]:
    """Return the URLs that a variable may tell clients of us by."""
    port = sock.getsockname()[1]
    return [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]


async def _worker(
    config: Config,
    data: Path,
    environ: Mapping[str, str],
    token: str | None,
    required: bool,
    name: str,
    sock: socket.socket,
    lifeline: Lifeline,
    stop: asyncio.Event,
) -> None:
    """Proxy until told to stop, then drain."""
    worker = Worker(config, data, environ, token=token, required=required, name=name, ours=_urls(sock))
    await worker.start()
    await web.SockSite(worker.runner, sock).start()
    # What is alive now stays alive; the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    _ready(lifeline)
    try:
        while not stop.is_set():
            worker.journal.tick()
            try:
                await asyncio.wait_for(stop.wait(), _TICK)
            except TimeoutError:
                continue
    finally:
        await worker.stop()


async def _recorder(
    config: Config, data: Path, environ: Mapping[str, str], lifeline: Lifeline, stop: asyncio.Event
) -> None:
    """Look after the store, export, and answer queries until told to stop."""
    exporter = Exporter.from_environment(environ, data, config.capture)
    recorder = Recorder(data, config.store, exporter)
    await asyncio.to_thread(recorder.prepare)

    def health() -> dict[str, object]:
        return {
            "sealed": recorder.sealed,
            "failures": recorder.failures,
            "otlp": exporter.counters() if exporter is not None else None,
        }

    runner = web.AppRunner(pages(data, config.sql, health), access_log=None, handler_cancellation=True)
    await runner.setup()
    path = socket_path(data)
    path.unlink(missing_ok=True)
    await web.UnixSite(runner, str(path)).start()
    if exporter is not None:
        exporter.start()
    _ready(lifeline)
    try:
        await recorder.run(stop)
    finally:
        if exporter is not None:
            await asyncio.to_thread(exporter.stop)
        await runner.cleanup()
        path.unlink(missing_ok=True)
