"""The export of history: the cursor file, its lock, batches that were taken, and errors that name the remedy."""

import fcntl
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.config.model import Capture
from gateway.errors import GatewayError
from gateway.store.otlp import backfill as module
from gateway.store.otlp.backfill import HOPELESS, ExportError, Job, Summary, backfill
from gateway.store.otlp.request import Later, Outgoing, Refused, Reply, Taken
from tests.support.store import START_NS, header, sealed, span

NOW = START_NS + 10**15
URL = "http://collector:4318"


class Collector:
    """A sender with scripted replies; after the last one it takes everything."""

    def __init__(self, *replies: Reply | BaseException) -> None:
        self._replies = list(replies)
        self.batches: list[int] = []

    def send(self, spans: Sequence[Outgoing]) -> Reply:
        """Reply, and count the spans."""
        reply = self._replies.pop(0) if self._replies else Taken()
        if isinstance(reply, BaseException):
            raise reply
        self.batches.append(len(spans))
        return reply

    def close(self) -> None:
        """Nothing is open."""


class Shown:
    """Records progress and messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.updates: list[tuple[int, int]] = []

    def update(self, done: int, total: int) -> None:
        """Record progress."""
        self.updates.append((done, total))

    def message(self, text: str) -> None:
        """Record a message."""
        self.messages.append(text)


@pytest.fixture(name="data")
def _data(tmp_path: Path) -> Path:
    """Return a store of three spans."""
    lines = [span("span", "CLIENT", f"{n:016x}", name=f"n{n}") | {"start_ns": START_NS + n} for n in range(3)]
    sealed(tmp_path, [header(), *lines])
    return tmp_path


def run(
    data: Path,
    *replies: Reply | BaseException,
    sleeps: list[float] | None = None,
    shown: Shown | None = None,
    **job: Any,
) -> Summary:
    """Export the store."""
    sleep = (sleeps if sleeps is not None else []).append
    return backfill(
        Job(data=data, **{"endpoint": URL, **job}), Collector(*replies), shown or Shown(), {}, now_ns=NOW, sleep=sleep
    )


def cursors(data: Path) -> list[Path]:
    """Return the cursor files."""
    return sorted((data / "export").glob("*.json"))


def test_the_cursor_file_has_the_position_and_the_options(data):
    """Only the owner may enter its folder; nothing unfinished is left in it."""
    summary = run(data, where="true")
    (path,) = cursors(data)
    assert summary.cursor == str(path)
    written = json.loads(path.read_text())
    assert written.pop("updated_at").startswith("20")
    assert written == {
        "query": {
            "endpoint": URL,
            "since": None,
            "until": None,
            "where": "true",
            "vocabulary": "gen-ai",
            "content": "truncated",
        },
        "place": {"start_ns": NOW, "span_id": ""},
        "sent": 3,
        "dropped": {},
    }
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(each.suffix for each in path.parent.iterdir()) == [".json", ".lock"]


IDENTITY: dict[str, dict[str, Any]] = {
    "endpoint": {"endpoint": "http://other:4318"},
    "since": {"since": "2000-01-01"},
    "until": {"until": "2100-01-01"},
    "where": {"where": "name <> ''"},
    "vocabulary": {"vocabulary": "llm"},
    "content": {"capture": Capture(otlp="full")},
}


@pytest.mark.integration
@pytest.mark.parametrize("options", IDENTITY.values(), ids=IDENTITY)
def test_another_export_has_a_cursor_of_its_own(data, options):
    """Each option that changes the spans sent, or their receiver."""
    assert run(data).sent == 3
    assert (run(data, **options).sent, len(cursors(data))) == (3, 2)


@pytest.mark.integration
@pytest.mark.parametrize("options", [{"patience": 1.0}, {"timeout": 60.0}], ids=str)
def test_the_same_export_goes_on(data, options):
    """Patience and time limits are no part of its identity."""
    run(data)
    shown = Shown()
    summary = run(data, shown=shown, **options)
    assert (summary.sent, summary.resumed, len(cursors(data))) == (0, True, 1)
    assert "going on from 2023-11-26T12:00:00" in shown.messages[0]


@pytest.mark.integration
def test_restart_sends_all_again(data):
    """From the beginning, in the same cursor file."""
    run(data)
    summary = run(data, restart=True)
    assert (summary.sent, summary.resumed, len(cursors(data))) == (3, False, 1)


@pytest.mark.integration
def test_a_cursor_file_is_named_after_the_collector(data):
    """Its host, and nothing of a user or a key in the URL."""
    run(data, endpoint="http://me:secret@collector:4318/v1/traces?key=secret")
    (path,) = cursors(data)
    assert path.name.startswith("collector-4318-")
    assert "secret" not in path.read_text() + path.name


@pytest.mark.integration
def test_sent_and_dropped_spans_are_counted_over_all_runs(data, monkeypatch):
    """The cursor file sums them up; a summary is of one run."""
    monkeypatch.setattr(module, "_BATCH_SPANS", 1)
    first = run(data, Taken(rejected=1), KeyboardInterrupt())
    second = run(data)
    assert (first.sent, first.dropped, first.finished) == (0, {"rejected": 1}, False)
    assert (second.sent, second.dropped, second.finished) == (2, {}, True)
    (path,) = cursors(data)
    cursor = json.loads(path.read_text())
    assert (cursor["sent"], cursor["dropped"]) == (2, {"rejected": 1})


def test_an_unfinished_export_has_the_last_span_taken(data, monkeypatch):
    """The next run begins after it."""
    monkeypatch.setattr(module, "_BATCH_SPANS", 1)
    run(data, Taken(), Taken(), KeyboardInterrupt())
    (path,) = cursors(data)
    assert json.loads(path.read_text())["place"] == {"start_ns": START_NS + 1, "span_id": f"{1:016x}"}


@pytest.mark.integration
def test_an_interruption_ends_with_a_summary(data):
    """The message names how to go on."""
    shown = Shown()
    summary = run(data, KeyboardInterrupt(), shown=shown)
    assert (summary.sent, summary.finished) == (0, False)
    assert shown.messages[-1] == "interrupted; the same command goes on from here"


@pytest.mark.integration
def test_progress_has_the_total(data):
    """Refused spans are done as well."""
    shown = Shown()
    summary = run(data, *[Refused("bad")] * 3, Taken(), shown=shown)
    assert summary.dropped == {"refused": 1}
    assert "3 spans to send to http://collector:4318" in shown.messages
    assert shown.updates[-1] == (3, 3)
    assert all(total == 3 for _, total in shown.updates)


@pytest.mark.integration
@pytest.mark.parametrize("error", sorted(HOPELESS))
def test_a_wrong_address_or_key_ends_the_export_at_once(data, error):
    """Without a wait; the message names the settings to look at."""
    sleeps: list[float] = []
    with pytest.raises(ExportError, match=rf"takes no spans: {error}; look at its URL.*OTEL_EXPORTER_OTLP_HEADERS"):
        run(data, Later(error), sleeps=sleeps)
    assert sleeps == []


def test_the_wrong_addresses_and_keys_are_known():
    """Their errors over HTTP and gRPC; others may pass."""
    assert {
        "HTTP 401",
        "HTTP 403",
        "HTTP 404",
        "HTTP 405",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
        "UNIMPLEMENTED",
    } == HOPELESS


@pytest.mark.integration
def test_an_error_after_some_spans_is_waited_for(data, monkeypatch):
    """A collector that took spans has the right address; its key may be in renewal."""
    monkeypatch.setattr(module, "_BATCH_SPANS", 1)
    sleeps: list[float] = []
    assert run(data, Taken(), Later("HTTP 401", 3.5), sleeps=sleeps).sent == 3
    assert sleeps == [1.0, 1.0, 1.0, 0.5]


@pytest.mark.integration
def test_patience_ends_the_export(data):
    """Waits without a span taken are added up; the next run goes on."""
    replies = [Later("HTTP 503", 4.0)] * 3
    sleeps: list[float] = []
    with pytest.raises(ExportError, match=r"takes no spans for 8 s: HTTP 503; .*the same command goes on"):
        run(data, *replies, sleeps=sleeps, patience=10.0)
    assert sum(sleeps) == 8
    assert run(data).sent == 3


@pytest.mark.integration
def test_patience_begins_anew_with_each_batch_taken(data, monkeypatch):
    """An export that goes on slowly is not given up."""
    monkeypatch.setattr(module, "_BATCH_SPANS", 1)
    replies = [Later("HTTP 503", 6.0), Taken()] * 3
    assert run(data, *replies, patience=10.0).retries == 3


def test_a_time_span_without_time_is_an_error(data):
    """Before anything is written."""
    with pytest.raises(ExportError, match="no time between --since 2026-01-02 and --until 2026-01-01"):
        run(data, since="2026-01-02", until="2026-01-01")
    assert not (data / "export").exists()


def test_a_time_of_another_form_is_an_error(data):
    """The message has the text."""
    with pytest.raises(GatewayError, match="some time"):
        run(data, since="some time")


@pytest.mark.integration
def test_a_wrong_condition_names_its_option(data):
    """The query's own error follows."""
    with pytest.raises(ExportError, match=r"--where is not a valid condition: .*nonsense"):
        run(data, where="nonsense = 1")


def test_a_missing_data_folder_is_an_error(tmp_path):
    """It is not created."""
    with pytest.raises(ExportError, match=r"no data folder .*absent; name the gateway's with --data"):
        run(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_an_export_folder_that_cannot_be_made_is_an_error(data):
    """The message names the path."""
    (data / "export").write_text("in the way")
    with pytest.raises(ExportError, match=rf"cannot write the position of the export to {data}/export"):
        run(data)


@pytest.mark.integration
def test_a_cursor_that_cannot_be_written_ends_the_export(data):
    """Without it the same spans would be sent again and again; the cursor of before is unchanged."""
    run(data)
    (path,) = cursors(data)
    before = path.read_bytes()
    path.with_suffix(".tmp").mkdir()
    with pytest.raises(ExportError, match="cannot write the position of the export"):
        run(data, restart=True)
    assert path.read_bytes() == before


def test_a_damaged_cursor_is_an_error(data):
    """--restart is the remedy."""
    run(data)
    (path,) = cursors(data)
    for content in (b"{", b"[]", b'{"query":{}}', b"\xff"):
        path.write_bytes(content)
        with pytest.raises(ExportError, match=r"cannot be read .*; --restart begins anew"):
            run(data)
    assert run(data, restart=True).sent == 3


@pytest.mark.integration
def test_a_second_export_at_once_is_an_error(data):
    """The lock is that of one cursor file, and is free after an error."""
    with pytest.raises(ExportError):
        run(data, Later("HTTP 404"))
    (lock,) = (data / "export").glob("*.lock")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ExportError, match="the same export is running already"):
            run(data)
        assert run(data, vocabulary="llm").sent == 3
    assert run(data).sent == 3
