"""One worker: its request handlers, its journal and its connections, assembled for one active configuration."""

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
from gateway.providers.demo.server import DemoProvider
from gateway.providers.http.client import Client
from gateway.providers.table import ways_out
from gateway.proxy.auth import Token
from gateway.proxy.handler import Proxy, in_origin_form
from gateway.proxy.request_body import pace_of, read_body
from gateway.proxy.routing.context import build_runtime
from gateway.proxy.signing import CloudSigner
from gateway.server.admin.forward import AdminForwarder
from gateway.server.connection import ClientRunner
from gateway.server.cors import answer_preflight, decorate, is_preflight
from gateway.server.data_dir import socket_path
from gateway.server.ingest.events_endpoint import EventsEndpoint
from gateway.server.ingest.otlp_endpoint import OtlpEndpoint
from gateway.server.ingest.request import IngestReader
from gateway.server.log_filters import HTTP_LOG, redact_logs
from gateway.server.routes import worker_routes
from gateway.store.metrics.instruments import WorkerGauges
from gateway.store.otlp.exporter import wanted
from gateway.store.recorder import LIVE
from gateway.tracing import tracer
from gateway.tracing.ingest.otlp.protocol import LOGS, METRICS, TRACES
from gateway.tracing.journal import Journal

# aiohttp's 8 KiB are too few for the beta headers and cookies of real clients.
_HEADER_BYTES = 64 * 1024
_LONGEST_DRAIN = 86_400.0


_http_log = logging.getLogger(HTTP_LOG)


class Worker:
    """Answers requests; needs a running event loop.

    `token`: the gateway's own; `required`: whether clients need it. `own_urls`: this gateway's own URLs, to which no
    provider may point. `status`: the configuration's part of `/-/health`. After `start`, a site serves `runner`;
    `stop` drains requests in flight for at most `limits.drain_seconds`.
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
        own_urls: Collection[str] = (),
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
        setup = build_runtime(config, environ, own_urls)
        redact_logs(setup.capture_policy.redaction)
        rng = random.Random(os.urandom(16))
        self._client = Client()
        self._demo = DemoProvider()
        self._own_urls = own_urls
        self._token = None if token is None else Token(token, required)
        self._tracer = tracer.JournalTracer(self.journal, source, time.time_ns, rng)
        self._tracer.journaled.redaction = setup.capture_policy.redaction
        self._proxy = Proxy(
            runtime=setup,
            client=self._client,
            signer=CloudSigner(self._client, environ, time.time, ways_out(config, environ)),
            tracer=self._tracer,
            rng=rng,
            token=self._token,
        )
        self._ingest = IngestReader(setup, self._token, time.time_ns)
        service_name = str(source.attributes.get("service.name") or "") or None
        instance = str(source.attributes.get(tracer.INSTANCE))
        forwarded = wanted(environ, "METRICS") and config.capture.otlp != "off"
        self._admin = AdminForwarder(
            socket_path(data), token if required else None, self.health, self._read, config.auth.origins
        )
        self._router = worker_routes(
            events=EventsEndpoint(self._ingest, self.journal, service_name).handle,
            traces=OtlpEndpoint(TRACES, self._ingest, self.journal, instance).handle,
            logs=OtlpEndpoint(LOGS, self._ingest, self.journal, instance).handle,
            metrics=OtlpEndpoint(METRICS, self._ingest, self.journal, instance, stored=forwarded).handle,
            alive=_alive,
            admin=self._admin.handle,
            proxy=self._proxy.handle,
        )
        app = web.Application(client_max_size=config.limits.body_bytes)
        app.router.add_route("*", "/{path:.*}", self.handle)
        app.on_response_prepare.append(self.prepare)
        self.runner = ClientRunner(
            app,
            head_seconds=config.timeouts.request_head,
            access_log=None,
            logger=_http_log,
            handler_cancellation=True,
            auto_decompress=False,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            max_headers=1024,
            # `stop` cancels requests in flight after the drain time, which may change until then.
            shutdown_timeout=_LONGEST_DRAIN,
        )

    async def start(self) -> None:
        """Open the worker, and set up its runner."""
        await self.open()
        await self.runner.setup()

    async def open(self) -> None:
        """Start the demo provider; from then on `handle` answers requests."""
        self._demo_url = await self._demo.start()
        setup = await asyncio.to_thread(build_runtime, self._config, self._environ, self._own_urls, self._demo_url)
        self._proxy.use(setup, self._token)

    async def use(self, config: Config, environ: Mapping[str, str], token: str | None, *, required: bool) -> None:
        """Apply another configuration. Raises ConfigError for one that cannot work; the active one stays then.

        Exchanges in flight keep the configuration that they began with.
        """
        setup = await asyncio.to_thread(build_runtime, config, environ, self._own_urls, self._demo_url)
        signer = None
        if environ != self._environ or config.tls != self._config.tls:
            ways = await asyncio.to_thread(ways_out, config, environ)
            signer = CloudSigner(self._client, environ, time.time, ways)
        self._token = None if token is None else Token(token, required)
        self._proxy.use(setup, self._token, signer)
        self._ingest.use(setup, self._token)
        self._tracer.journaled.redaction = setup.capture_policy.redaction
        redact_logs(setup.capture_policy.redaction)
        self._admin.token = token if required else None
        self._admin.origins = config.auth.origins
        self.runner.set_head_seconds(config.timeouts.request_head)
        self.journal.rotate_bytes = config.store.rotate_bytes
        self.journal.rotate_seconds = config.store.rotate_seconds
        self._config, self._environ = config, environ

    async def stop(self, hurry: asyncio.Event | None = None, hurried_seconds: float = 0.0) -> None:
        """Drain, cancel the requests that remain, and close.

        Once `hurry` is set, requests have `hurried_seconds` left instead of `limits.drain_seconds`.
        """
        self.stopping()
        draining = asyncio.ensure_future(self.runner.cleanup())
        hurried = asyncio.ensure_future((hurry or asyncio.Event()).wait())
        first = asyncio.FIRST_COMPLETED
        await asyncio.wait({draining, hurried}, timeout=self._config.limits.drain_seconds, return_when=first)
        if hurried.done():
            await asyncio.wait({draining}, timeout=hurried_seconds)
        hurried.cancel()
        self.cut_off()
        await draining
        await self.close()

    def stopping(self) -> None:
        """Announce the shutdown: an exchange cancelled from now on ends as `shutdown`, not as `client_abort`.

        Responses that are read on without a client are cancelled at once.
        """
        self._proxy.stopping = True
        self._proxy.abandoned.cancel()

    def cut_off(self) -> None:
        """Cancel the requests in flight."""
        self._proxy.cut_off()
        self._admin.cancel()

    async def close(self) -> None:
        """Close connections and journal, once nothing is in flight."""
        self._proxy.abandoned.cancel()
        await self._proxy.abandoned.ended()
        await self._client.close()
        await self._demo.stop()
        await self._admin.close()
        self.journal.close()

    @property
    def numbers(self) -> WorkerGauges:
        """The worker's gauges: values of the metrics that are not in its journal."""
        connections, idle = self._client.connections
        return WorkerGauges(pid=os.getpid(), connections=connections, idle=idle)

    def health(self) -> dict[str, object]:
        """Return the worker's part of `/-/health`."""
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
            "drains": {"active": self._proxy.abandoned.active, "total": self._proxy.abandoned.total},
            "events": {"stored": journal.events.stored, "dropped": journal.events.dropped},
            "spans_received": {"stored": journal.received.stored, "dropped": journal.received.dropped},
            "logs_received": {"stored": journal.logs.stored, "dropped": journal.logs.dropped},
            "metrics_received": {"stored": journal.metrics.stored, "dropped": journal.metrics.dropped},
        }

    async def _read(self, request: web.Request) -> bytes:
        """Return the body of a request for an admin page. Raises ExchangeError."""
        return await read_body(request, self._config.limits.body_bytes, pace_of(self._config))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request, by the table of `gateway.server.routes`."""
        if not request.raw_path.startswith("/"):
            request = in_origin_form(request)
        if is_preflight(request):
            return answer_preflight(request, self._config.auth.origins)
        return await self._router.handler(request.method, request.raw_path)(request)

    async def prepare(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Add the headers of CORS to a response, whichever handler or error it comes from."""
        decorate(request, response, self._config.auth.origins)


async def _alive(_request: web.Request) -> web.Response:
    """Answer a liveness probe, without a request to the recorder."""
    return web.Response(body=b'{"status":"ok"}', content_type="application/json")
