"""The file of open runs: appended to, rewritten, and read again after damage and failed writes."""

from pathlib import Path

import pytest

from gateway.store.otlp import open_runs_file
from gateway.store.otlp.open_runs import OpenRuns, RunState
from gateway.store.otlp.open_runs_file import OpenRunsFile
from tests.support.store import no_file_may_grow


def runs(*states: RunState) -> OpenRuns:
    """Return open runs."""
    return OpenRuns({each.key: each for each in states})


def state(number: int, status: str = "active") -> RunState:
    """Return the state of a run."""
    return RunState(run_id=f"r{number}", status=status)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "otlp" / "open.jsonl"


def read(path: Path) -> list[RunState]:
    """Return the states that a new recorder reads, in order."""
    return list(OpenRunsFile(path).read().values())


def test_states_are_read_again(path):
    """By the key of the run or step, in a folder that is created for the owner only."""
    step = RunState(run_id="r1", step_id="s1", values={"input": {"q": "é"}}, begun=(1, 0, "e"))
    OpenRunsFile(path).write([state(1), step], runs())
    assert OpenRunsFile(path).read() == {state(1).key: state(1), step.key: step}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_last_line_of_a_run_counts(path):
    """And it moves to the end, as the latest change."""
    file = OpenRunsFile(path)
    file.write([state(1), state(2)], runs())
    file.write([state(1, "waiting")], runs())
    assert read(path) == [state(2), state(1, "waiting")]


def test_an_absent_file_has_no_runs(path):
    """A first start of the recorder is no error."""
    assert read(path) == []


def test_a_file_that_cannot_be_read_is_logged(path, caplog):
    """The recorder starts without the open runs."""
    path.mkdir(parents=True)
    assert read(path) == []
    assert "open runs lose their starts" in caplog.text


@pytest.mark.parametrize("damage", [b"\x00\xff", b'{"run_id":', b"[]", b'{"run_id":7}', b""])
def test_damaged_lines_are_skipped(path, damage):
    """The lines around one are read."""
    OpenRunsFile(path).write([state(1)], runs())
    with path.open("ab") as file:
        file.write(damage + b"\n")
    OpenRunsFile(path).write([state(2)], runs())
    assert read(path) == [state(1), state(2)]


def test_a_torn_line_spoils_none_after_it(path):
    """The next write begins on a line of its own."""
    OpenRunsFile(path).write([state(1), state(2)], runs())
    path.write_bytes(path.read_bytes()[:-5])
    OpenRunsFile(path).write([state(3)], runs())
    assert read(path) == [state(1), state(3)]


def test_no_change_writes_nothing(path):
    """Not even the folder."""
    OpenRunsFile(path).write([], runs(state(1)))
    assert not path.parent.exists()


@pytest.mark.parametrize("restarted", [False, True])
def test_the_file_is_rewritten_once_most_lines_are_outdated(path, monkeypatch, restarted):
    """With all runs that are open; lines of before a restart are counted too."""
    monkeypatch.setattr(open_runs_file, "_SLACK", 3)
    file, known = OpenRunsFile(path), runs(state(1), state(2))
    for _ in range(7):  # 2 * 2 + 3 lines
        file.write([state(1, "waiting")], known)
    assert path.read_bytes().count(b"waiting") == 7
    if restarted:
        file = OpenRunsFile(path)
        file.read()
    file.write([state(1, "waiting")], known)
    assert path.read_bytes().count(b"\n") == 2
    assert read(path) == [state(1), state(2)]
    file.write([state(2, "waiting")], known)
    assert read(path) == [state(1), state(2, "waiting")]
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_after_a_failed_write_the_file_is_rewritten(path):
    """The failed one may have left part of a line, and of its changes."""
    file = OpenRunsFile(path)
    file.write([state(1)], runs())
    with no_file_may_grow(), pytest.raises(OSError, match="File too large"):
        file.write([state(2)], runs())
    file.write([state(3)], runs(state(1), state(2), state(3)))
    assert path.read_bytes().count(b"\n") == 3
    assert read(path) == [state(1), state(2), state(3)]


def test_a_failed_rewrite_leaves_the_file(path, monkeypatch):
    """The new file replaces the old one only as a whole."""
    monkeypatch.setattr(open_runs_file, "_SLACK", -10)
    OpenRunsFile(path).write([state(1)], runs(state(1)))
    with no_file_may_grow(), pytest.raises(OSError, match="File too large"):
        OpenRunsFile(path).write([state(2)], runs(state(1), state(2)))
    assert read(path) == [state(1)]
