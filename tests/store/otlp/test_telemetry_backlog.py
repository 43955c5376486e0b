"""Log records and metrics as batches: in order, within their budgets, and past damaged lines."""

import pytest

from gateway.config.model import Capture
from gateway.store.otlp.telemetry_backlog import TelemetryBacklog
from gateway.tracing.ingest.otlp.protocol import LOGS, METRICS
from tests.support.exported import exchange, journal_in
from tests.support.store import journal as journal_of

FULL = Capture(otlp="full")
MANY = (512, 1 << 20, FULL)


def record(number, **more):
    """Return a line with a log record."""
    return {"t": "log", "log_id": str(number), "body": str(number), "received_ns": 1} | more


def bodies(batch):
    """Return the texts of a batch."""
    return [each.item.body.string_value for each in batch.spans]


def test_batches_are_in_order_and_within_their_budgets(tmp_path):
    """By number and by bytes; at least one record is in each, however large."""
    journal_of(tmp_path, [record(number, body="x" * 1000 + str(number)) for number in range(4)])
    backlog = TelemetryBacklog(tmp_path, LOGS)
    got = []
    for limits in ((2, 1 << 20), (512, 10), (512, 10)):
        batch = backlog.batch(*limits, FULL)
        got.append([text[-1] for text in bodies(batch)])
        backlog.settle(batch.position)
    assert got == [["0", "1"], ["2"], ["3"]]
    assert (bodies(backlog.batch(*MANY)), backlog.given_up(), backlog.open, backlog.ready) == ([], 0, 0, False)


def test_a_damaged_line_is_counted_and_passed_over(tmp_path):
    """Of a record that cannot be built; a torn one is no record at all."""
    path = journal_of(tmp_path, [record(1), record(2, trace_id="zz"), record(3)])
    with path.open("ab") as file:
        file.write(b'{"t":"log","log_id":\n{"t":"log",')
    batch = TelemetryBacklog(tmp_path, LOGS).batch(*MANY)
    assert (bodies(batch), batch.damaged) == (["1", "3"], 3)
    (cursor,) = batch.position.cursors.values()
    assert cursor.done


def test_other_lines_are_not_its_own(tmp_path):
    """Spans, events, and the other signal."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    for signal in (LOGS, METRICS):
        batch = TelemetryBacklog(tmp_path, signal).batch(*MANY)
        assert (batch.spans, batch.damaged) == ([], 0)


@pytest.mark.parametrize(("most", "lost"), [(1 << 30, 0), (400, 2), (0, 4)])
def test_the_oldest_journals_are_given_up(tmp_path, most, lost):
    """If more bytes wait than the limit; the records in them are counted."""
    for worker in (1, 2):
        journal_of(tmp_path, [record(f"{worker}{each}", body="x" * 100) for each in range(2)], f"w0-{worker}")
    backlog = TelemetryBacklog(tmp_path, LOGS)
    assert len(backlog.batch(*MANY).spans) == 4
    assert backlog.drop_oldest(most, FULL) == lost
    assert len(backlog.batch(*MANY).spans) == 4 - lost


def test_the_repr_names_the_signal(tmp_path):
    """And no folder's content."""
    assert repr(TelemetryBacklog(tmp_path, LOGS)) == "<TelemetryBacklog logs waiting: 0>"
