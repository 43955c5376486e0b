"""From rounds to the table: the median of each figure over the rounds, and of ratios formed within a round."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

import msgspec

from tests.bench.harness import DIRECT, Observation, Row
from tests.bench.rounds import ONE, SIXTEEN, SIXTY_FOUR, SLOW_STREAMS, STREAMS, Round, paced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Line(msgspec.Struct, kw_only=True):
    """One line of the table. Times are microseconds of CPU or milliseconds added to what direct takes."""

    row: str
    cpu_us: float
    cpu_ratio: float
    per_second_1: float
    per_second_16: float
    per_second_64: float
    rate: int
    rate_cpu_us: float
    added_p50_ms: float
    added_p99_ms: float
    added_first_byte_ms: float
    chunk_us: float
    rss_mb: float
    requests: int
    failed_slices: int


COLUMNS: Final = {
    "CPU us/request": "cpu_us",
    "ratio": "cpu_ratio",
    "req/s 1": "per_second_1",
    "16": "per_second_16",
    "64 clients": "per_second_64",
    "at req/s": "rate",
    "CPU us": "rate_cpu_us",
    "added p50 ms": "added_p50_ms",
    "p99": "added_p99_ms",
    "stream: first byte +ms": "added_first_byte_ms",
    "CPU us/chunk": "chunk_us",
    "RSS MB": "rss_mb",
    "requests checked": "requests",
    "failed slices": "failed_slices",
}


def reference(names: Sequence[str]) -> str:
    """Return the row that ratios are formed with."""
    return next((name for name in ("gateway", "naive", *names) if name in names), DIRECT)


def line(row: Row, rounds: Sequence[Round], against: str) -> Line:
    """Sum up one row."""
    name, at = row.name, paced(row.launch.rate).name

    def over(figure: Callable[[dict[str, Observation], dict[str, Observation]], float], other: str = DIRECT) -> float:
        return median(figure(observed[name], observed[other]) for observed in rounds)

    every = [seen for observed in rounds for seen in observed[name].values()]
    return Line(
        row=name,
        cpu_us=over(lambda own, _: own[SIXTY_FOUR.name].cpu_us),
        cpu_ratio=over(lambda own, other: own[SIXTY_FOUR.name].cpu_us / (other[SIXTY_FOUR.name].cpu_us or 1), against),
        per_second_1=over(lambda own, _: own[ONE.name].per_second),
        per_second_16=over(lambda own, _: own[SIXTEEN.name].per_second),
        per_second_64=over(lambda own, _: own[SIXTY_FOUR.name].per_second),
        rate=row.launch.rate,
        rate_cpu_us=over(lambda own, _: own[at].cpu_us),
        added_p50_ms=over(lambda own, direct: own[at].p50_ms - direct[at].p50_ms),
        added_p99_ms=over(lambda own, direct: own[at].p99_ms - direct[at].p99_ms),
        added_first_byte_ms=over(
            lambda own, direct: own[SLOW_STREAMS.name].first_byte_ms - direct[SLOW_STREAMS.name].first_byte_ms
        ),
        chunk_us=over(lambda own, _: own[STREAMS.name].cpu_us / STREAMS.pace.chunks),
        rss_mb=list(rounds[-1][name].values())[-1].rss_mb,
        requests=sum(seen.requests for seen in every),
        failed_slices=sum(bool(seen.failures) for seen in every),
    )


def failures(rounds: Sequence[Round]) -> list[str]:
    """Return every check that did not hold."""
    return [
        f"round {number}, {row}, {load}: {failure}"
        for number, observed in enumerate(rounds, 1)
        for row, loads in observed.items()
        for load, seen in loads.items()
        for failure in seen.failures
    ]


def elsewhere(rounds: Sequence[Round]) -> tuple[float, float]:
    """Return the median and the largest share of the machine that other programs took during a slice."""
    shares = [seen.elsewhere for observed in rounds for loads in observed.values() for seen in loads.values()]
    return median(shares), max(shares)


def _cell(line: Line, field: str) -> str:
    value = getattr(line, field)
    if line.row == DIRECT and not value and field != "failed_slices":
        return ""
    if isinstance(value, int):
        return f"{value}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def markdown(lines: Sequence[Line]) -> str:
    """Return the table."""
    cells = [["", *COLUMNS]]
    cells += [[found.row, *(_cell(found, field) for field in COLUMNS.values())] for found in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def written(row: Sequence[str]) -> str:
        padded = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return f"| {' | '.join([row[0].ljust(widths[0]), *padded])} |"

    rule = f"| {'-' * widths[0]} | {' | '.join('-' * (width - 1) + ':' for width in widths[1:])} |"
    return "\n".join([written(cells[0]), rule, *map(written, cells[1:])])
