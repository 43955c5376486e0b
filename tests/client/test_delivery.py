"""Delivery: events reach the gateway in order in spite of its failures, and never block the application."""

import asyncio
import contextlib
import http.client
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from gateway.client import configure, delivery, dropped, event, flush, run, step
from tests.support.event_receiver import ACCEPTED, EventReceiver, event_receiver
from tests.support.upstream import CLOSE, RESET, Asked, Upstream, reply


@pytest.fixture(name="gateway")
async def _gateway(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> AsyncIterator[EventReceiver]:
    async with event_receiver(monkeypatch, upstream) as gateway:
        yield gateway


def numbered(count: int, start: int = 0) -> None:
    """Queue events numbered from `start` on."""
    for number in range(start, start + count):
        event("tick", {"n": number})


def numbers(events: list[dict]) -> list[int]:
    """Return the numbers of events."""
    return [each["data"]["n"] for each in events]


async def test_events_go_in_batches_over_one_connection(gateway):
    """Events are sent in order as JSON to /events, at most 500 at once; `flush` waits until all are accepted."""
    arrived, answer = asyncio.Event(), asyncio.Event()

    def respond(_asked: Asked) -> list:
        arrived.set()
        return [answer, *ACCEPTED]

    gateway.upstream.answer = respond
    numbered(1)
    await arrived.wait()
    numbered(1200, start=1)  # queued while the sender waits for its first response
    answer.set()
    assert numbers(await gateway.events()) == list(range(1201))
    assert [len(batch) for batch in gateway.bodies] == [1, 500, 500, 200]
    assert gateway.upstream.connections == 1
    asked = gateway.upstream.asked[0]
    assert (asked.method, asked.target, asked.header("Content-Type")) == ("POST", "/events", "application/json")
    assert asked.header("x-gateway-token") is None
    assert dropped() == 0


async def test_a_path_and_a_token_go_with_them(gateway):
    """Requests use the prefix of the configured URL, and carry the configured token."""
    configure(url=f"{gateway.url}/llm/", token="s3cret")
    numbered(1)
    await gateway.events()
    (asked,) = gateway.upstream.asked
    assert (asked.target, asked.header("x-gateway-token")) == ("/llm/events", "s3cret")


async def test_a_slow_gateway_blocks_no_producer(gateway):
    """While the gateway does not respond, events are queued; one request is in flight at a time."""
    answer = asyncio.Event()
    gateway.upstream.answer = lambda _asked: [answer, *ACCEPTED]
    numbered(1)
    assert not await asyncio.to_thread(flush, 0.2)
    numbered(9, start=1)
    assert len(gateway.upstream.asked) == 1
    answer.set()
    assert numbers(await gateway.events()) == list(range(10))
    assert [len(batch) for batch in gateway.bodies] == [1, 9]


TROUBLES = {
    "503": reply({"error": "the journal cannot be written"}, "503 Service Unavailable"),
    "429": reply({}, "429 Too Many Requests"),
    "reset": [RESET],
    "closed": [CLOSE],
    "garbage": [b"\x00\x01garbage\r\n\r\n", CLOSE],
    "half an answer": [b"HTTP/1.1 2", CLOSE],
    "silence": [60.0],
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_order_is_kept_across_retries(gateway, trouble, caplog):
    """A batch that failed is sent again before any later one, and the failure is logged once."""
    if trouble == TROUBLES["silence"]:
        configure(timeout=0.5)
    gateway.upstream.answers(ACCEPTED, trouble, trouble, trouble, ACCEPTED)
    numbered(3)
    await gateway.events()
    numbered(3, start=3)
    await asyncio.sleep(0.1)
    numbered(3, start=6)
    await gateway.events()
    batches = [numbers(batch) for batch in gateway.bodies]
    assert batches[0] == [0, 1, 2]
    assert all(batch[0] == 3 for batch in batches[1:5])
    assert [n for batch in batches[4:] for n in batch] == [3, 4, 5, 6, 7, 8]
    assert dropped() == 0
    away = [each for each in caplog.records if "events cannot be sent" in each.getMessage()]
    assert len(away) == 1
    assert f"{gateway.url}/events now" in away[0].getMessage()


async def test_a_gateway_that_starts_later_gets_everything(gateway, caplog):
    """Runs that ended before the gateway started are sent once it is up."""
    here, port = gateway.upstream, int(gateway.url.rpartition(":")[2])
    here._server.close()
    await here._server.wait_closed()
    with run("r"), step("s"):
        pass
    assert not await asyncio.to_thread(flush, 0.1)
    here._server = await asyncio.start_server(here._connected, "127.0.0.1", port)
    assert [each["type"] for each in await gateway.events()] == ["run:start", "step:start", "step:end", "run:update"]
    assert "or set its URL with configure(url=...) or GATEWAY_URL" in caplog.text


async def test_a_connection_closed_meanwhile_costs_nothing(gateway, caplog):
    """A request on an idle connection that was closed is sent again at once, and is no failure."""
    gateway.upstream.answer = lambda _asked: [*ACCEPTED, CLOSE]
    for number in range(3):
        numbered(1, start=number)
        await gateway.events()
    assert numbers(await gateway.events()) == [0, 1, 2]
    assert caplog.records == []


async def test_one_refused_event_does_not_cost_the_others(gateway, caplog):
    """An event that the gateway names in its error is dropped, and the rest of the batch is sent again."""

    def picky(asked: Asked) -> list:
        bad = [number for number, each in enumerate(asked.json["events"]) if each["type"] == "bad"]
        if bad:
            message = f"Expected `str`, got `int` - at `$.events[{bad[0]}].data.state`; nothing was stored."
            return reply({"error": {"message": message}}, "422 Unprocessable Entity")
        return list(ACCEPTED)

    gateway.upstream.answer = picky
    for number in range(10):
        event("bad" if number in {0, 4, 9} else "tick", {"n": number})
    await gateway.events()
    assert numbers(gateway.bodies[-1]) == [1, 2, 3, 5, 6, 7, 8]
    assert len(gateway.bodies) == 4
    assert dropped() == 3
    (record,) = caplog.records
    assert "refused 1 events with status 422" in record.getMessage()
    assert "$.events[0].data.state" in record.getMessage()


async def test_a_refused_batch_is_dropped_and_counted(gateway, caplog):
    """A batch that is refused as a whole is not sent again; later events are sent."""
    configure(token="s3cret")
    gateway.upstream.answers(reply({"error": "no"}, "401 Unauthorized"), ACCEPTED)
    numbered(5)
    await gateway.events()
    numbered(1, start=5)
    await gateway.events()
    assert [numbers(batch) for batch in gateway.bodies] == [[0, 1, 2, 3, 4], [5]]
    assert dropped() == 5
    assert "set its token with configure(token=...) or GATEWAY_TOKEN" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_batch_too_large_is_sent_in_parts(gateway):
    """A batch that is too large is halved, down to one event, which is dropped if it is refused, too."""
    too_large = reply({"error": "too large"}, "413 Content Too Large")
    large = "x" * 1000

    def small_only(asked: Asked) -> list:
        return list(ACCEPTED) if len(asked.body) < 1000 else too_large

    gateway.upstream.answer = small_only
    numbered(3)
    event("tick", {"n": 3, "large": large})
    numbered(3, start=4)
    await gateway.events()
    got = [each for asked in gateway.upstream.asked if len(asked.body) < 1000 for each in asked.json["events"]]
    assert numbers(got) == [0, 1, 2, 4, 5, 6]
    assert dropped() == 1


async def test_a_full_queue_drops_the_newest_events(gateway, caplog):
    """The queue is bounded in events and in bytes, and a full one is logged once."""
    answer = asyncio.Event()
    gateway.upstream.answer = lambda _asked: [answer, *ACCEPTED]
    configure(queue_events=10)
    numbered(100)
    assert dropped() == 90
    answer.set()
    assert numbers(await gateway.events()) == list(range(10))
    assert [each.getMessage() for each in caplog.records] == ["the queue is full (10 events): the newest are dropped"]
    numbered(1, start=100)
    assert numbers(await gateway.events())[-1] == 100


async def test_threads_and_tasks_share_one_queue(gateway):
    """Events of each thread and task stay in order, and none is lost."""

    def work(name: str) -> None:
        for number in range(200):
            event(name, {"n": number})

    await asyncio.gather(*(asyncio.to_thread(work, f"t{each}") for each in range(8)))
    said = await gateway.events()
    for each in range(8):
        assert [event["data"]["n"] for event in said if event["type"] == f"t{each}"] == list(range(200))
    assert sum(thread.name == "gateway.client" for thread in threading.enumerate() if thread.is_alive()) >= 1
    assert gateway.upstream.connections == 1


class Odd:
    """Something that nobody can write as JSON, or even show."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


async def test_any_text_is_accepted(gateway):
    """Names, tags, statuses and exceptions may have any text."""

    class UnsayableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    about = {"description": 1, "tags": [1, "\udfff"], "info": {1: Odd()}}
    with (
        contextlib.suppress(UnsayableError),
        run("\ud800", **about) as r,
        step(3, type=None, tags=None, info=None) as s,
    ):
        r.status = Odd()
        s.state("\ud800")
        event("\ud800", {"\ud800": Odd()}, error=Odd())
        raise UnsayableError
    with contextlib.suppress(ValueError), run("r"):
        raise ValueError("\ud800" * 10_000)
    said = await gateway.events()
    types = [each["type"] for each in said]
    assert types == [
        "run:start",
        "step:start",
        "step:state",
        "?",
        "step:error",
        "run:update",
        "run:start",
        "run:update",
    ]
    assert said[7]["output"]["error"]["message"] == "?" * 4096 + "…"
    assert (said[0]["name"], said[0]["description"], said[0]["tags"]) == ("?", "1", ["1", "?"])
    assert said[0]["info"] == {"1": "<Odd>"}
    assert (said[3]["data"], said[3]["error"]) == ({"?": "<Odd>"}, "<Odd>")
    assert dropped() == 0


# ---- the end of a process ----

PRELUDE = "import sys, time, gateway.client as c\nfrom gateway.client import *\n"


async def ran(program: str | list[str], url: str) -> subprocess.CompletedProcess[str]:
    """Run a program whose gateway is at `url`; return what it said."""
    environ = {**os.environ, "GATEWAY_URL": url, "PYTHONPATH": ":".join(sys.path)}
    arguments = ["-c", PRELUDE + program] if isinstance(program, str) else program
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        *arguments,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode or 0, out.decode(), err.decode())


async def test_the_exit_of_a_process_sends_queued_events(gateway):
    """Queued events are sent at the exit, also after an exception or `sys.exit`."""
    for ending in ("pass", "raise ValueError('x')", "sys.exit(3)"):
        gateway.upstream.asked.clear()
        done = await ran(f"with run('r'):\n    with step('s'):\n        {ending}\n", gateway.url)
        assert len([each for batch in gateway.bodies for each in batch]) == 4, done.stderr
        assert "gateway" not in done.stderr.replace("gateway.client", "").replace("gateway/client", "")


async def test_the_exit_of_a_process_does_not_wait_long(gateway):
    """An exit waits a second for a gateway that is down, a few for one that hangs; lost events are logged."""
    for url, answer in (("http://127.0.0.1:9", None), (gateway.url, [600.0])):
        if answer:
            gateway.upstream.answer = lambda _asked, answer=answer: answer
        done = await ran("event('e')\nevent('e')\nprint('done')\n", url)
        assert (done.returncode, done.stdout) == (0, "done\n")
        assert "2 events were not sent before the process ended" in done.stderr
        assert "Traceback" not in done.stderr


async def test_a_process_without_events_starts_nothing(gateway):
    """A process without events starts no thread and sends no request."""
    done = await ran("import threading\nprint(threading.active_count(), flush(), dropped())\n", gateway.url)
    assert (done.stdout, done.stderr) == ("1 True 0\n", "")
    assert gateway.upstream.asked == []


async def test_a_forked_child_sends_its_own_events_only(gateway):
    """The parent sends the events queued before the fork, once; the child has its own queue and thread."""
    script = (
        "import os\n"
        "with run('r') as r:\n"
        "    event('before', {'n': 0})\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        with step('in the child'):\n"
        "            pass\n"
        "        os._exit(0 if flush() and dropped() == 0 else 1)\n"
        "    print(os.waitpid(child, 0)[1])\n"
    )
    done = await ran(script, gateway.url)
    assert done.stdout == "0\n", done.stderr
    said = [each for batch in gateway.bodies for each in batch]
    types = sorted(each["type"] for each in said)
    assert types == ["before", "run:start", "run:update", "step:end", "step:start"]
    (begun,) = [each["id"] for each in said if each["type"] == "run:start"]
    assert {each["run_id"] for each in said if "run_id" in each} == {begun}


@pytest.mark.parametrize("method", ["fork", "spawn"])
async def test_a_multiprocessing_child_sends_its_events(gateway, tmp_path, method):
    """Children of `multiprocessing`, which run no exit handlers, send their events, too."""
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, sys\nfrom gateway.client import event, flush\n"
        "def work(n):\n    event('tick', {'n': n})\n"
        "if __name__ == '__main__':\n"
        "    event('tick', {'n': -1})\n"
        "    assert flush()\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    for n in range(2):\n"
        "        child = context.Process(target=work, args=(n,))\n"
        "        child.start()\n"
        "        child.join()\n"
    )
    done = await ran([str(program)], gateway.url)
    assert done.returncode == 0, done.stderr
    assert sorted(numbers([each for batch in gateway.bodies for each in batch])) == [-1, 0, 1]


async def test_without_a_thread_a_flush_sends(gateway, monkeypatch):
    """An interpreter that exits starts no thread; the flush sends the events then."""
    mine = delivery.this_process()
    monkeypatch.setattr(threading.Thread, "start", lambda _self: (_ for _ in ()).throw(RuntimeError("ends")))
    numbered(700)
    monkeypatch.undo()
    assert mine._thread is None
    await asyncio.to_thread(mine.sender.drain, 10.0)
    assert [n for batch in gateway.bodies for n in numbers(batch)] == list(range(700))
    assert len(mine.outbox) == 0


async def test_no_error_reaches_the_application(gateway, monkeypatch, caplog):
    """Each kind of error in the client is logged once, and the application goes on."""

    def broken(*_: object) -> None:
        raise OSError("broken")

    monkeypatch.setattr(delivery.Delivery, "put", broken)
    for _ in range(2):
        with run("r"), step("s"):
            event("e")
    said = {re.sub(r"[<'].*[>']", "it", each.getMessage()) for each in caplog.records}
    assert said == {"it could not be begun", "it could not be ended", "an event of type it could not be queued"}
    assert len(caplog.records) == 3
    assert await gateway.events() == []


async def test_an_error_of_the_sender_drops_one_batch(gateway, monkeypatch, caplog):
    """The batch is dropped, counted and logged, and the thread goes on."""
    real = http.client.HTTPConnection.request

    def broken(*_: object, **__: object) -> None:
        raise LookupError("broken")

    monkeypatch.setattr(http.client.HTTPConnection, "request", broken)
    numbered(2)
    assert await gateway.events() == []
    monkeypatch.setattr(http.client.HTTPConnection, "request", real)
    numbered(1, start=2)
    assert numbers(await gateway.events()) == [2]
    assert dropped() == 2
    assert [each.levelno for each in caplog.records] == [logging.WARNING]
