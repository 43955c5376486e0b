"""The meter: counts what is appended, in steps, whoever asks, and goes on after a failure."""

import asyncio
import logging
import threading

import pytest

from gateway.store.metrics import instruments as i
from gateway.store.metrics.meter import Meter
from gateway.store.metrics.observed import Sources
from tests.support.metrics_pages import line, total

HEALTH = {"sealed": 0, "failures": 0, "otlp": None}


@pytest.fixture(name="meter")
def _meter(tmp_path):
    (tmp_path / "live").mkdir()
    meter = Meter(tmp_path, Sources(tmp_path, lambda: HEALTH, tuple), {"service.name": "gateway"})
    yield meter
    meter.close()


def append(tmp_path, *lines):
    """Append to a journal that no worker holds."""
    with (tmp_path / "live" / "w0-1.jsonl").open("ab") as file:
        file.writelines(lines)


def counted(meter, instrument):
    """Return the sum of a metric's series, or of a histogram's values."""
    return meter.read(
        lambda families: next(
            sum(count.value for count in each.counts.values()) for each in families if each.instrument == instrument
        )
    )


def test_a_read_counts_all_that_is_written_before_it(tmp_path, meter):
    """No thread needs to run; exchanges in flight are those that started and did not end."""
    append(tmp_path, line("start"), line("exchange"))
    assert counted(meter, i.EXCHANGES_STARTED) == 1
    assert counted(meter, i.EXCHANGES_ACTIVE) == 0


async def test_a_page_has_the_type_that_was_negotiated_and_the_resource(tmp_path, meter):
    """Both formats; the resource is `target_info`."""
    append(tmp_path, line("start"), line("exchange"))
    plain, plain_type = await meter.page("")
    opened, opened_type = await meter.page("application/openmetrics-text")
    assert plain_type.startswith("text/plain")
    assert opened_type.startswith("application/openmetrics-text")
    assert total(plain.decode(), "gateway_exchange_ended_total", gateway_outcome="ok") == 1
    assert total(plain.decode(), "target_info", service_name="gateway") == 1
    assert opened.endswith(b"# EOF\n")
    assert not plain.endswith(b"# EOF\n")


def test_a_failure_is_logged_once_and_the_counting_goes_on(tmp_path, meter, caplog):
    """A folder in the place of a journal cannot be read; once it is gone, what was written is counted."""
    caplog.set_level(logging.ERROR, "gateway.metrics")
    (tmp_path / "live" / "w1-1.jsonl").mkdir()
    assert not meter.step()
    assert not meter.step()
    assert len(caplog.records) == 1
    (tmp_path / "live" / "w1-1.jsonl").rmdir()
    append(tmp_path, line("start"), line("exchange"))
    assert counted(meter, i.EXCHANGES_STARTED) == 1


async def test_it_counts_until_it_is_stopped(tmp_path, meter):
    """Without anyone asking for a page."""
    stop = asyncio.Event()
    running = asyncio.create_task(meter.run(stop))
    append(tmp_path, line("start"), line("exchange"))
    stop.set()
    await running
    assert meter.step() is False
    assert "0 bytes unread" in repr(meter)


def test_reads_of_two_threads_do_not_mix(tmp_path, meter):
    """One is made while no other counts, so a page is of one moment: started = ended + active."""
    append(tmp_path, *(each for n in range(200) for each in (line("start", span_id=f"{n:016x}"),)))
    wrong = []

    def read():
        for n in range(20):
            append(tmp_path, line("exchange", span_id=f"{n:016x}"))
            sums = meter.read(
                lambda families: {
                    each.instrument: sum(count.value for count in each.counts.values()) for each in families
                }
            )
            if sums[i.EXCHANGES_STARTED] != sums[i.EXCHANGES_ENDED] + sums[i.EXCHANGES_ACTIVE]:
                wrong.append(sums)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong
