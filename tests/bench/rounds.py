"""The loads and their order: every row takes every slice in every round, and rows take turns at going first."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from tests.bench import rows
from tests.bench.harness import DIRECT, Observation, Row, Slice
from tests.bench.traffic import Pace

if TYPE_CHECKING:
    from collections.abc import Sequence

ONE: Final = Slice("1 client", 2, 1)
SIXTEEN: Final = Slice("16 clients", 3, 16)
SIXTY_FOUR: Final = Slice("64 clients", 5, 64)
SLOW_STREAMS: Final = Slice("4 streams", 3, 4, pace=Pace(50, 32, 10))
STREAMS: Final = Slice("64 streams", 4, 64, pace=Pace(50, 100, 10))

Round = dict[str, dict[str, Observation]]
"""What one round gave, by row and slice."""


def paced(rate: int) -> Slice:
    """Return the slice whose latency is compared: a fixed rate, and an upstream that takes 50 ms."""
    return Slice(f"{rate}/s", 6, max(4, rate // 5), rate, Pace(delay_ms=50))


def slices(row: Row, rates: Sequence[int], scale: float) -> list[Slice]:
    """Return a row's slices; direct runs at every rate that some row is compared at."""
    chosen = [ONE, SIXTEEN, SIXTY_FOUR, SLOW_STREAMS, STREAMS]
    chosen += [paced(rate) for rate in (rates if row.name == DIRECT else [row.launch.rate])]
    return [Slice(load.name, load.seconds * scale, load.clients, load.rate, load.pace) for load in chosen]


def warm(row: Row, scale: float) -> None:
    """Load a row as the slices will, so that its code is compiled and its pools are filled."""
    say(f"warming {row.name}")
    seconds = row.launch.warm_seconds * scale
    row.observe(Slice("warm", seconds * 0.7, 64))
    row.observe(Slice("warm streams", seconds * 0.3, 16, pace=Pace(5, 20, 5)))


def run_round(number: int, members: Sequence[Row], scale: float) -> Round:
    """Run one round."""
    rates = sorted({row.launch.rate for row in members if row.name != DIRECT} or {rows.RATE})
    start = number % len(members)
    observed: Round = {}
    for row in [*members[start:], *members[:start]]:
        observed[row.name] = {}
        for load in slices(row, rates, scale):
            seen = observed[row.name][load.name] = row.observe(load)
            say(
                f"round {number + 1}  {row.name:<13} {load.name:<11} {seen.cpu_us:8.0f} us  {seen.per_second:8.0f}/s"
                f"  p50 {seen.p50_ms:7.2f}  p99 {seen.p99_ms:7.2f} ms  {'; '.join(seen.failures)}"
            )
    return observed


def say(line: str) -> None:
    """Tell what is going on, on stderr."""
    print(line, file=sys.stderr, flush=True)
