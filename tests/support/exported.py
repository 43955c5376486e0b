"""Journals to export, and names of the spans that a collector is expected to get."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gateway.tracing.journal import Journal

START = 1_700_000_000_000_000_000


def journal_in(data: Path, worker: str = "w0", began: int = START) -> Journal:
    """Return a worker's journal that never rotates."""
    return Journal(
        data / "live",
        worker,
        {"service.name": "gateway", "deployment.environment.name": "test"},
        rotate_bytes=1 << 30,
        rotate_seconds=1e9,
        clock=lambda: began,
    )


def line(number: int, kind: str, name: str, **columns: Any) -> dict[str, Any]:
    """Return a row of `spans`."""
    row = {
        "trace_id": format(number + 1, "032x"),
        "span_id": format(2 * number + (1 if kind == "SERVER" else 2), "016x"),
        "name": name,
        "kind": kind,
        "service_name": "gateway",
        "start_ns": START + number,
        "duration_ns": 1_000_000,
    }
    return row | columns


def exchange(journal: Journal, number: int, **columns: Any) -> None:
    """Write an exchange and its one attempt, named by the number."""
    root = line(number, "SERVER", f"root {number}")
    journal.start(number, {key: value for key, value in root.items() if key != "duration_ns"})
    journal.attempt(number, line(number, "CLIENT", f"chat {number}", parent_span_id=root["span_id"], **columns))
    journal.end(number, root)


def names_of(numbers: Iterable[int]) -> list[str]:
    """Return the names of the spans of these exchanges, as they are written."""
    return [name for number in numbers for name in (f"chat {number}", f"root {number}")]


def until(done: Callable[[], object]) -> None:
    """Wait for what the exporter's thread does."""
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline, "it did not come about in 20 s"
        time.sleep(0.01)


def messages(length: int) -> list[dict[str, Any]]:
    """Return one message of so many characters of two bytes."""
    return [{"role": "user", "parts": [{"type": "text", "content": "é" * length}]}]
