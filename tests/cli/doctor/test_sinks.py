"""Every file that a gateway may write is read, and exports are collected without the collector's own key."""

from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from gateway.cli.doctor.collector import Collector
from gateway.cli.doctor.judge import Judge
from gateway.cli.doctor.process import Response
from gateway.cli.doctor.requests import Expected
from gateway.cli.doctor.requests import Request as Sent
from gateway.cli.doctor.sinks import Collected, collect_exports, read_files
from tests.cli.doctor.examples import FORMS, loopback, planted_canaries

PLACES = {
    "gateway-data/live/w0-1.jsonl": "journals",
    "gateway-data/segments/w0-1.duckdb": "segments",
    "gateway-data/spans.duckdb": "data folder",
    "gateway-data/otlp/cursor.json": "data folder",
    "home/run/recorder.state": "data folder",
}
SENT = Sent(id="p001", row="an answer", case="chat", data=b"", expected=Expected(attempts=0, exchange=False))


@pytest.mark.parametrize("form", FORMS)
def test_a_canary_in_any_file_is_a_leak_with_its_sink_and_place(tmp_path, form):
    """In each folder that the gateway may write to, in each encoding: request, sink and file are named."""
    canaries, key, _ = planted_canaries()
    for name in PLACES:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"first\n" + FORMS[form](f"it is {key} then") + b"\n")
    (tmp_path / "gateway.toml").write_text(key)
    collected = Collected()
    read_files(tmp_path, tmp_path / "gateway-data", tmp_path / "gateway.toml", collected)
    judged = Judge(canaries, loopback(), [SENT]).judge(collected, {"p001": Response(status=200)}, {}, {})
    leaks = {(leak.sink, leak.count): leak for leak in judged.leaks}
    assert sorted(leaks) == [("data folder", 3), ("journals", 1), ("segments", 1)]
    for leak in judged.leaks:
        assert (leak.path, leak.kind, leak.form) == ("an answer: chat", "a key", form)
        assert PLACES[leak.place.partition(",")[0]] == leak.sink
        assert leak.change
        assert key not in repr(leak)
    assert leaks["journals", 1].place == "gateway-data/live/w0-1.jsonl, line 2"


def test_the_name_of_a_file_is_looked_at(tmp_path):
    """A file that is named after a key is a leak, whatever is in it."""
    canaries, key, _ = planted_canaries()
    (tmp_path / quote(key, safe="")).touch()
    collected = Collected()
    read_files(tmp_path, tmp_path / "gateway-data", tmp_path / "gateway.toml", collected)
    judged = Judge(canaries, loopback(), [SENT]).judge(collected, {"p001": Response(status=200)}, {}, {})
    assert [(leak.sink, leak.place) for leak in judged.leaks] == [("data folder", "the name of a file")]


def test_folders_without_files_are_reported_as_missing(tmp_path):
    """Journals, segments and data folder must each have a file that is not empty."""
    (tmp_path / "empty").touch()
    collected = Collected()
    read_files(tmp_path, tmp_path, tmp_path / "gateway.toml", collected)
    assert [sink for sink, _ in collected.missing] == ["journals", "segments", "data folder"]


def test_exports_are_collected_without_the_collectors_key():
    """Its header x-key is meant for it; every other header and the body are searched, by signal."""

    def post(url: str) -> None:
        for signal in ("traces", "metrics"):
            headers = {"x-key": "its own", "x-other": f"other {signal}"}
            with urlopen(Request(f"{url}/v1/{signal}", data=b"\xff broken", headers=headers)) as response:
                assert response.status == 200

    with Collector() as collector:
        post(collector.url)
    collected = Collected()
    collect_exports(collector, collected)
    data = {piece.sink: piece.data for piece in collected.pieces}
    assert b"its own" not in b"".join(data.values())
    assert b"other traces" in data["OTLP spans"]
    assert b"other metrics" in data["OTLP metrics"]
    assert collected.missing == [("OTLP spans", "1 requests could not be read")]
