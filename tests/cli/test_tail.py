"""`gateway tail`: the last exchanges, then new ones as they end, through rotations, sealing and restarts."""

import asyncio
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import aiohttp
import pytest

from gateway.cli.tail import COLUMNS, NARROW, Follower, follow, last, line, line_header
from gateway.config.model import Store
from gateway.store.query import QueryError
from gateway.store.recorder import Recorder
from gateway.tracing.journal import Journal
from tests.support.gateways import Process, to
from tests.support.store import START_NS, encoded, exchange, header, journal, small, span
from tests.support.upstream import Upstream

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}


def _ids(rows) -> list[int]:
    return [int(row["span_id"], 16) for row in rows]


def test_the_last_are_the_newest_in_order(tmp_path):
    """Sealed or live, oldest first; a row is what the view `exchanges` has."""
    data = small(tmp_path / "data")
    later = [span("span", "SERVER", "4", start_ns=START_NS + 4_000_000, path="/v1/x", outcome="timeout", error="late")]
    journal(data, later, "w1-4")
    rows = last(data, 2)
    assert len(rows) == 2
    assert _ids(rows)[-1] == 4
    assert rows[-1]["error"] == "late"
    assert len(last(data, 10)) == 4
    with pytest.raises(QueryError, match="no data folder"):
        last(tmp_path / "nowhere", 1)


def test_a_followed_row_is_the_one_that_sql_gives(tmp_path):
    """Both ways show the same."""
    data = tmp_path / "data"
    lines = exchange(1)
    lines[2] |= {
        "request_model": "m", "provider": "p", "http_status": 200, "input_tokens": 3, "output_tokens": 4,
        "retries": 1, "error": "é", "start_ns": START_NS + 123_456_000,
    }  # fmt: skip
    (data / "live").mkdir(parents=True)
    follower = Follower(data)
    journal(data, [header(), *lines])
    assert list(follower.new()) == last(data, 1)


def test_appended_lines_are_given_once_and_whole(tmp_path):
    """Half a line waits for its other half; attempts, starts and damaged lines are passed over."""
    data = tmp_path / "data"
    path = journal(data, [header(), *exchange(1)])
    follower = Follower(data)
    assert list(follower.new()) == []
    added = encoded([*exchange(2), *exchange(3)]) + b'{"t":"span","kind":"SERVER"}\nnonsense "kind":"SERVER"\n'
    with path.open("ab") as file:
        for start in range(0, len(added), 50):
            file.write(added[start : start + 50])
            file.flush()
            for row in follower.new():
                assert _ids([row])[0] in {2, 3}
    more = range(4, 400)
    with path.open("ab") as file:
        file.write(b"".join(encoded(exchange(number)) for number in more))
    assert _ids(follower.new()) == list(more)
    assert list(follower.new()) == []


def test_following_goes_on_through_rotation_and_sealing(tmp_path):
    """Each exchange is given once, whichever file it ended in, and what became of that file."""
    data = tmp_path / "data"
    worker = Journal(data / "live", "w0", {}, rotate_bytes=1000, rotate_seconds=600.0)
    recorder = Recorder(data, Store(grace_seconds=0.0), None)
    recorder.prepare()
    follower = Follower(data)
    seen: list[int] = []
    for number in range(1, 16):
        lines = exchange(number)
        worker.start(number, lines[0])
        worker.attempt(number, lines[1])
        worker.end(number, lines[2])
        if number % 3 == 0:
            seen += _ids(follower.new())
            recorder.step()
    worker.close()
    seen += _ids(follower.new())
    assert seen == list(range(1, 16))
    assert recorder.sealed > 3


def test_following_waits_for_the_folder(tmp_path):
    """It may start before the folder exists, and ends with its reader."""
    data = tmp_path / "data"
    follower = Follower(data)
    waits = iter(range(1, 4))

    def sleep(_seconds: float) -> None:
        number = next(waits)
        journal(data, [header(), *exchange(number)], f"w0-{number}")

    assert _ids(islice(follow(follower, sleep), 3)) == [1, 2, 3]


def test_a_line_is_a_line_whatever_a_client_sent():
    """Names and errors come from outside: they can neither break the line nor command the terminal."""
    row = dict.fromkeys(COLUMNS) | {
        "started_at": "2024-01-02T03:04:05.678901Z", "trace_id": "ab" * 16, "model": "m\x1b[2J\nfake", "error": "a\nb",
        "status_code": 200, "outcome": "ok", "retries": 2, "duration_ms": 12.345, "input_tokens": 7,
    }  # fmt: skip
    text = line(row, as_json=False)
    assert "\n" not in text
    assert "\x1b" not in text
    assert text.split()[:6] == ["03:04:05.678", "200", "12.3", "7", "-", "ok"]
    assert "+2" in text
    assert text.index("200") + 3 == line_header().index("status") + 6
    assert json.loads(line(row, as_json=True)) == {key: row[key] for key in COLUMNS}
    nothing = dict.fromkeys(COLUMNS) | {"started_at": row["started_at"], "trace_id": "ab", "path": "/v1/models"}
    assert line(nothing, as_json=False).split() == ["03:04:05.678", "-", "-", "-", "-", "/v1/models", "ab"]


def test_a_narrow_line_fits_80_columns():
    """The trace id and the error are left out, and a long model is cut."""
    row = dict.fromkeys(COLUMNS) | {
        "started_at": "2024-01-02T03:04:05.678901Z", "trace_id": "ab" * 16, "model": "provider/" + "model" * 9,
        "error": "broken", "status_code": 500, "outcome": "upstream_abort", "retries": 2, "duration_ms": 12.345,
    }  # fmt: skip
    text = line(row, as_json=False, narrow=True)
    assert len(text) == NARROW == 80
    assert "provider/model" in text
    assert "abab" not in text
    assert "trace_id" not in line_header(narrow=True)
    assert json.loads(line(row, as_json=True, narrow=True))["trace_id"] == "ab" * 16


@pytest.mark.integration
async def test_the_command_follows_a_gateway_that_rotates_seals_and_restarts(upstream: Upstream, tmp_path: Path):
    """Every exchange from the first on is a line, in order, once."""
    toml = to(upstream.url, "[store]\nrotate_bytes = 8000\ngrace_seconds = 0.2\n")
    gateway = Process(tmp_path, toml)
    await gateway.start()
    tail = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "tail", "-f", "-n", "100", "--json", "--data", str(gateway.data),
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert tail.stdout is not None
    traces: list[str] = []

    async def send(count: int) -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(count):
                async with session.post(f"{gateway.url}/v1/chat/completions", json=CHAT) as response:
                    await response.read()
                    traces.append(response.headers["x-gateway-trace-id"])

    async def shown(count: int) -> list[str]:
        async with asyncio.timeout(30):
            return [json.loads(await tail.stdout.readline())["trace_id"] for _ in range(count)]

    try:
        await send(10)
        lines = await shown(10)
        await send(20)
        lines += await shown(20)
        assert list((gateway.data / "segments").glob("*.duckdb"))
        await gateway.stop()
        await gateway.start()
        await send(5)
        lines += await shown(5)
        assert lines == traces
    finally:
        tail.kill()
        await tail.communicate()
        await gateway.stop()
