"""One worker's parts, put together: what is needed to answer requests and to record them."""

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.config.model import Config
from gateway.dialects.registry import TABLES
from gateway.providers.demo.server import DemoProvider
from gateway.providers.http.client import Client
from gateway.proxy.auth import Token
from gateway.proxy.handler import Proxy, in_origin_form
from gateway.proxy.routing import runtime
from gateway.proxy.signing import CloudSigner
from gateway.server.admin.forward import Admin
from gateway.server.admin.sockets import socket_path
from gateway.server.ingest.events_endpoint import Intake
from gateway.server.ingest.traces_endpoint import Receiving
from gateway.server.log_filters import HTTP_LOG, redact_logs
from gateway.store.metrics.instruments import WorkerGauges
from gateway.store.recorder import LIVE
from gateway.tracing import tracer
from gateway.tracing.journal import Journal

# Larger than aiohttp's 8 KiB: beta headers and cookies of real clients go beyond it.
_HEADER_BYTES = 64 * 1024
_LONGEST_DRAIN = 86_400.0
_HEALTHY = b'{"status":"ok"}'


_http_log = logging.getLogger(HTTP_LOG)


class Worker:
    """Answers requests. Needs a running event loop.

    `token` is our own, `required`: whether clients need it. `status` says how the configuration is. `start` it, let
    `runner` serve on a site, and `stop` it: that drains for at most `limits.drain_seconds`.
    """

    def __init__(
        self,
        config: Config,
        data: Path,
        environ: Mapping[str, str],
        *,
        token: str | None = None,
        required: bool = True,
        name: str = "w0",
        ours: Collection[str] = (),
        status: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        source = tracer.resource(environ, data)
        self._config = config
        self._environ = environ
        self._name = name
        self._status = status
        self.journal = Journal(
            data / LIVE,
            name,
            dict(source.attributes),
            rotate_bytes=config.store.rotate_bytes,
            rotate_seconds=config.store.rotate_seconds,
        )
        made = runtime.build(config, environ, ours)
        redact_logs(made.capture_policy.redaction)
        rng = random.Random(os.urandom(16))
        self._client = Client()
        self._demo = DemoProvider()
        self._ours = ours
        self._token = None if token is None else Token(token, required)
        self._pages: set[asyncio.Task[Any]] = set()
        self._tracer = tracer.JournalTracer(self.journal, source, time.time_ns, rng)
        self._tracer.journaled.redaction = made.capture_policy.redaction
        self._proxy = Proxy(
            runtime=made,
            client=self._client,
            signer=CloudSigner(self._client, environ, time.time),
            tracer=self._tracer,
            rng=rng,
            token=self._token,
        )
        self._intake = Intake(
            made,
            self.journal,
            self._token,
            str(source.attributes.get("service.name") or "") or None,
            time.time_ns,
        )
        self._receiving = Receiving(
            made, self.journal, self._token, str(source.attributes.get(tracer.INSTANCE)), time.time_ns
        )
        self._admin = Admin(socket_path(data), token if required else None, self.health)
        app = web.Application(client_max_size=config.limits.body_bytes)
        app.router.add_route("*", "/{path:.*}", self.handle)
        self.runner = web.AppRunner(
            app,
            access_log=None,
            logger=_http_log,
            handler_cancellation=True,
            auto_decompress=False,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            max_headers=1024,
            # What is in flight after the time to drain we cut off ourselves; how long that is may change.
            shutdown_timeout=_LONGEST_DRAIN,
        )

    async def start(self) -> None:
        """Start what requests may need, and the runner."""
        await self.open()
        await self.runner.setup()

    async def open(self) -> None:
        """Start what requests may need; `handle` answers them then."""
        self._demo_url = await self._demo.start()
        self._proxy.use(runtime.build(self._config, self._environ, self._ours, self._demo_url), self._token)

    async def use(self, config: Config, environ: Mapping[str, str], token: str | None, *, required: bool) -> None:
        """Go on by another configuration. Raises ConfigError for one that cannot work: the present one stays.

        What is in flight goes on by the one that it began with.
        """
        made = await asyncio.to_thread(runtime.build, config, environ, self._ours, self._demo_url)
        signer = None if environ == self._environ else CloudSigner(self._client, environ, time.time)
        self._token = None if token is None else Token(token, required)
        self._proxy.use(made, self._token, signer)
        self._intake.use(made, self._token)
        self._receiving.use(made, self._token)
        self._tracer.journaled.redaction = made.capture_policy.redaction
        redact_logs(made.capture_policy.redaction)
        self._admin.token = token if required else None
        self.journal.rotate_bytes = config.store.rotate_bytes
        self.journal.rotate_seconds = config.store.rotate_seconds
        self._config, self._environ = config, environ

    async def stop(self) -> None:
        """Drain, and let go of everything."""
        self.stopping()
        draining = asyncio.ensure_future(self.runner.cleanup())
        await asyncio.wait({draining}, timeout=self._config.limits.drain_seconds)
        self.cut_off()
        await draining
        await self.close()

    def stopping(self) -> None:
        """Say that what is cancelled from now on was not left by its client."""
        self._proxy.stopping = True

    def cut_off(self) -> None:
        """End what is in flight."""
        self._proxy.cut_off()
        for task in self._pages:
            task.cancel()

    async def close(self) -> None:
        """Let go of everything; nothing is in flight any more."""
        await self._client.close()
        await self._demo.stop()
        await self._admin.close()
        self.journal.close()

    @property
    def numbers(self) -> WorkerGauges:
        """What the metrics tell of this worker beyond what its journal has."""
        connections, idle = self._client.connections
        return WorkerGauges(pid=os.getpid(), connections=connections, idle=idle)

    def health(self) -> dict[str, object]:
        """Return what /-/health says of this worker."""
        journal = self.journal
        return {
            "status": "ok",
            "version": tracer.VERSION,
            "worker": self._name,
            "config": None if self._status is None else self._status(),
            "accepted": journal.accepted,
            "stored": journal.stored,
            "in_flight": journal.in_flight,
            "dropped": journal.dropped,
            "events": {"stored": journal.events.stored, "dropped": journal.events.dropped},
            "spans_received": {"stored": journal.received.stored, "dropped": journal.received.dropped},
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, whatever it is for."""
        if not request.raw_path.startswith("/"):
            request = in_origin_form(request)
        if self._intake.takes(request):
            return await self._intake.handle(request)
        if self._receiving.takes(request):
            return await self._receiving.handle(request)
        if request.method in {"GET", "HEAD"} and request.raw_path.partition("?")[0] in TABLES.health_paths:
            return web.Response(body=_HEALTHY, content_type="application/json")
        if not request.raw_path.startswith("/-/"):
            return await self._proxy.handle(request)
        task = asyncio.current_task()
        if task is not None and task not in self._pages:  # one task handles all requests of a connection
            self._pages.add(task)
            task.add_done_callback(self._pages.discard)
        return await self._admin.handle(request)
