"""Progress of a long command on standard error: a bar on a terminal, else a line every few seconds."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.store.otlp.backfill import Progress

_EVERY_SECONDS = 5.0


class Lines:
    """A line every few seconds with the rate since the last one."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._written_at, self._written = clock(), 0

    def update(self, done: int, total: int) -> None:
        """Write a line if it is time for one."""
        now = self._clock()
        if now - self._written_at < _EVERY_SECONDS:
            return
        rate = (done - self._written) / (now - self._written_at)
        self.message(f"{done:,} of {total:,} spans, {rate:,.0f} a second")
        self._written_at, self._written = now, done

    def message(self, text: str) -> None:
        """Write another message."""
        self._write(f"{text}\n")


@contextmanager
def display() -> Iterator[Progress]:
    """Show progress and log messages on standard error."""
    if sys.stderr.isatty():
        with _bar() as progress:
            yield progress
        return

    def write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    progress = Lines(write)
    with _logged(progress):
        yield progress


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich import progress as bars
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False)
    rate = bars.TextColumn("{task.fields[rate]}")
    columns = (bars.BarColumn(), bars.MofNCompleteColumn(), rate, bars.TimeRemainingColumn())
    began = time.monotonic()
    with bars.Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None, rate="")

        class Bar:
            """Progress as a bar."""

            def update(self, done: int, total: int) -> None:
                speed = done / max(time.monotonic() - began, 0.001)
                bar.update(task, completed=done, total=max(done, total), rate=f"{speed:,.0f} a second")

            def message(self, text: str) -> None:
                console.print(text)

        progress = Bar()
        with _logged(progress):
            yield progress


@contextmanager
def _logged(progress: Progress) -> Iterator[None]:
    """Write log messages through the progress display."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            progress.message(record.getMessage())

    handler, logger = Handler(logging.WARNING), logging.getLogger("gateway")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
