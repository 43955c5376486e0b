"""Disks that are full and folders that cannot be read: calls go on, losses are counted, and all is well again after."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.gateways import Process, ask, to
from tests.support.paths import ROOT
from tests.support.store import exchange, header, journal, small
from tests.support.upstream import Upstream

pytestmark = pytest.mark.integration

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "x" * 2000}]}
SUMS = "SELECT sum(accepted), sum(stored), sum(in_flight), sum(interrupted), sum(dropped) FROM ledger"


@pytest.fixture(name="disk")
def _disk(tmp_path) -> Iterator[Path]:
    """Make a disk of eight megabytes where a gateway of this folder keeps its data."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "none", str(data)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user can mount no disk")
    yield data
    subprocess.run(["umount", "--lazy", str(data)], check=True)


def _fill(disk: Path) -> Path:
    """Leave no byte free; return the file that takes them."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


async def _send(gateway: Process, count: int) -> None:
    """Send so many requests; each is answered as if nothing were wrong."""
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            async with session.post(f"{gateway.url}/v1/chat/completions", json=CHAT) as response:
                assert (response.status, await response.json()) == (200, {"ok": True})


async def _health(gateway: Process) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/-/health") as response:
        return await response.json()


async def _settled(gateway: Process, *expected: int) -> None:
    """Wait until the ledger's sums are these."""
    found: list[tuple[Any, ...]] = []
    for _ in range(200):
        found = await asyncio.to_thread(gateway.ask, SUMS)
        if found == [expected]:
            return
        await asyncio.sleep(0.1)
    assert found == [expected]


async def test_a_disk_that_fills_up_stops_no_call(upstream: Upstream, tmp_path, disk):
    """What is lost is counted by reason, said in the ledger once there is room, and none of it holds up an answer."""
    async with Process(tmp_path, to(upstream.url, "[store]\ngrace_seconds = 0.5\n")) as gateway:
        await _send(gateway, 5)
        await _settled(gateway, 5, 5, 0, 0, 0)
        ballast = await asyncio.to_thread(_fill, disk)
        await _send(gateway, 40)
        health = await _health(gateway)
        lost = health["dropped"]["disk_full"]
        assert set(health["dropped"]) == {"disk_full"}
        assert lost > 0  # not all: the last block of the journal takes some yet
        assert (health["accepted"], health["stored"], health["in_flight"]) == (45, 45 - lost, 0)
        assert await asyncio.to_thread(gateway.ask, "SELECT count(*) FROM exchanges") == [(45 - lost,)]
        ballast.unlink()
        await _send(gateway, 10)
        await _settled(gateway, 55, 55 - lost, 0, 0, lost)
        reasons = await asyncio.to_thread(gateway.ask, "SELECT DISTINCT json_keys(dropped_by_reason) FROM ledger")
        assert (["disk_full"],) in reasons
        assert await gateway.stop() == 0
        await _settled(gateway, 55, 55 - lost, 0, 0, lost)
    log = gateway.log.read_text()
    assert "Traceback" not in log
    assert log.count("spans are dropped while that lasts") <= 3


async def test_a_gateway_starts_on_a_full_disk(upstream: Upstream, tmp_path, disk):
    """It serves at once, and records as soon as there is room."""
    gateway = Process(tmp_path, to(upstream.url))
    (disk / "lock").touch()
    ballast = await asyncio.to_thread(_fill, disk)
    await gateway.start()
    try:
        await _send(gateway, 3)
        health = await _health(gateway)
        assert (health["accepted"], health["stored"], health["dropped"]) == (3, 0, {"disk_full": 3})
        ballast.unlink()
        while (health := await _health(gateway))["stored"] < 2:
            await _send(gateway, 1)
            await asyncio.sleep(0.05)
        for _ in range(200):
            if (disk / "spans.duckdb").exists():
                break
            await asyncio.sleep(0.1)
        await _settled(gateway, health["accepted"], 2, 0, 0, health["accepted"] - 2)
    finally:
        assert await gateway.stop() == 0


# Looks after a store whose folder it may not read, then may read again.
STEPS = """
import logging, sys, time
from pathlib import Path
from gateway.config.model import Store
from gateway.store.recorder import Recorder

logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
data = Path(sys.argv[1])
recorder = Recorder(data, Store(), None)
recorder.prepare()
for mode in (0o000, 0o700):
    (data / "live").chmod(mode)
    for _ in range(3):
        recorder.step()
    print(recorder.failures, recorder.sealed)
"""


@pytest.fixture(name="as_a_user")
def _as_a_user() -> list[str]:
    """Return what makes of a command one that permissions hold for."""
    if os.geteuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root can read any folder")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def test_a_folder_that_cannot_be_read_is_tried_again(tmp_path, as_a_user):
    """It is no empty store: that is logged once, and when it can be read all is done that waited."""
    data = tmp_path / "data"
    journal(data, [header(), *exchange(1)])
    ran = subprocess.run(
        [*as_a_user, sys.executable, "-c", STEPS, str(data)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    said = ran.stdout.splitlines()
    assert said[0].startswith("WARNING:gateway.recorder:cannot publish what changed in")
    assert said[0].endswith(f"Permission denied: '{data / 'live'}'; trying again")
    assert ran.stdout.count("cannot publish") == ran.stdout.count("can publish") == 1
    (failures, sealed), (failures_after, sealed_after) = [
        [int(word) for word in line.split()] for line in said if line[0].isdigit()
    ]
    assert failures == failures_after > 2
    assert (sealed, sealed_after) == (0, 1)
    assert "Traceback" not in ran.stdout + ran.stderr
    assert ask(data, "SELECT count(*) FROM exchanges") == [(1,)]


def test_a_query_says_that_the_store_cannot_be_read(tmp_path, as_a_user):
    """It counts nothing that is not there."""
    data = small(tmp_path / "data")
    (data / "segments").chmod(0o000)
    command = [*as_a_user, sys.executable, "-m", "gateway", "sql", "--data", str(data), "FROM exchanges"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    (data / "segments").chmod(0o700)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"Error: the store cannot be read: [Errno 13] Permission denied: '{data / 'segments'}'\n"
