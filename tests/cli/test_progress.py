"""Progress of a long command: lines in a log, a bar on a terminal."""

import io
import logging

import pytest

from gateway.cli.progress import Lines, display


def test_progress_is_a_line_every_few_seconds_without_a_terminal():
    """A log gets the count, the total and the rate, no more often than that."""
    times = iter([0.0, 1.0, 6.0, 7.0, 12.0])
    written: list[str] = []
    lines = Lines(written.append, lambda: next(times))
    for done in (10, 1200, 1300, 4200):
        lines.update(done, 9000)
    assert written == ["1,200 of 9,000 spans, 200 a second\n", "4,200 of 9,000 spans, 500 a second\n"]


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_messages_and_warnings_are_written_among_the_progress(monkeypatch, stream):
    """The log is shown while progress is, and no longer."""
    err = stream()
    monkeypatch.setattr("sys.stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with display() as progress:
        progress.update(3, 600)
        progress.message("a message")
        logging.getLogger("gateway.x").warning("a warning of %d", 503)
    before = err.getvalue()
    assert "a message\n" in before
    assert "a warning of 503\n" in before
    assert ("3/600" in before) is (stream is Terminal)
    assert not logging.getLogger("gateway").handlers
