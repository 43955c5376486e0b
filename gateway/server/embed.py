"""The gateway inside an application of one's own: an aiohttp Application to run, or to mount in another one.

It answers and records as a worker of the command does, into a journal of its own. Who looks after the data folder is a
thread beside it, with an event loop of its own, or another process (`gateway recorder`).
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from gateway.config.model import Config, expand, made, problem
from gateway.errors import ConfigError
from gateway.providers.auth.aws import with_region
from gateway.proxy.routing import runtime
from gateway.server.data_dir import hold
from gateway.server.live_config.source import Source
from gateway.server.mount import inner
from gateway.server.processes import looked_after
from gateway.server.worker import Worker

log = logging.getLogger("gateway.embedding")

Recording = Literal["thread", "none"]

_TICK = 1.0
# How soon a client that left is seen, where the host does not cancel its handlers.
_LOOK = 0.25
# After which the recorder is started again where it failed.
_AGAIN = 1.0
_ANY_PATH = "/{path:.*}"
_GATEWAY = web.AppKey("gateway", Worker)


def create_app(
    config: Config | Mapping[str, Any] | Path | str | None = None,
    *,
    data: Path | str = "gateway-data",
    recorder: Recording = "thread",
    environ: Mapping[str, str] | None = None,
    token: str | None = None,
    auto_decompress: bool | None = None,
) -> web.Application:
    """Return the gateway as an Application. Reads files. Raises ConfigError where the configuration cannot work.

    `config`: a gateway.toml, beside which its `.env` is read; the tables of one; or None for the defaults. No other
    file is looked for, but a file's or the defaults' is beside what `gateway config` keeps in the data folder.
    `recorder`: "thread" for one in this process, "none" where another process runs `gateway recorder` on the same data.
    `environ`: the variables that count, this process's by default; `OTEL_*` are this process's in any case.
    `token`: what clients, and the pages below /-/, must show; without it the host application says who may come.
    `auto_decompress`: as the host's runner has it; found out where it is not said.
    """
    folder = Path(data).absolute()
    settings, environ = _read(config, os.environ if environ is None else environ, folder)
    token = (token or settings.auth.token or environ.get("GATEWAY_TOKEN") or "").strip() or None
    if settings.auth.required and token is None:
        raise ConfigError("$.auth.required: it needs a token; set $.auth.token, or create_app(token=...)")

    cutting: list[asyncio.TimerHandle] = []

    async def running(app: web.Application) -> AsyncIterator[None]:
        thread = _Recording(folder, settings, environ) if recorder == "thread" else None
        if thread is not None:
            await asyncio.to_thread(thread.start)
        required = token is not None and settings.auth.required is not False
        # Several processes may share a folder, and several applications a process.
        name = f"e{os.getpid()}-{id(app):x}"
        # What it is made of is read from disk.
        worker = await asyncio.to_thread(Worker, settings, folder, environ, token=token, required=required, name=name)
        app[_GATEWAY] = worker
        await worker.open()
        ticking = asyncio.get_running_loop().create_task(_tick(worker))
        try:
            yield
        finally:
            ticking.cancel()
            await asyncio.wait({ticking})
            for each in cutting:
                each.cancel()
            worker.cut_off()
            await worker.close()
            if thread is not None:
                await asyncio.to_thread(thread.stop)

    async def draining(app: web.Application) -> None:
        """Let what is in flight end, but no longer than is set; the host's runner waits for it."""
        worker = app[_GATEWAY]
        worker.stopping()
        loop = asyncio.get_running_loop()
        cutting.append(loop.call_later(settings.limits.drain_seconds, worker.cut_off))

    async def answer(request: web.Request) -> web.StreamResponse:
        return await _watched(inner(request, settings.limits.body_bytes, auto_decompress), app[_GATEWAY].handle)

    app = web.Application()
    app.router.add_route("*", _ANY_PATH, answer)
    app.cleanup_ctx.append(running)
    app.on_shutdown.append(draining)
    return app


def _read(
    config: Config | Mapping[str, Any] | Path | str | None, environ: Mapping[str, str], data: Path
) -> tuple[Config, Mapping[str, str]]:
    """Return a configuration that can work, and the variables that count. Raises ConfigError."""
    if config is None or isinstance(config, Path | str):
        named = None if config is None else Path(config)
        loaded = Source(data=data, environ=dict(environ), cwd=Path.cwd(), named=named, search=False).load()
        return loaded.config, loaded.environ
    if isinstance(config, Config):
        if wrong := problem(config):
            raise ConfigError(wrong)
    else:
        config = made(expand(dict(config), environ))
    environ = with_region(environ)
    runtime.build(config, environ)
    return config, environ


async def _tick(worker: Worker) -> None:
    while True:
        worker.journal.tick()
        await asyncio.sleep(_TICK)


async def _watched(
    request: web.Request, handle: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer a request, and stop when its client has left: the host's runner may not say so by cancelling."""
    task = asyncio.ensure_future(handle(request))
    try:
        while not (await asyncio.wait({task}, timeout=_LOOK))[0]:
            if request.transport is None or request.transport.is_closing():
                task.cancel()
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    return task.result()


class _Recording:
    """The recorder in a thread: it holds the folder, seals, exports and answers queries. Raises ConfigError."""

    def __init__(self, data: Path, config: Config, environ: Mapping[str, str]) -> None:
        self._data = data
        self._config = config
        self._environ = environ
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="gateway-recorder", daemon=True)

    def start(self) -> None:
        """Begin, and wait until it can be asked."""
        self._lock = hold(self._data)
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            os.close(self._lock)
            raise self._failed

    def stop(self) -> None:
        """Have it seal what was written, and end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        os.close(self._lock)

    def _run(self) -> None:
        try:
            asyncio.run(self._look_after())
        except BaseException as error:  # the thread that waits is told
            self._failed = error
        finally:
            self._ready.set()

    async def _look_after(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        while not self._stop.is_set():
            try:
                async with looked_after(self._data, self._config, _exporting(self._environ)) as one:
                    self._ready.set()
                    await one.run(self._stop)
            except Exception:
                if not self._ready.is_set():
                    raise
                log.exception("the recorder of %s failed; starting it again", self._data)
                await asyncio.sleep(_AGAIN)


def _exporting(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return variables of which those of the exporter, which reads the process's own, are these."""
    told = {name: value for name, value in environ.items() if not name.startswith("OTEL_")}
    return told | {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
