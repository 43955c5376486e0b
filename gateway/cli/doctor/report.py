"""The report: a line per row of requests, each leak with its remedy, and the same as JSON."""

import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Literal, TextIO

import click
import msgspec
from msgspec import Struct

from gateway.cli.doctor.configuration import LoopbackConfig
from gateway.cli.doctor.judge import Leak, Unchecked, Verdict
from gateway.cli.doctor.requests import Request
from gateway.cli.doctor.sinks import LOGS, METRICS, SINKS, SPANS
from gateway.cli.tables import on_one_line

Cell = Literal["ok", "leak", "not checked", "off"]
ALL = "all paths"
"""The row of everything that belongs to no request alone."""

CLEAN, LEAKED, BAD_CONFIGURATION, NOT_CHECKED = 0, 1, 2, 3
_LEAKS_SHOWN = 40
_WIDTH = 80


class Line(Struct, frozen=True, kw_only=True):
    """One row: its number of requests, and the result in each sink."""

    path: str
    requests: int
    sinks: dict[str, Cell]


class Report(Struct, frozen=True, kw_only=True):
    """The result of a run: "not checked" if there is no leak and something could not be checked."""

    result: Literal["clean", "leaks", "not checked"]
    lines: tuple[Line, ...]
    leaks: tuple[Leak, ...]
    unchecked: tuple[Unchecked, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def code(self) -> int:
        """The exit code."""
        return {"clean": CLEAN, "leaks": LEAKED, "not checked": NOT_CHECKED}[self.result]


def build(
    verdict: Verdict, requests: Sequence[Request], loopback: LoopbackConfig, notes: Sequence[str], seconds: float
) -> Report:
    """Put a report together."""
    exports = {SPANS: loopback.exports_spans, LOGS: loopback.exports_logs, METRICS: loopback.exports_metrics}
    off = {sink for sink, on in exports.items() if not on}
    lines = []
    for row in (*dict.fromkeys(request.row for request in requests), ALL):
        count = sum(row in {request.row, ALL} for request in requests)
        cells = {sink: _cell("" if row == ALL else row, sink, verdict, off) for sink in SINKS}
        lines.append(Line(path=row, requests=count, sinks=cells))
    return Report(
        result="leaks" if verdict.leaks else "not checked" if verdict.unchecked else "clean",
        lines=tuple(lines),
        leaks=verdict.leaks,
        unchecked=verdict.unchecked,
        notes=tuple(notes),
        seconds=round(seconds, 1),
    )


def _cell(row: str, sink: str, verdict: Verdict, off: set[str]) -> Cell:
    if any(leak.row == row and leak.sink == sink for leak in verdict.leaks):
        return "leak"
    if sink in off:
        return "off"
    # A sink that was not read counts for all rows, a row that was not tried for all sinks.
    unchecked = any(each.sink in {sink, ""} and each.row in {row, ""} for each in verdict.unchecked)
    return "not checked" if unchecked else "ok"


def write(report: Report, *, as_json: bool, out: TextIO | None = None) -> None:
    """Write a report: one JSON object, or rows, leaks and unchecked items for people, 80 columns wide."""
    stream = out or sys.stdout
    if as_json:
        stream.write(msgspec.json.encode(report).decode() + "\n")
        return
    for line in _text(report):
        click.echo(line, file=stream)


def _text(report: Report) -> Iterator[str]:
    yield from _wrapped("sinks: ", ", ".join(SINKS))
    yield ""
    width = max(len(f"{line.path} ({line.requests})") for line in report.lines) + 2
    for line in report.lines:
        yield from _wrapped(f"{f'{line.path} ({line.requests})':<{width}}", _summary(line))
    for number, leak in enumerate(report.leaks[:_LEAKS_SHOWN], 1):
        times = f" ({leak.count} times)" if leak.count > 1 else ""
        yield f"\nleak {number}: {on_one_line(leak.kind)} {leak.shown}"
        yield f"  path    {on_one_line(leak.path)}"
        yield from _wrapped("  sink    ", f"{leak.sink}: {on_one_line(leak.place)}{times}, {leak.form}")
        yield from _wrapped("  change  ", leak.change)
    if len(report.leaks) > _LEAKS_SHOWN:
        yield f"\nand {len(report.leaks) - _LEAKS_SHOWN} more leaks; --json has them all"
    if report.unchecked:
        yield "\nnot checked:"
    for each in report.unchecked:
        path = on_one_line(each.path or ALL) + (f", {each.sink}" if each.sink else "")
        yield from _wrapped(f"  {path}: ", on_one_line(each.why), indent=4)
    if report.notes:
        yield ""
    for note in report.notes:
        yield from _wrapped("note: ", note)
    yield f"\n{_conclusion(report)}"


def _wrapped(head: str, text: str, indent: int | None = None) -> list[str]:
    """Return text after a head, with its further lines indented below itself; no word of it is broken."""
    below = " " * (len(head) if indent is None else indent)
    return textwrap.wrap(
        text, _WIDTH, initial_indent=head, subsequent_indent=below, break_long_words=False, break_on_hyphens=False
    )


def _summary(line: Line) -> str:
    """Return a row's result: one word if it is the same in all sinks that are on."""
    states: dict[Cell, list[str]] = {}
    for sink, cell in line.sinks.items():
        states.setdefault(cell, []).append(sink)
    if states.keys() == {"ok"}:
        return click.style("ok", fg="green")
    words: dict[Cell, str] = {
        "leak": click.style("LEAK", fg="red", bold=True),
        "not checked": click.style("not checked", fg="yellow"),
        "off": "off",
    }
    parts = [
        f"{word} in {', '.join(states[cell])}" if len(states[cell]) < len(SINKS) else word
        for cell, word in words.items()
        if cell in states
    ]
    return "; ".join(["ok", *parts] if states.keys() == {"ok", "off"} else parts)


def _conclusion(report: Report) -> str:
    tried = f"{report.lines[-1].requests} requests, {len(SINKS)} sinks, {report.seconds:g} s"
    if report.result == "leaks":
        return f"{len(report.leaks)} leaks ({tried})"
    if report.result == "not checked":
        return f"no leak was found, but {len(report.unchecked)} things were not checked ({tried})"
    return f"no leaks ({tried})"
