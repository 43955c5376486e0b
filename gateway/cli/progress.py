"""How far a long command is, on standard error: a bar on a terminal, a line every few seconds otherwise."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.store.otlp.backfill import Progress

_EVERY_SECONDS = 5.0


class Lines:
    """A line every few seconds, with the rate since the one before."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._said_at, self._said = clock(), 0

    def update(self, done: int, total: int) -> None:
        """Say so, if it is time to."""
        now = self._clock()
        if now - self._said_at < _EVERY_SECONDS:
            return
        rate = (done - self._said) / (now - self._said_at)
        self.message(f"{done:,} of {total:,} spans, {rate:,.0f} a second")
        self._said_at, self._said = now, done

    def message(self, text: str) -> None:
        """Say something besides."""
        self._write(f"{text}\n")


@contextmanager
def shown() -> Iterator[Progress]:
    """Show progress on standard error, and there what is logged, until the end."""
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
            """The same as a bar."""

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
    """Let what is logged be said there."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            progress.message(record.getMessage())

    handler, logger = Handler(logging.WARNING), logging.getLogger("gateway")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
