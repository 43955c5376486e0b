"""The report for people fits 80 columns and names every problem; as JSON it has the whole matrix."""

import io
import json

import pytest

from gateway.cli.doctor.judge import Leak, Unchecked, Verdict
from gateway.cli.doctor.report import ALL, build, write
from gateway.cli.doctor.requests import Expected, Request
from gateway.cli.doctor.sinks import SINKS
from tests.cli.doctor.examples import loopback

REQUESTS = [
    Request(id=f"p{number}", row=row, case="chat", data=b"", expected=Expected())
    for number, row in enumerate(("answer", "answer", "error 401"))
]


def leak(**more: object) -> Leak:
    """Return a leak of the row `answer`."""
    values = {
        "kind": "a cookie", "shown": "sk-...abcd", "path": "answer: chat", "row": "answer", "sink": "SQL",
        "place": "row 1: " + "spans, " * 12, "form": "plain", "count": 2, "change": "set " + "$.capture.store " * 9,
    }  # fmt: skip
    return Leak(**values | more)


def report(leaks=(), unchecked=(), notes=(), **more: object):
    """Return a report of three requests."""
    verdict = Verdict(leaks=tuple(leaks), unchecked=tuple(unchecked), repeated=0)
    config = loopback(**{"exports_spans": True, "exports_logs": True, "exports_metrics": True} | more)
    return build(verdict, REQUESTS, config, notes, 1.234)


def text_of(made) -> str:
    """Return the report for people."""
    out = io.StringIO()
    write(made, as_json=False, out=out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("leaks", "unchecked", "result", "code"),
    [
        ((), (), "clean", 0),
        ((leak(),), (), "leaks", 1),
        ((), (Unchecked(why="gone", sink="log"),), "not checked", 3),
        ((leak(),), (Unchecked(why="gone", sink="log"),), "leaks", 1),
    ],
)
def test_the_result_and_the_exit_code(leaks, unchecked, result, code):
    """A leak outweighs anything that was not checked."""
    made = report(leaks, unchecked)
    assert (made.result, made.code, made.seconds) == (result, code, 1.2)


def test_cells_of_the_matrix():
    """A leak counts for its row and sink, an unread sink for all rows, an untried row for all sinks."""
    made = report(
        [leak()], [Unchecked(why="gone", sink="log"), Unchecked(why="500", row="error 401", path="error 401: chat")],
        exports_metrics=False,
    )  # fmt: skip
    cells = {line.path: line.sinks for line in made.lines}
    assert list(cells) == ["answer", "error 401", ALL]
    assert [line.requests for line in made.lines] == [2, 1, 3]
    assert (cells["answer"]["SQL"], cells["answer"]["log"], cells["answer"]["pages"]) == ("leak", "not checked", "ok")
    assert cells["error 401"]["SQL"] == "not checked"
    assert cells["answer"]["OTLP metrics"] == "off"
    assert list(cells["answer"]) == list(SINKS)


def test_the_text_names_everything_within_80_columns():
    """Rows, leaks with their remedies, what was not checked, notes, and the conclusion in the last line."""
    text = text_of(report([leak()], [Unchecked(why="w " * 60, row="error 401", path="error 401: chat")], ["n " * 60]))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "answer (2)     LEAK in SQL\n" in text
    assert "error 401 (1)  not checked\n" in text
    assert "leak 1: a cookie sk-...abcd\n  path    answer: chat\n  sink    SQL: row 1" in text
    assert "(2 times), plain" in " ".join(text.split())
    assert "\nnot checked:\n  error 401: chat: w" in text
    assert "\nnote: n n" in text
    assert text.splitlines()[-1] == "1 leaks (3 requests, 13 sinks, 1.2 s)"


def test_only_the_first_leaks_are_written_for_people():
    """JSON has all of them."""
    made = report([leak(kind=f"kind {number}") for number in range(42)])
    assert "and 2 more leaks; --json has them all" in text_of(made)
    out = io.StringIO()
    write(made, as_json=True, out=out)
    assert len(json.loads(out.getvalue())["leaks"]) == 42


def test_a_sink_that_is_off_is_named():
    """The rest of the row is ok."""
    assert "answer (2)     ok; off in OTLP spans\n" in text_of(report(exports_spans=False))
