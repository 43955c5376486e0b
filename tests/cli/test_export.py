"""`gateway export --otlp`: history reaches a collector at least once, oldest first, whatever happens on the way."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from gateway.cli.main import main
from gateway.config.model import Capture
from gateway.store.otlp.backfill import ExportError, Job, Summary, backfill
from gateway.store.otlp.exporter import sender_by
from tests.support.collector import free_port
from tests.support.exported import exchange as written
from tests.support.exported import journal_in, line
from tests.support.otlp_receiver import Answer, Receiver, attributes_of
from tests.support.store import START_NS, exchange, header, journal, sealed, span

NOW = START_NS + 10**15


class Said:
    """Records progress and messages."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.done: list[tuple[int, int]] = []

    def update(self, done: int, total: int) -> None:
        self.done.append((done, total))

    def message(self, text: str) -> None:
        self.texts.append(text)


class Export:
    """Exports a data folder to a receiver; its waits are noted, not slept."""

    def __init__(self, data: Path, receiver: Receiver) -> None:
        self.data = data
        self.url = f"http://127.0.0.1:{receiver.port}"
        self.said = Said()
        self.waits: list[float] = []

    def __call__(self, sleep: Callable[[float], None] | None = None, **options: Any) -> Summary:
        job = Job(data=self.data, **{"endpoint": self.url, **options})
        sender = sender_by("http/protobuf", job.endpoint)
        try:
            return backfill(job, sender, self.said, {}, now_ns=NOW, sleep=sleep or self.waits.append)
        finally:
            sender.close()

    def cursor(self) -> dict[str, Any]:
        """Return the only cursor."""
        (path,) = (self.data / "export").glob("*.json")
        return json.loads(path.read_bytes())


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(name="export")
def _export(tmp_path: Path, receiver: Receiver) -> Export:
    return Export(tmp_path / "data", receiver)


def many(count: int, *, length: int = 10) -> list[dict[str, Any]]:
    """Return the lines of so many spans, a millisecond apart."""
    text = [{"role": "user", "parts": [{"type": "text", "content": "x" * length}]}]
    return [
        header(),
        *(
            span("span", "CLIENT", f"{n:016x}", name=f"n{n}", input_messages=text) | {"start_ns": START_NS + n * 10**6}
            for n in range(count)
        ),
    ]


def named(*numbers: range) -> list[str]:
    """Return the names of spans of `many`."""
    return [f"n{n}" for each in numbers for n in each]


# what is sent


def test_a_whole_store_arrives_and_is_counted(export, receiver):
    """Sealed and live spans arrive; summary and progress have their number."""
    lines = many(6)
    sealed(export.data, lines[:4])
    journal(export.data, [lines[0], *lines[4:]])
    summary = export()
    assert (summary.sent, summary.finished, summary.dropped, summary.resumed) == (6, True, {}, False)
    assert receiver.names == named(range(6))
    assert export.said.done[-1] == (6, 6)


@pytest.mark.integration
def test_the_oldest_come_first_in_bounded_batches(export, receiver):
    """Spans are sent in order, and no request is larger than a collector accepts."""
    sealed(export.data, many(1500, length=1500))
    export(capture=Capture(otlp="full"))
    assert receiver.names == named(range(1500))
    assert max(len(batch) for batch in receiver.batches) <= 512
    assert max(request.ByteSize() for _, request in receiver.requests) < 1_600_000
    assert len(receiver.batches) > 1


@pytest.mark.integration
def test_a_time_a_condition_and_a_vocabulary_choose(export, receiver):
    """--since, --until and --where filter spans; --vocabulary sets attribute names."""
    sealed(export.data, many(10))
    export(
        since="2023-11-14T22:13:20.003Z", until="2023-11-14T22:13:20.008+00:00", where="name <> 'n5'",
        vocabulary="openinference",
    )  # fmt: skip
    assert receiver.names == ["n3", "n4", "n6", "n7"]
    assert attributes_of(receiver.batches[0][0])["llm.input_messages.0.message.content"] == "x" * 10


@pytest.mark.integration
@pytest.mark.parametrize("mode", ["full", "truncated", "metadata", "off"])
def test_content_is_sent_in_each_mode(export, receiver, mode):
    """Each capture mode applies to exported content."""
    text = [{"role": "user", "parts": [{"type": "text", "content": "x" * 5000}]}]
    sealed(export.data, [header(), *exchange(1, input_messages=text, input_tokens=7, method="POST")])
    export(capture=Capture(otlp=mode), where="kind = 'CLIENT'")
    said = attributes_of(receiver.batches[0][0])
    content = said.get("gen_ai.input.messages")
    assert {"full": 5000, "truncated": 100}.get(mode, 0) <= len(content or "") <= {"full": 6000}.get(mode, 2000)
    assert content is None or json.loads(content)[0]["role"] == "user"
    assert (content is None) == (mode in {"metadata", "off"})
    assert ("gen_ai.usage.input_tokens" in said) == (mode != "off")
    assert said["http.request.method"] == "POST"


# what a collector says


@pytest.mark.integration
def test_a_busy_collector_is_given_the_time_it_asks_for(export, receiver):
    """429 and 503 with Retry-After are waited out, as long as they say, and nothing is sent twice or lost."""
    sealed(export.data, many(700))
    answers = iter([Answer(429, "7"), Answer(503, "3"), Answer(), Answer(503)])
    receiver.script = lambda _: next(answers, Answer())
    summary = export()
    assert receiver.names == named(range(700))
    assert summary.retries == 3
    assert sum(export.waits[:7]) == 7
    assert sum(export.waits[7:10]) == 3
    assert any("takes no spans (HTTP 429)" in text for text in export.said.texts) or summary.retries


@pytest.mark.integration
def test_a_batch_that_is_too_large_is_sent_in_pieces(export, receiver):
    """A collector that accepts at most a hundred spans per request gets all of them."""
    sealed(export.data, many(600))
    receiver.script = lambda spans: Answer(413 if len(spans) > 100 else 200)
    summary = export()
    assert receiver.names == named(range(600))
    assert (summary.sent, summary.dropped) == (600, {})


@pytest.mark.integration
def test_a_span_that_is_always_rejected_is_counted_and_skipped(export, receiver):
    """It is sent alone and without content; then it is counted as rejected, and the others arrive."""
    sealed(export.data, many(20))
    receiver.script = lambda spans: Answer(400 if any(each.name == "n13" for each in spans) else 200)
    summary = export()
    assert receiver.names == named(range(13), range(14, 20))
    assert (summary.sent, summary.dropped, summary.finished) == (19, {"refused": 1}, True)
    assert export.cursor()["dropped"] == {"refused": 1}


@pytest.mark.integration
def test_partial_success_is_counted(export, receiver):
    """Spans that a collector rejects in a partial success are neither sent again nor counted as sent."""
    sealed(export.data, many(10))
    receiver.script = lambda _: Answer(rejected=3)
    summary = export()
    assert (summary.sent, summary.dropped) == (7, {"rejected": 3})
    assert len(receiver.batches) == 1


@pytest.mark.integration
def test_a_collector_that_hangs_is_asked_again(export, receiver, monkeypatch):
    """A request without an answer ends by the standard timeout, and the same spans are sent again."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3")
    sealed(export.data, many(5))
    answers = iter([Answer(hang=True)])
    receiver.script = lambda _: next(answers, Answer())
    summary = export()
    assert receiver.names == named(range(5))
    assert summary.retries == 1


@pytest.mark.integration
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_address_or_key_fails_at_once(export, receiver, status):
    """A wrong URL fails without retries, and the message names the remedy."""
    sealed(export.data, many(5))
    receiver.script = lambda _: Answer(status)
    with pytest.raises(ExportError, match=f"HTTP {status}.*OTEL_EXPORTER_OTLP_HEADERS"):
        export()
    assert len(receiver.requests) == 1


@pytest.mark.integration
def test_patience_ends_and_the_cursor_stays(export, receiver):
    """A collector that stays down is given up; when it is back, the same command sends the rest."""
    sealed(export.data, many(700))
    answers = iter([Answer()])
    receiver.script = lambda _: next(answers, Answer(503))
    with pytest.raises(ExportError, match=r"takes no spans for .* s: HTTP 503"):
        export(patience=60.0)
    assert 20 < sum(export.waits) <= 60  # each wait is a fifth longer or shorter
    receiver.script = lambda _: Answer()
    assert export(patience=60.0).resumed
    assert receiver.names == named(range(700))


# where it goes on


@pytest.mark.integration
def test_the_same_command_sends_new_spans(export, receiver):
    """After all is sent there is nothing to send, until there are new spans; --restart sends all again."""
    sealed(export.data, many(10))
    assert export().sent == 10
    assert export().sent == 0
    later = span("span", "CLIENT", "f" * 16, name="later") | {"start_ns": NOW - 1}
    journal(export.data, [header(), later])
    assert export().sent == 0  # it began before the end of the one before, which had all up to then
    journal(export.data, [header(), later | {"start_ns": NOW}], "w0-2")
    job = Job(data=export.data, endpoint=export.url)
    sender = sender_by("http/protobuf", job.endpoint)
    summary = backfill(job, sender, export.said, {}, now_ns=NOW + 1)
    sender.close()
    assert (summary.sent, summary.resumed) == (1, True)
    assert receiver.names == [*named(range(10)), "later"]
    assert export(restart=True).sent == 11


@pytest.mark.integration
def test_each_query_has_its_own_cursor(export, receiver):
    """Another condition, vocabulary or content is another export; a cursor has its query in words."""
    sealed(export.data, many(4))
    for options in (
        {},
        {"where": "true"},
        {"vocabulary": "llm"},
        {"capture": Capture(otlp="full")},
        {"since": "2020-01-01"},
    ):
        assert export(**options).sent == 4
    paths = list((export.data / "export").glob("*.json"))
    assert len(paths) == 5
    assert {json.loads(path.read_bytes())["query"]["vocabulary"] for path in paths} == {"gen-ai", "llm"}
    assert len(receiver.names) == 20


@pytest.mark.integration
def test_spans_in_flight_are_waited_for(export, receiver):
    """While a request is in flight, what began after it is left for the next run, or it would never be sent."""
    export.data.mkdir()
    held = journal_in(export.data, began=START_NS)
    written(held, 0)
    held.start(5, line(5, "SERVER", "root 5", duration_ns=None))
    written(held, 7)
    assert export().sent == 2
    assert any("in flight" in text for text in export.said.texts)
    held.end(5, line(5, "SERVER", "root 5"))
    assert export().sent == 3
    held.close()
    assert Counter(receiver.names) == Counter(["chat 0", "root 0", "chat 7", "root 7", "root 5"])


@pytest.mark.integration
def test_an_interruption_ends_it_in_order(export, receiver):
    """Ctrl-C ends it with a summary; the same command resumes after the accepted spans."""
    sealed(export.data, many(1200))
    answers = iter([Answer(), Answer(503)])
    receiver.script = lambda _: next(answers, Answer())

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    summary = export(sleep=interrupt)
    assert (summary.finished, summary.sent) == (False, 512)
    assert export().sent == 1200 - 512
    assert receiver.names == named(range(1200))


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_export_resumes(tmp_path, receiver, number):
    """Killed during a batch, it sends that batch again, none before it, and all after it."""
    data = tmp_path / "data"
    sealed(data, many(2000))
    taken = iter([Answer(), Answer(), Answer(hang=True)])
    receiver.script = lambda _: next(taken, Answer())
    command = [
        sys.executable,
        "-m",
        "gateway",
        "export",
        "--otlp",
        f"http://127.0.0.1:{receiver.port}",
        "--data",
        str(data),
        "--json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while len(receiver.requests) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert json.loads(out)["finished"] is False
    assert receiver.names == named(range(1024))
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sent"] == 2000 - 1024
    assert b"going on from 2023-11-14T22:13:21.023000Z" in done.stderr
    assert receiver.names == named(range(2000))


@pytest.mark.integration
def test_two_at_once_are_refused(export, receiver):
    """The same export does not run twice at the same time."""
    sealed(export.data, many(3))
    refused = []

    def again(_: list[Any]) -> Answer:
        with pytest.raises(ExportError, match="running already") as caught:
            export()
        refused.append(caught)
        return Answer()

    receiver.script = again
    assert export().sent == 3
    assert len(refused) == 1


@pytest.mark.integration
def test_a_cursor_that_cannot_be_read_is_an_error(export):
    """A damaged cursor is no reason to send all again unasked."""
    sealed(export.data, many(3))
    export()
    (path,) = (export.data / "export").glob("*.json")
    path.write_text("{")
    with pytest.raises(ExportError, match=f"{path}.*--restart"):
        export()
    assert export(restart=True).sent == 3


@pytest.mark.integration
def test_no_secret_of_a_url_is_kept_or_shown(export, receiver):
    """A password in the URL is sent, and is in no file, message or summary."""
    sealed(export.data, many(3))
    summary = export(endpoint=f"http://user:planted@127.0.0.1:{receiver.port}/v1/traces?key=planted")
    assert summary.sent == 3
    told = msgspec.json.encode(summary).decode() + "".join(export.said.texts)
    files = list((export.data / "export").iterdir())
    assert "planted" not in told + "".join(path.name + path.read_text() for path in files)


# the command


def run(*arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run `gateway export`; return the exit code, stdout and stderr."""
    result = CliRunner().invoke(main, ["export", *arguments], env=environ)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.integration
def test_the_standard_variables_hold(tmp_path, receiver):
    """The environment has the URL if the command line has none; its headers and compression always apply."""
    data = str(tmp_path / "data")
    sealed(Path(data), many(6))
    more = {"OTEL_EXPORTER_OTLP_HEADERS": "x-team=a%20b", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    url = f"http://127.0.0.1:{receiver.port}"
    code, out, said = run("--otlp", "--data", data, "--json", OTEL_EXPORTER_OTLP_ENDPOINT=url, **more)
    assert code == 0, said
    assert json.loads(out)["sent"] == 6
    code, out, said = run(
        "--otlp", url, "--data", data, "--where", "true", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", **more
    )
    assert code == 0, said
    assert out.startswith(f"6 spans sent to {url} in ")
    assert "6 spans to send" in said
    assert {(headers["x-team"], headers["content-encoding"]) for headers in receiver.headers} == {("a b", "gzip")}


@pytest.mark.integration
def test_the_conventions_switch_holds_unless_the_command_line_says_more(tmp_path, receiver):
    """NO_CONTENT keeps messages here; --content is asked for by name."""
    data = tmp_path / "data"
    sealed(data, many(1))
    url = f"http://127.0.0.1:{receiver.port}"
    off = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "NO_CONTENT"}
    run("--otlp", url, "--data", str(data), **off)
    run("--otlp", url, "--data", str(data), "--content", "truncated", **off)
    assert ["gen_ai.input.messages" in attributes_of(batch[0]) for batch in receiver.batches] == [False, True]


@pytest.mark.integration
def test_exit_codes(tmp_path, receiver):
    """3 for rejected spans, 1 for a failed export, 2 for an invalid command line."""
    data = tmp_path / "data"
    sealed(data, many(2))
    to = ["--otlp", f"http://127.0.0.1:{receiver.port}", "--data", str(data)]
    receiver.script = lambda _: Answer(rejected=1)
    code, out, _ = run(*to)
    assert (code, "; not taken: 1 rejected" in out) == (3, True)
    for arguments, wanted, words in (
        (["--otlp", f"http://127.0.0.1:{free_port()}", "--data", str(data), "--patience", "0"], 1, "ConnectionError"),
        (["--otlp", "--data", str(data)], 1, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (["--otlp", "localhost:4318", "--data", str(data)], 1, "http://HOST:PORT"),
        ([*to, "--since", "yesterday"], 1, "is not a time"),
        ([*to, "--since", "1d", "--until", "2d"], 1, "no time between"),
        ([*to, "--where", "nonsense = 1"], 1, "--where"),
        (["--otlp", to[1], "--data", str(tmp_path / "none")], 1, "there is no data folder"),
        ([], 2, "give one of --otlp [URL], --jsonl FILE and --parquet FILE"),
        ([*to, "--jsonl", "x"], 2, "give one of --otlp"),
        ([*to, "--vocabulary", "x"], 2, "openinference"),
    ):
        code, _, said = run(*arguments)
        assert (code, words in said) == (wanted, True), said


@pytest.mark.integration
def test_a_terminal_gets_a_bar(tmp_path, receiver):
    """A bar has the count, and log messages are written above it."""
    data = tmp_path / "data"
    sealed(data, many(600))
    answers = iter([Answer(503, "1")])
    receiver.script = lambda _: next(answers, Answer())
    leader, follower = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "gateway",
        "export",
        "--otlp",
        f"http://127.0.0.1:{receiver.port}",
        "--data",
        str(data),
    ]
    environ = os.environ | {"COLUMNS": "100", "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, env=environ)
    os.close(follower)
    shown = b""
    while True:
        try:
            data_read = os.read(leader, 65536)
        except OSError:
            break
        if not data_read:
            break
        shown += data_read
    process.communicate()
    os.close(leader)
    assert process.returncode == 0
    assert b"600/600" in shown
    assert b"takes no spans (HTTP 503)" in shown
