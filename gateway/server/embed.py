"""The gateway embedded in an application: an aiohttp Application to run, or to mount in another one.

It has the same worker as the command, with a journal of its own. The recorder runs in a thread with its own event loop,
or in another process (`gateway recorder`).
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from gateway.config.model import Config, build, expand, problem
from gateway.errors import ConfigError
from gateway.providers.auth.aws import with_region
from gateway.proxy.routing.context import build_runtime
from gateway.server.data_dir import lock_data_dir
from gateway.server.live_config.source import Source
from gateway.server.mount import unmounted
from gateway.server.processes import open_recorder
from gateway.server.worker import Worker

log = logging.getLogger("gateway.embedding")

RecorderMode = Literal["thread", "none"]

_TICK = 1.0
# How often the connection is checked, for hosts that do not cancel the handlers of clients that left.
_POLL_SECONDS = 0.25
# The pause before a recorder that failed is started again.
_RESTART_SECONDS = 1.0
_ANY_PATH = "/{path:.*}"
_GATEWAY = web.AppKey("gateway", Worker)


def create_app(
    config: Config | Mapping[str, Any] | Path | str | None = None,
    *,
    data: Path | str = "gateway-data",
    recorder: RecorderMode = "thread",
    environ: Mapping[str, str] | None = None,
    token: str | None = None,
    auto_decompress: bool | None = None,
) -> web.Application:
    """Return the gateway as an Application. Reads files. Raises ConfigError if the configuration cannot work.

    `config`: the path of a gateway.toml, whose `.env` is read too; its tables as a mapping; a Config; or None for the
    defaults. No other file is searched for. With a path or None, the runtime overrides of the data directory apply.
    `recorder`: "thread" for one in this process, "none" if another process runs `gateway recorder` on the same data.
    `environ`: environment variables, by default this process's; `OTEL_*` are always this process's.
    `token`: required of clients and of the pages below /-/; without one, the host application authorizes.
    `auto_decompress`: the same as of the host's AppRunner; None looks it up.
    """
    data_dir = Path(data).absolute()
    settings, environ = _read(config, os.environ if environ is None else environ, data_dir)
    token = (token or settings.auth.token or environ.get("GATEWAY_TOKEN") or "").strip() or None
    if settings.auth.required and token is None:
        raise ConfigError("$.auth.required: a token is missing; set $.auth.token, or create_app(token=...)")

    timers: list[asyncio.TimerHandle] = []

    async def running(app: web.Application) -> AsyncIterator[None]:
        thread = _RecorderThread(data_dir, settings, environ) if recorder == "thread" else None
        if thread is not None:
            await asyncio.to_thread(thread.start)
        required = token is not None and settings.auth.required is not False
        # Several processes may share a data directory, and several applications a process.
        name = f"e{os.getpid()}-{id(app):x}"
        # The constructor reads files.
        worker = await asyncio.to_thread(Worker, settings, data_dir, environ, token=token, required=required, name=name)
        app[_GATEWAY] = worker
        await worker.open()
        ticking = asyncio.get_running_loop().create_task(_tick(worker))
        try:
            yield
        finally:
            ticking.cancel()
            await asyncio.wait({ticking})
            for timer in timers:
                timer.cancel()
            worker.cut_off()
            await worker.close()
            if thread is not None:
                await asyncio.to_thread(thread.stop)

    async def draining(app: web.Application) -> None:
        """Let requests in flight end within `limits.drain_seconds`; the host's runner waits for them."""
        worker = app[_GATEWAY]
        worker.stopping()
        loop = asyncio.get_running_loop()
        timers.append(loop.call_later(settings.limits.drain_seconds, worker.cut_off))

    async def answer(request: web.Request) -> web.StreamResponse:
        inner = unmounted(request, settings.limits.body_bytes, auto_decompress)
        return await _until_client_leaves(inner, app[_GATEWAY].handle)

    app = web.Application()

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        await app[_GATEWAY].prepare(request, response)

    app.router.add_route("*", _ANY_PATH, answer)
    app.on_response_prepare.append(prepare)
    app.cleanup_ctx.append(running)
    app.on_shutdown.append(draining)
    return app


def _read(
    config: Config | Mapping[str, Any] | Path | str | None, environ: Mapping[str, str], data: Path
) -> tuple[Config, Mapping[str, str]]:
    """Return the validated configuration and the environment it was read with. Raises ConfigError."""
    if config is None or isinstance(config, Path | str):
        named = None if config is None else Path(config)
        loaded = Source(data=data, environ=dict(environ), cwd=Path.cwd(), named=named, search=False).load()
        return loaded.config, loaded.environ
    if isinstance(config, Config):
        if wrong := problem(config):
            raise ConfigError(wrong)
    else:
        config = build(expand(dict(config), environ))
    environ = with_region(environ)
    build_runtime(config, environ)
    return config, environ


async def _tick(worker: Worker) -> None:
    while True:
        worker.journal.tick()
        await asyncio.sleep(_TICK)


async def _until_client_leaves(
    request: web.Request, handle: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer a request, and cancel the answer when its client leaves, which the host's runner may not do."""
    task = asyncio.ensure_future(handle(request))
    try:
        while not (await asyncio.wait({task}, timeout=_POLL_SECONDS))[0]:
            if request.transport is None or request.transport.is_closing():
                task.cancel()  # once: it may be read on
                await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    return task.result()


class _RecorderThread:
    """A recorder in a thread of its own, which locks the data directory."""

    def __init__(self, data: Path, config: Config, environ: Mapping[str, str]) -> None:
        self._data = data
        self._config = config
        self._environ = environ
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="gateway-recorder", daemon=True)

    def start(self) -> None:
        """Lock the data directory, start the thread and wait until its pages are served. Raises ConfigError."""
        self._lock = lock_data_dir(self._data)
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            os.close(self._lock)
            raise self._failed

    def stop(self) -> None:
        """Stop the recorder, which seals the journals, and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        os.close(self._lock)

    def _run(self) -> None:
        try:
            asyncio.run(self._record())
        except BaseException as error:  # raised by `start` in the waiting thread
            self._failed = error
        finally:
            self._ready.set()

    async def _record(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        while not self._stop.is_set():
            try:
                async with open_recorder(self._data, self._config, _with_own_otel(self._environ)) as recorder:
                    self._ready.set()
                    await recorder.run(self._stop)
            except Exception:
                if not self._ready.is_set():
                    raise
                log.exception("the recorder of %s failed; starting it again", self._data)
                await asyncio.sleep(_RESTART_SECONDS)


def _with_own_otel(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return an environment with this process's `OTEL_*` variables: the SDK's exporters read no others."""
    others = {name: value for name, value in environ.items() if not name.startswith("OTEL_")}
    return others | {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
