"""Our own rows: how each server is started, where it takes requests, and how it is asked what it has stored."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import msgspec

from tests.bench import traffic

ROOT: Final = Path(__file__).resolve().parents[2]

RATE: Final = 100
SLOW_RATE: Final = 20
"""Requests a second that a row, or a slow one, is sure to keep up with: latency is compared where nothing queues."""


class Site(NamedTuple):
    """Where a server is to run: an empty folder of its own, a free port, and the upstream's base URL."""

    folder: Path
    port: int
    upstream: str


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How one server runs and what is special about it.

    Attributes:
        port: Where it listens; of a server that chooses for itself, the file it writes its URL to.
        identical: Whether it relays the upstream's bytes; else only the text of an answer can be compared.
        warm_seconds: How long it is loaded before anything counts.
        stored: Tells how many exchanges are stored; None for what stores none.
        spans: How many spans of each exchange reach the OTLP endpoint.

    """

    argv: list[str]
    port: int | Path
    environ: dict[str, str] = {}
    path: str = "/v1/chat/completions"
    model: str = traffic.MODEL
    headers: dict[str, str] = {}
    identical: bool = True
    rate: int = RATE
    warm_seconds: float = 4.0
    stored: Callable[[], int] | None = None
    spans: int = 0


Start = Callable[[Site], Launch]


def gateway(site: Site, environ: dict[str, str] | None = None, spans: int = 0, root: Path = ROOT) -> Launch:
    """Return this gateway as it comes: tracing, content and store on. `root`: the checkout that it is run from."""
    config, data = site.folder / "gateway.toml", site.folder / "data"
    config.write_text(f'[providers.openai]\nbase_url = "{site.upstream}/v1"\napi_key = "test-key"\n')

    def stored() -> int:
        with duckdb.connect(str(data / "spans.duckdb"), read_only=True) as connection:
            found = connection.execute("SELECT count(*) FROM exchanges").fetchone()
        return int(found[0]) if found else 0

    argv = [sys.executable, "-m", "gateway", "serve", "--port", str(site.port)]
    return Launch(
        argv=[*argv, "--data", str(data), "-c", str(config)],
        port=site.port,
        environ={"PYTHONPATH": str(root), **(environ or {})},
        stored=stored,
        spans=spans,
    )


def gateway_otlp(site: Site) -> Launch:
    """Return this gateway with OTLP on as well."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": site.upstream, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    return gateway(site, environ, spans=2)


def before(checkout: Path) -> Start:
    """Return the start of the gateway in another checkout of this project, for a comparison in one run."""
    return lambda site: gateway(site, root=checkout.resolve())


def naive(site: Site) -> Launch:
    """Return the reference design."""

    def stored() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/stored", timeout=10) as response:
            return int(response.read())

    return Launch(
        argv=[sys.executable, "-m", "tests.bench.naive", str(site.port), site.upstream],
        port=site.port,
        environ={"PYTHONPATH": str(ROOT)},
        stored=stored,
        spans=1,
    )


OURS: Final[dict[str, Start]] = {"gateway": gateway, "gateway+otlp": gateway_otlp, "naive": naive}


def environ(more: Mapping[str, str]) -> dict[str, str]:
    """Return a server's environment: `more`, and nothing of this shell's that could change what a server does."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **more}
