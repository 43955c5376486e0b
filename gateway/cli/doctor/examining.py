"""Runs it: a configuration is read and put onto loopback, its gateway started, driven, stopped and looked through."""

import asyncio
import random
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as File
from time import monotonic

from msgspec import Struct

from gateway.cli.doctor import report as reporting
from gateway.cli.doctor.canaries import Cage
from gateway.cli.doctor.child import Child
from gateway.cli.doctor.collector import Collector
from gateway.cli.doctor.driver import Got, drive
from gateway.cli.doctor.judging import Judge
from gateway.cli.doctor.odd_paths import OddPaths
from gateway.cli.doctor.paths import Path, Paths
from gateway.cli.doctor.provider import Provider
from gateway.cli.doctor.redactions import Planted, planted
from gateway.cli.doctor.report import Report
from gateway.cli.doctor.settings import DIALECTS, Places, Setting, on_loopback
from gateway.cli.doctor.sinks import Collected, after_the_end, sent_out, while_running
from gateway.config.layers import Loaded
from gateway.proxy.routing import runtime
from gateway.proxy.routing.runtime import RuntimeConfig
from gateway.server.live_config.source import Source
from gateway.server.main import Tokens

COMMAND = (sys.executable, "-m", "gateway")
"""The gateway that is examined: this one."""

_EXPORT_SECONDS = 8.0
_TICK = 0.1


class Told(Struct, frozen=True):
    """Who hears how it goes: what is done now; how many requests of how many are."""

    step: Callable[[str], None]
    requests: Callable[[int, int], None]


def read(config: File | None, data: File, environ: Mapping[str, str], cwd: File) -> tuple[Loaded, RuntimeConfig]:
    """Read the layers that `gateway serve` reads, and see that they can work. Blocks. Raises ConfigError."""
    loaded = Source(data=data, environ=environ, cwd=cwd, named=config).load()
    return loaded, runtime.build(loaded.config, loaded.environ)


def examine(
    loaded: Loaded,
    made: RuntimeConfig,
    rng: random.Random,
    told: Told,
    *,
    examples: Sequence[str] = (),
    command: Sequence[str] = COMMAND,
) -> Report:
    """Examine a configuration that can work. Blocks for some seconds.

    Raises GatewayError where its gateway does not start, ConfigError for an example that is none. `rng`: canaries are
    made of it. `examples`: texts that the configuration's own patterns are to take out.
    """
    started = monotonic()
    cage = Cage(rng)
    personal = planted(cage, made.config.redaction, examples)
    with tempfile.TemporaryDirectory(prefix="gateway-doctor-") as name, _nobody() as nobody, Collector() as collector:
        folder, home = File(name), File(name, "home")
        home.mkdir()
        surroundings = _Surroundings(
            command=command,
            folder=folder,
            home=home,
            collector=collector,
            nobody=f"http://127.0.0.1:{nobody.getsockname()[1]}",
        )
        seen = asyncio.run(_run(loaded, made, cage, personal, surroundings, told))
    judge = Judge(cage, seen.setting, seen.paths)
    judged = judge.judge(seen.collected, seen.got, seen.asked, seen.said)
    notes = _notes(seen.setting, judged.passed_on, personal.untried)
    return reporting.made(judged, seen.paths, seen.setting, notes, monotonic() - started)


class _Surroundings(Struct, frozen=True, kw_only=True):
    """What the gateway is run in."""

    command: Sequence[str]
    folder: File
    home: File
    collector: Collector
    nobody: str


class _Seen(Struct, frozen=True, kw_only=True):
    """What a run has left: as `Judge.judge` takes it."""

    setting: Setting
    paths: list[Path]
    collected: Collected
    got: dict[str, Got]
    asked: dict[str, int]
    said: dict[str, bytes]


async def _run(
    loaded: Loaded, made: RuntimeConfig, cage: Cage, personal: Planted, within: _Surroundings, told: Told
) -> _Seen:
    """Start the gateway, drive it, stop it, and collect what it left."""
    collector, collected = within.collector, Collected()
    _, token_needed = Tokens().resolve(loaded)
    async with Provider() as provider:
        places = Places(provider=provider.url, collector=collector.url, nobody=within.nobody, home=str(within.home))
        setting = on_loopback(made, loaded.environ, cage, places, token_needed=token_needed)
        told.step("starting a gateway with this configuration, on loopback and with canaries for keys")
        async with Child(within.command, within.folder, setting.toml, setting.environ) as child:
            paths = _paths(cage, setting, child.port, provider.url, personal.text)
            provider.use({path.id: path for path in paths})
            told.step(f"driving {len(cage.all)} canaries through {len(paths)} requests")
            got = await drive(child.port, paths, told.requests)
            await _exported(collector, setting, paths)
            told.step("looking through every sink")
            await while_running(child, setting, collected)
            await child.stop()
            sent_out(collector, collected)
            await after_the_end(child, within.folder, collected)
    asked = {path: len(each) for path, each in provider.asked.items()}
    return _Seen(setting=setting, paths=paths, collected=collected, got=got, asked=asked, said=provider.said)


def _paths(cage: Cage, setting: Setting, port: int, provider: str, text: str) -> list[Path]:
    paths = Paths(cage, setting, f"127.0.0.1:{port}", text)
    elsewhere = f"{provider}/{DIALECTS['openai-chat']}"
    return [*paths.all(), *OddPaths(paths, setting, elsewhere=elsewhere).all()]


def _nobody() -> socket.socket:
    """Return a socket whose port nobody listens on, and nobody else can have."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


async def _exported(collector: Collector, setting: Setting, paths: Sequence[Path]) -> None:
    """Wait until the collector has all exchanges, as long as that may take; what has not come by then is said later."""
    if not setting.exports:
        return
    wanted = {path.marker.encode() for path in paths if path.expected.exchange}
    deadline = monotonic() + _EXPORT_SECONDS
    while monotonic() < deadline:
        sent = b"".join(batch.body for batch in list(collector.batches))
        if all(marker in sent for marker in wanted):
            return
        await asyncio.sleep(_TICK)


def _notes(setting: Setting, passed_on: int, untried: Sequence[str]) -> list[str]:
    notes = []
    if passed_on:
        notes.append(
            f"{passed_on} answers had keys in them that the provider itself repeated; its bytes go to the client as "
            "they are"
        )
    if setting.capture.store == "metadata":
        notes.append(
            "a provider's error message is kept as the error of its attempt, and may repeat a part of the prompt; "
            '$.capture.store = "off" keeps none'
        )
    notes += [
        f"$.redaction.patterns.{name} was not tried: say a text that it is to take out, with --example TEXT"
        for name in untried
    ]
    return notes
