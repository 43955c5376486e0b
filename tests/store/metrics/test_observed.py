"""Gauges and counters that are looked up for each scrape: files of the store, the recorder, the export, the workers."""

import pytest

from gateway.store.metrics import instruments as i
from gateway.store.metrics.instruments import WorkerGauges
from gateway.store.metrics.observed import Sources
from tests.support.store import encoded, exchange, header, journal, sealed

OTLP = {"exported": 7, "retries": 1, "lag_bytes": 9, "dropped": {"refused": 3, "new": 1}}
HEALTH = {"sealed": 2, "failures": 4, "otlp": None}


def observed(data, health=HEALTH, workers=()):
    """Return the values by the name of the metric and its labels."""
    families = Sources(data, lambda: health, lambda: workers).families(unread=5)
    return {(each.instrument.name, *labels): count.value for each in families for labels, count in each.counts.items()}


def test_files_of_the_store_are_counted_and_measured(tmp_path):
    """Segments and journals, each with its bytes; what no metric counts yet is given by the caller."""
    lines = [header(), *exchange(1)]
    segment = sealed(tmp_path, lines)
    journal(tmp_path, lines)
    values = observed(tmp_path)
    assert values[i.SEGMENTS.name,] == values[i.JOURNALS.name,] == 1
    assert values[i.STORE_BYTES.name,] == segment.stat().st_size
    assert values[i.JOURNAL_BYTES.name,] == len(encoded(lines))
    assert values[i.UNREAD_BYTES.name,] == 5
    assert values[i.FREE_BYTES.name,] > 0


def test_a_store_that_cannot_be_read_has_no_size(tmp_path):
    """All other metrics are there."""
    (tmp_path / "segments").write_text("no folder")
    values = observed(tmp_path)
    assert (i.SEGMENTS.name,) not in values
    assert values[i.FAILURES.name,] == 4


def test_the_recorder_is_shown_and_without_a_collector_no_export(tmp_path):
    """Its own counters."""
    values = observed(tmp_path)
    assert (values[i.SEALED.name,], values[i.FAILURES.name,]) == (2, 4)
    assert not [name for name, *_ in values if name.startswith("gateway.otlp")]


@pytest.mark.parametrize("reason", i.EXPORT_DROPS)
def test_every_reason_for_a_lost_span_has_a_series_from_the_start(tmp_path, reason):
    """At 0 until there is one."""
    values = observed(tmp_path, HEALTH | {"otlp": OTLP})
    assert values[i.EXPORT_DROPPED.name, reason] == (3 if reason == "refused" else 0)


def test_the_export_is_shown(tmp_path):
    """Counted spans and requests, bytes that wait, and a reason that is not known beforehand."""
    values = observed(tmp_path, HEALTH | {"otlp": OTLP})
    assert values[i.EXPORTED.name,] == 7
    assert values[i.EXPORT_RETRIES.name,] == 1
    assert values[i.EXPORT_WAITING.name,] == 9
    assert values[i.EXPORT_DROPPED.name, "new"] == 1


def test_connections_are_those_of_the_workers_that_run(tmp_path):
    """Their sum, idle ones apart; a worker that ended has none. What is read during a change is not below 0."""
    workers = [WorkerGauges(7, 3, 1), WorkerGauges(8, 2, 2), WorkerGauges(0, 9, 9)]
    values = observed(tmp_path, workers=workers)
    assert values[i.WORKERS.name,] == 2
    assert (values[i.CONNECTIONS.name, "idle"], values[i.CONNECTIONS.name, "used"]) == (3, 2)
    torn = observed(tmp_path, workers=[WorkerGauges(7, 1, 2)])
    assert torn[i.CONNECTIONS.name, "used"] == 0
