"""Events of runs and steps: as a client sends them, as journal lines, and as rows."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Raw

from gateway.config.model import Capture
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.event_rows import BatchContext, event_line
from tests.support.raw_http import Answer, exchange, request

BEGAN = datetime(2026, 1, 31, 12, tzinfo=UTC)
RUN = "0190a1b2-c3d4-7e5f-8a6b-0123456789ab"
STEP = "0190a1b2-c3d4-7e5f-9a6b-fedcba987654"
INNER = "0190a1b2-c3d4-7e5f-aa6b-00000000aaaa"

Event = dict[str, Any]


def at(milliseconds: float) -> str:
    """Return a time, so long after the beginning, as JavaScript writes it."""
    return (BEGAN + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def step(kind: str, step_id: str, ms: float, run_id: str = RUN, **data: Any) -> Event:
    """Return an event of a step."""
    return {"type": f"step:{kind}", "run_id": run_id, "step_id": step_id, "time": at(ms), "data": data}


def whole_run() -> list[Event]:
    """Return all that a client tells of a run with a step in a step, one of which fails."""
    return [
        {
            "type": "run:start", "id": RUN, "name": "answer a ticket", "description": "of a customer", "time": at(0),
            "application": "shop", "input": {"ticket": 7}, "tags": ["a", "b"], "info": {"tier": 1, "gone": True},
        },
        step("start", STEP, 10, type="chain", name="retrieve", input=["query"], tags=["x"], info={"k": 3}),
        step("start", INNER, 20, type="tool", parent_step=STEP, input=None),
        {"type": "note", "run_id": RUN, "step_id": INNER, "time": at(25), "data": {"score": 0.5}, "error": {"m": "e"}},
        step("state", INNER, 26, state="waiting"),
        step("error", INNER, 30, error={"message": "no such index", "stack": "at x"}),
        step("end", STEP, 40, output={"docs": []}, info={"hits": 0}),
        {"type": "run:update", "id": RUN, "output": "sorry", "info": {"gone": None, "cost": 2}, "time": at(50)},
    ]  # fmt: skip


def lines_of(
    events: Sequence[Event], capture: Capture | None = None, arrival: BatchContext | None = None
) -> list[Event]:
    """Return events as a journal's lines."""
    arrival = arrival or BatchContext(received_ns=1_800_000_000_000_000_000, service_name="gateway")
    return [
        {
            "t": "event",
            **event_line(
                Raw(json.dumps(event).encode()), f"$[{index}]", index, arrival, CapturePolicy(capture or Capture())
            ),
        }
        for index, event in enumerate(events)
    ]


async def post_events(url: str, body: Any, *headers: tuple[str, str], path: str = "/events") -> Answer:
    """Send a body, JSON or bytes as they are, and return the answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = [("Content-Type", "application/json"), *headers]
    return await exchange(url, request("POST", path, sent, data))


def table(columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return rows by the names of their columns, JSON as values."""
    names = list(columns)
    return [
        {
            name: json.loads(value) if name in {"info", "input", "output", "error", "data"} and value else value
            for name, value in zip(names, row, strict=True)
        }
        for row in rows
    ]
