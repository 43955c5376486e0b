"""One run: start a gateway with the configuration on loopback, drive it, stop it, and judge what it left behind."""

import asyncio
import random
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from msgspec import Struct

from gateway.cli.doctor.canaries import Canaries, plant
from gateway.cli.doctor.cases import Cases
from gateway.cli.doctor.collector import Collector
from gateway.cli.doctor.configuration import DIALECTS, Addresses, LoopbackConfig, on_loopback
from gateway.cli.doctor.judge import Judge
from gateway.cli.doctor.process import GatewayProcess, send_all
from gateway.cli.doctor.provider import Provider
from gateway.cli.doctor.report import Report, build
from gateway.cli.doctor.requests import Builder, Request
from gateway.cli.doctor.sinks import Collected, collect_exports, collect_running, collect_stopped
from gateway.config.layers import Loaded
from gateway.proxy.routing.context import RuntimeConfig, build_runtime
from gateway.server.live_config.source import Source
from gateway.server.main import Tokens

COMMAND = (sys.executable, "-m", "gateway")
"""The command of the examined gateway."""

_EXPORT_SECONDS = 8.0
_POLL_SECONDS = 0.1


class Progress(Struct, frozen=True):
    """Callbacks: `step` with each step, `requests` with the numbers of requests done and of all."""

    step: Callable[[str], None]
    requests: Callable[[int, int], None]


def load(config: Path | None, data: Path, environ: Mapping[str, str], cwd: Path) -> tuple[Loaded, RuntimeConfig]:
    """Load the layers of `gateway serve`. Blocks. Raises ConfigError if they cannot work."""
    loaded = Source(data=data, environ=environ, cwd=cwd, named=config).load()
    return loaded, build_runtime(loaded.config, loaded.environ)


def examine(
    loaded: Loaded,
    built: RuntimeConfig,
    rng: random.Random,
    progress: Progress,
    *,
    examples: Sequence[str] = (),
    command: Sequence[str] = COMMAND,
) -> Report:
    """Examine a configuration. Blocks for some seconds.

    `rng` makes the canaries; `examples` are texts that the user's patterns match. Raises GatewayError if the gateway
    does not start, ConfigError for an example without a match.
    """
    with tempfile.TemporaryDirectory(prefix="gateway-doctor-") as name, _bound() as refusing, Collector() as collector:
        home = Path(name, "run", "home")
        home.mkdir(parents=True)
        surroundings = _Surroundings(
            command=command,
            folder=home.parent,
            log=Path(name, "log"),
            home=str(home),
            collector=collector,
            refusing=f"http://127.0.0.1:{refusing.getsockname()[1]}",
        )
        return asyncio.run(_examine(loaded, built, Canaries(rng), progress, examples, surroundings))


class _Surroundings(Struct, frozen=True, kw_only=True):
    """The examined gateway's command, folders and neighbours."""

    command: Sequence[str]
    folder: Path
    log: Path
    home: str
    collector: Collector
    refusing: str


async def _examine(
    loaded: Loaded,
    built: RuntimeConfig,
    canaries: Canaries,
    progress: Progress,
    examples: Sequence[str],
    around: _Surroundings,
) -> Report:
    started, collected, collector = monotonic(), Collected(), around.collector
    planted = plant(canaries, built.config.redaction, examples)
    _, token_required = Tokens().resolve(loaded)
    async with Provider() as provider:
        addresses = Addresses(
            provider=provider.url, collector=collector.url, refusing=around.refusing, home=around.home
        )
        loopback = on_loopback(built, loaded.environ, canaries, addresses, token_required=token_required)
        progress.step("starting a gateway with this configuration on loopback, with canaries for keys")
        gateway = await asyncio.to_thread(GatewayProcess, around.command, around.folder, around.log, loopback)
        try:
            await asyncio.to_thread(gateway.start)
            builder = Builder(canaries, loopback, f"127.0.0.1:{gateway.port}", planted.text)
            requests = Cases(builder, upstream=f"{provider.url}/{DIALECTS['openai-chat']}").all()
            provider.expect({request.id: request for request in requests})
            progress.step(f"sending {len(canaries.all)} canaries in {len(requests)} requests")
            responses = await send_all(gateway.port, requests, progress.requests)
            await _exported(collector, loopback, requests)
            progress.step("searching every sink")
            await collect_running(gateway, loopback, collected)
        finally:
            await asyncio.to_thread(gateway.stop)
    collect_exports(collector, collected)
    await asyncio.to_thread(collect_stopped, gateway, around.folder, collected)
    verdict = Judge(canaries, loopback, requests).judge(collected, responses, provider.received, provider.sent)
    notes = _notes(loopback, verdict.repeated, planted.untested)
    return build(verdict, requests, loopback, notes, monotonic() - started)


def _bound() -> socket.socket:
    """Return a bound socket that does not listen: connections to its port are refused."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


async def _exported(collector: Collector, loopback: LoopbackConfig, requests: Sequence[Request]) -> None:
    """Wait, for a limited time, until the collector has all exchanges."""
    markers = [request.marker.encode() for request in requests if request.expected.exchange]
    deadline = monotonic() + _EXPORT_SECONDS
    while loopback.exports_spans and monotonic() < deadline:
        exported = b"".join(batch.body for batch in list(collector.batches))
        if all(marker in exported for marker in markers):
            return
        await asyncio.sleep(_POLL_SECONDS)


def _notes(loopback: LoopbackConfig, repeated: int, untested: Sequence[str]) -> list[str]:
    notes = []
    if repeated:
        notes.append(
            f"{repeated} responses had keys in them that the provider itself repeated: its bytes reach the client "
            "unchanged"
        )
    if loopback.capture.store == "metadata":
        notes.append(
            "a provider's error message is stored as the error of its attempt, and may repeat a part of the prompt; "
            '$.capture.store = "off" prevents it'
        )
    notes += [
        f"$.redaction.patterns.{name} was not tested: give a text that it matches, with --example TEXT"
        for name in untested
    ]
    return notes
