"""The report: a table of paths and sinks, each leak with what to change, and the same as JSON."""

import sys
from collections.abc import Sequence
from typing import Literal, TextIO

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from gateway.cli.doctor.judging import Judged, Leak, Unchecked
from gateway.cli.doctor.paths import Path
from gateway.cli.doctor.settings import Setting
from gateway.cli.doctor.sinks import METRICS, SINKS, SPANS
from gateway.cli.tables import on_one_line

Cell = Literal["ok", "leak", "not checked", "off"]
ALL = "all paths"
"""The line of what no path alone can be blamed for."""

_MOST = 40
"""So many leaks are described to people."""

_STYLES = {"ok": "green", "leak": "bold red", "not checked": "yellow", "off": "dim"}
CLEAN, LEAKED, BAD_CONFIGURATION, NOT_CHECKED = 0, 1, 2, 3


class Line(Struct, frozen=True, kw_only=True):
    """One line of the table: what was tried, how often, and what came of it in each sink."""

    path: str
    requests: int
    sinks: dict[str, Cell]


class Report(Struct, frozen=True, kw_only=True):
    """All that is told.

    Attributes:
        result: "clean", "leaks", or "not checked" where there is no leak and something could not be looked at.
        seconds: How long it took.
        notes: What is no leak, and good to know.

    """

    result: Literal["clean", "leaks", "not checked"]
    lines: tuple[Line, ...]
    leaks: tuple[Leak, ...]
    unchecked: tuple[Unchecked, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def code(self) -> int:
        """The exit code: 0 clean, 1 something leaked, 3 something was not checked."""
        return {"clean": CLEAN, "leaks": LEAKED, "not checked": NOT_CHECKED}[self.result]


def made(judged: Judged, paths: Sequence[Path], setting: Setting, notes: Sequence[str], seconds: float) -> Report:
    """Put a report together."""
    rows = dict.fromkeys(path.row for path in paths)
    off = {sink for sink, on in ((SPANS, setting.exports), (METRICS, setting.measures)) if not on}
    lines = []
    for row in (*rows, ALL):
        count = sum(row in {path.row, ALL} for path in paths)
        cells = {sink: _cell("" if row == ALL else row, sink, judged, off) for sink in SINKS}
        lines.append(Line(path=row, requests=count, sinks=cells))
    result: Literal["clean", "leaks", "not checked"] = "clean"
    if judged.leaks:
        result = "leaks"
    elif judged.unchecked:
        result = "not checked"
    return Report(
        result=result,
        lines=tuple(lines),
        leaks=judged.leaks,
        unchecked=judged.unchecked,
        notes=tuple(notes),
        seconds=round(seconds, 1),
    )


def _cell(row: str, sink: str, judged: Judged, off: set[str]) -> Cell:
    if any(leak.row == row and leak.sink == sink for leak in judged.leaks):
        return "leak"
    if sink in off:
        return "off"
    for each in judged.unchecked:
        # A sink that was not looked at counts for all paths; a path that was not tried for all sinks.
        if each.sink in {sink, ""} and each.row in {row, ""}:
            return "not checked"
    return "ok"


def write(report: Report, *, as_json: bool, out: TextIO | None = None) -> None:
    """Write a report: one JSON object, or the table, what leaked, and what was not checked."""
    stream = out or sys.stdout
    if as_json:
        stream.write(msgspec.json.encode(report).decode() + "\n")
        return
    _table(report, stream)
    for number, leak in enumerate(report.leaks[:_MOST], 1):
        times = f" ({leak.count} times)" if leak.count > 1 else ""
        stream.write(
            f"\nleak {number}: {on_one_line(leak.kind)} {leak.shown}\n"
            f"  path    {on_one_line(leak.path)}\n"
            f"  sink    {leak.sink}: {on_one_line(leak.place)}{times}, {leak.form}\n"
            f"  change  {leak.change}\n"
        )
    if len(report.leaks) > _MOST:
        stream.write(f"\nand {len(report.leaks) - _MOST} leaks more; --json names them all\n")
    if report.unchecked:
        stream.write("\nnot checked:\n")
    for each in report.unchecked:
        stream.write(
            f"  {on_one_line(each.path or ALL)}{f', {each.sink}' if each.sink else ''}: {on_one_line(each.why)}\n"
        )
    stream.write("\n" if report.notes else "")
    for note in report.notes:
        stream.write(f"note: {note}\n")
    stream.write(f"\n{_verdict(report)}\n")


def _verdict(report: Report) -> str:
    requests = report.lines[-1].requests
    tried = f"{requests} requests, {len(SINKS)} sinks, {report.seconds:g} s"
    if report.result == "leaks":
        return f"{len(report.leaks)} leaks ({tried})"
    if report.result == "not checked":
        return f"no leak was found, and {len(report.unchecked)} things were not checked ({tried})"
    return f"no leaks ({tried})"


def _table(report: Report, stream: TextIO) -> None:
    shown = {"ok": "ok", "leak": "LEAK", "not checked": "?", "off": "-"}
    if stream.isatty():
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("path")
        for sink in SINKS:
            table.add_column(sink)
        for line in report.lines:
            cells = [f"[{_STYLES[cell]}]{shown[cell]}[/]" for cell in line.sinks.values()]
            table.add_row(f"{line.path} ({line.requests})", *cells)
        Console(file=stream).print(table)
        return
    width = max(len(line.path) for line in report.lines) + 6
    stream.write(f"{'path':<{width}}{'  '.join(SINKS)}\n")
    for line in report.lines:
        told = "  ".join(f"{shown[cell]:<{len(sink)}}" for sink, cell in line.sinks.items())
        stream.write(f"{f'{line.path} ({line.requests})':<{width}}{told}".rstrip() + "\n")
