"""The composition root: puts the parts together, and is the only file that knows them all."""

import asyncio
import fcntl
import gc
import ipaddress
import logging
import os
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import uvloop
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct

from gateway import telemetry
from gateway.admin.forward import Admin
from gateway.admin.pages import pages, socket_path
from gateway.config import Config
from gateway.errors import ConfigError
from gateway.journal import Journal
from gateway.otlp.exporter import Exporter, wanted
from gateway.providers import table
from gateway.providers.demo import DemoProvider
from gateway.proxy import Proxy
from gateway.recorder import LIVE, Recorder
from gateway.segments import VIEWS
from gateway.signing import AwsSigner
from gateway.supervisor import Lifeline, Role, Supervisor, listen
from gateway.wire import Client

log = logging.getLogger("gateway")

# Larger than aiohttp's 8 KiB: beta headers and cookies of real clients go beyond it.
_HEADER_BYTES = 64 * 1024
_TICK = 1.0


class _Unrepeated(logging.Filter):
    """Keeps what could not be parsed out of the log: the line that was wrong may be one with a key."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg, record.args = "a request was no valid HTTP and is refused: %s", (type(error).__name__,)
            record.exc_info = record.exc_text = None
        elif record.name == _OTEL_HEADERS:
            record.msg, record.args = "OTEL_EXPORTER_OTLP_HEADERS: what is not name=value is left out", ()
        return True


# Reads the headers for a collector, and repeats those it cannot read.
_OTEL_HEADERS = "opentelemetry.util.re"
_http_log = logging.getLogger("gateway.http")
for _name in (_http_log.name, _OTEL_HEADERS):
    logging.getLogger(_name).addFilter(_Unrepeated())


class Options(Struct, frozen=True, kw_only=True):
    """What the command line says."""

    host: str
    port: int
    data: Path
    workers: int
    config: Config


def serve(options: Options, environ: Mapping[str, str]) -> int:
    """Run the gateway until it is told to stop; return the exit code. Raises ConfigError."""
    table.build(options.config, environ)
    data = options.data.absolute()
    lock = _hold(data)
    try:
        return _supervise(options, data, environ)
    finally:
        os.close(lock)


def _supervise(options: Options, data: Path, environ: Mapping[str, str]) -> int:
    """Listen, and run the recorder and the workers."""
    config = options.config
    token = _token(options)
    sockets = listen(options.host, options.port, options.workers)
    recorder = Role(name="recorder", run=partial(_run, partial(_recorder, config, data, environ), sockets))
    workers = [
        Role(
            name=f"w{index}",
            run=partial(
                _run,
                partial(_worker, config, data, environ, token, f"w{index}", own),
                [sock for sock in sockets if sock is not own],
            ),
        )
        for index, own in enumerate(sockets)
    ]
    supervisor = Supervisor(
        recorder,
        workers,
        drain_seconds=config.limits.drain_seconds,
        on_ready=lambda: _announce(options, sockets[0], token, environ),
        on_stop=partial(_close, sockets),
    )
    return supervisor.run()


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


def _token(options: Options) -> str | None:
    """Return the token clients and pages need, None where none is needed: on loopback, unless it is asked for."""
    auth = options.config.auth
    try:
        local = options.host == "localhost" or ipaddress.ip_address(options.host).is_loopback
    except ValueError:
        local = False
    required = auth.required if auth.required is not None else not local
    if not required:
        return None
    return auth.token or os.environ.get("GATEWAY_TOKEN") or secrets.token_urlsafe(24)


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
    if token is not None and not (options.config.auth.token or os.environ.get("GATEWAY_TOKEN")):
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


class Worker:
    """The parts of one worker, put together: what is needed to answer requests and to record them.

    Needs a running event loop. `start` it, let `runner` serve on a site, and `stop` it: that drains for at most
    `limits.drain_seconds`.
    """

    def __init__(
        self, config: Config, data: Path, environ: Mapping[str, str], *, token: str | None = None, name: str = "w0"
    ) -> None:
        source = telemetry.resource(environ)
        self._config = config
        self._environ = environ
        self._token = token
        self._name = name
        self.journal = Journal(
            data / LIVE,
            name,
            dict(source.attributes),
            rotate_bytes=config.store.rotate_bytes,
            rotate_seconds=config.store.rotate_seconds,
        )
        rng = random.Random(os.urandom(16))
        self._client = Client()
        self._demo = DemoProvider()
        self._providers = table.build(config, environ)
        self._proxy = Proxy(
            config=config,
            providers=self._providers,
            client=self._client,
            signer=AwsSigner(self._client, environ, time.time),
            tracer=telemetry.JournalTracer(self.journal, source, time.time_ns, rng),
            rng=rng,
            token=token,
        )
        self._admin = Admin(socket_path(data), token, self.health)
        app = web.Application(client_max_size=config.limits.body_bytes)
        app.router.add_route("*", "/{path:.*}", self._front)
        self.runner = web.AppRunner(
            app,
            access_log=None,
            logger=_http_log,
            handler_cancellation=True,
            auto_decompress=False,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            max_headers=1024,
            shutdown_timeout=config.limits.drain_seconds,
        )

    async def start(self) -> None:
        """Start what requests may need."""
        self._providers["demo"] = table.demo(await self._demo.start())
        await self.runner.setup()

    async def stop(self) -> None:
        """Drain, and let go of everything."""
        self._proxy.stopping = True
        await self.runner.cleanup()
        await self._client.close()
        await self._demo.stop()
        await self._admin.close()
        self.journal.close()

    def health(self) -> dict[str, object]:
        """Return what /-/health says of this worker."""
        journal = self.journal
        return {
            "status": "ok",
            "version": telemetry.VERSION,
            "worker": self._name,
            "accepted": journal.accepted,
            "stored": journal.stored,
            "in_flight": journal.in_flight,
            "dropped": journal.dropped,
        }

    async def _front(self, request: web.Request) -> web.StreamResponse:
        ours = request.raw_path.startswith("/-/")
        return await (self._admin.handle(request) if ours else self._proxy.handle(request))


async def _worker(
    config: Config,
    data: Path,
    environ: Mapping[str, str],
    token: str | None,
    name: str,
    sock: socket.socket,
    lifeline: Lifeline,
    stop: asyncio.Event,
) -> None:
    """Proxy until told to stop, then drain."""
    worker = Worker(config, data, environ, token=token, name=name)
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
