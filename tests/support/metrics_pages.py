"""Parser of metrics pages, and journal lines to count."""

import re
from typing import Any, NamedTuple

import msgspec

from gateway.store.metrics.exposition import Page, negotiate
from gateway.store.metrics.folding import Fold

TRACE, SPAN = "0" * 24 + "0000abcd", "000000000000abcd"
START_NS = 1_700_000_000_000_000_000

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*?)\})? (\S+)(?: # \{(.*?)\} (\S+) (\S+))?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)')
_ESCAPE = re.compile(r"\\(.)")


class Sample(NamedTuple):
    """A line of a page. `exemplar`: the labels of its exemplar, with its value as `value`."""

    name: str
    labels: dict[str, str]
    value: float
    exemplar: dict[str, str] | None


def samples(page: str) -> list[Sample]:
    """Return the samples of a page. Raises AssertionError for a line that is none."""
    found = []
    for line in page.split("\n"):
        if line.startswith("#") or not line:
            continue
        match = _SAMPLE.match(line)
        assert match, line
        name, labels, value, exemplar, of, _ = match.groups()
        found.append(
            Sample(name, _labels(labels), float(value), None if exemplar is None else _labels(exemplar) | {"value": of})
        )
    return found


def _labels(said: str | None) -> dict[str, str]:
    found = _LABEL.findall(said or "")
    assert ",".join(f'{name}="{value}"' for name, value in found) == (said or "")
    return {name: _ESCAPE.sub(lambda found: {"n": "\n"}.get(found[1], found[1]), value) for name, value in found}


def total(page: str, name: str, **labels: str) -> float:
    """Return the sum of a name's samples that have these labels."""
    return sum(
        sample.value
        for sample in samples(page)
        if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items())
    )


def page_of(fold: Fold, *, opened: bool = False) -> str:
    """Return what was folded as a page."""
    encode, _ = negotiate("application/openmetrics-text" if opened else "")
    return encode(Page(fold.families.values(), {"service.name": "gateway"})).decode()


def line(what: str, /, **more: Any) -> bytes:
    """Return a line of a journal, by what it is: start, exchange, attempt, dropped, event."""
    span = {"trace_id": TRACE, "span_id": SPAN, "start_ns": START_NS, "duration_ns": 1_500_000_000}
    shapes: dict[str, dict[str, Any]] = {
        "start": {"t": "start", **span, "kind": "SERVER"},
        "exchange": {"t": "span", **span, "kind": "SERVER", "outcome": "ok", "http_status": 200, "method": "POST"},
        "attempt": {
            "t": "span",
            **span,
            "kind": "CLIENT",
            "outcome": "ok",
            "provider": "openai",
            "operation": "chat",
            "request_model": "gpt",
            "response_model": "gpt-1",
            "reason": "first",
            "attributes": {"gen_ai.provider.name": "openai", "server.port": 443},
        },
        "dropped": {"t": "dropped", "reason": "disk_full", "kind": "SERVER", "span_id": SPAN},
        "event": {"t": "event", "event_id": "e", "type": "run:start"},
    }
    return msgspec.json.encode(shapes[what] | more) + b"\n"


def folded(*lines: bytes) -> Fold:
    """Fold lines of one journal."""
    fold = Fold()
    for each in lines:
        fold.line(each, "w0")
    return fold
