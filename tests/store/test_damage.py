"""Journals that a crash or a bad disk left, sealers that were killed: what is damaged is counted, the rest is kept."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from gateway.store.ledger import read_ledger
from gateway.store.segments import seal
from tests.support.examples import examples
from tests.support.store import encoded, exchange, header, journal, over, span

TEXT = [{"role": "user", "parts": [{"type": "text", "content": 'hé "quoted" \\ \n 😀'}]}]
LINES = [
    header(),
    *exchange(1, input_messages=TEXT, stream=True, finish_reasons=["stop"]),
    *exchange(2, attributes={"k": ["é", 1.5, None, {"z": -3}]}),
    *exchange(3, ended=False),
    {"t": "dropped", "kind": "SERVER", "span_id": f"{4:016x}", "reason": "disk_full"},
]
RAW = encoded(LINES)
CUT = RAW.splitlines(keepends=True)


def _at(line: int, wrong: bytes, right: bytes) -> bytes:
    """Return the journal with a byte or more of one line changed."""
    assert right in CUT[line]
    return b"".join([*CUT[:line], CUT[line].replace(right, wrong, 1), *CUT[line + 1 :]])


# What happened to the file: the bytes left, damaged lines, exchanges stored, interrupted, dropped, attempts.
DAMAGES = {
    "nothing": (RAW, 0, 2, 1, 1, 2),
    "no file's worth": (b"", 0, 0, 0, 0, 0),
    "only its first line": (CUT[0], 0, 0, 0, 0, 0),
    "a torn last line": (RAW + CUT[3][:-20], 1, 2, 1, 1, 2),
    "a last line without its newline": (RAW + CUT[3][:-1].replace(b"1", b"9"), 0, 3, 1, 1, 2),
    "a torn first line": (CUT[0][: len(CUT[0]) // 2], 1, 0, 0, 0, 0),
    "an end that is torn in the middle": (b"".join([*CUT[:3], CUT[3][:30], *CUT[4:]]), 1, 1, 2, 1, 2),
    "a wrong byte in the text of a start": (_at(1, b"\xff1/chat", b"/v1/chat"), 1, 2, 1, 1, 2),
    "a wrong byte in the text of a start without an end": (_at(7, b"\xff1/chat", b"/v1/chat"), 1, 2, 0, 1, 2),
    "a wrong byte in the text of an attempt": (_at(2, b"\xfftop", b"stop"), 1, 2, 1, 1, 1),
    "a wrong name of a line's kind": (_at(3, b'"spam"', b'"span"'), 1, 1, 2, 1, 2),
    "a wrong name of a span's kind": (_at(3, b'"SERVEP"', b'"SERVER"'), 1, 1, 2, 1, 2),
    "a wrong key": (_at(2, b"span_if", b"span_id"), 1, 2, 1, 1, 1),
    "two lines without the newline between": (_at(2, b"} ", b"}\n"), 1, 1, 2, 1, 1),
    "a line of garbage": (b"".join([*CUT[:2], b"what is this\n", *CUT[2:]]), 1, 2, 1, 1, 2),
    "values that are no lines": (RAW + b'1\n[]\n"x"\nnull\n{}\n\n', 6, 2, 1, 1, 2),
    "a block of zeros at the end": (RAW + bytes(4096), 1, 2, 1, 1, 2),
    "a block of zeros at the beginning": (bytes(4096) + b"\n" + RAW, 1, 2, 1, 1, 2),
    "nothing but zeros": (bytes(4096), 1, 0, 0, 0, 0),
    "nothing but garbage": (b"\x1f\x8b\x08\x00garbage", 1, 0, 0, 0, 0),
    "a line that is nested too deeply": (RAW + b'{"t":"span","x":' + b"[" * 9000 + b"]" * 9000 + b"}\n", 1, 2, 1, 1, 2),
    "a line longer than any": (RAW + b"x" * (65 * 1024 * 1024) + b"\n" + encoded(exchange(5)), 1, 3, 1, 1, 3),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_counted_and_nothing_else_is_lost(tmp_path, damage):
    """Every whole line is in the segment, and the ledger says how many lines were not."""
    raw, damaged, stored, interrupted, dropped, attempts = DAMAGES[damage]
    path = journal(tmp_path, raw)
    ledger = seal(path, tmp_path / "w0-1.duckdb")
    counts = (ledger.damaged_lines, ledger.stored, ledger.interrupted, ledger.dropped, ledger.attempts)
    assert counts == (damaged, stored, interrupted, dropped, attempts)
    _, rows = over("SELECT kind, outcome = 'interrupted', count(*) FROM spans GROUP BY ALL", [tmp_path / "w0-1.duckdb"])
    expected = {("SERVER", False): stored, ("SERVER", True): interrupted, ("CLIENT", False): attempts}
    assert {(kind, bool(cut)): count for kind, cut, count in rows} == {k: n for k, n in expected.items() if n}
    assert path.read_bytes() == raw
    assert sorted(each.name for each in tmp_path.iterdir()) == ["live", "w0-1.duckdb"]


@pytest.mark.integration
@pytest.mark.parametrize(
    "damage", sorted(DAMAGES.keys() - {"a line longer than any", "a line that is nested too deeply"})
)
def test_a_damaged_journal_can_be_read_while_it_is_live(tmp_path, damage):
    """The views pass over what is damaged, and count what is not."""
    raw, _, stored, interrupted, dropped, attempts = DAMAGES[damage]
    path = journal(tmp_path, raw)
    _, rows = over("SELECT count(*) FILTER (kind = 'SERVER'), count(*) FROM spans", journals=[path])
    assert rows == [(stored, stored + attempts)]
    _, rows = over("SELECT accepted, stored, in_flight, dropped, attempts FROM ledger", journals=[path])
    accepted = stored + interrupted + dropped
    assert rows == (
        [(accepted, stored, interrupted, dropped, attempts)] if accepted or damage.startswith("only") else []
    )


@pytest.mark.integration
@examples(40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_one_wrong_byte_loses_one_line_at_most(tmp_path, position, flip):
    """Whatever byte is wrong: the segment has the rows that the ledger counts, and those of all other lines."""
    raw = bytearray(RAW)
    raw[position] ^= flip
    path = journal(tmp_path, bytes(raw))
    ledger = seal(path, tmp_path / "w0-1.duckdb")
    assert ledger.accepted == ledger.stored + ledger.interrupted + ledger.dropped
    assert ledger.damaged_lines <= 2  # a newline made of nothing makes two
    _, rows = over("SELECT kind, span_id FROM spans", [tmp_path / "w0-1.duckdb"])
    assert sum(kind == "SERVER" for kind, _ in rows) == ledger.stored + ledger.interrupted
    assert sum(kind == "CLIENT" for kind, _ in rows) == ledger.attempts
    hit = bytes(raw[:position]).count(b"\n")
    touched = {hit, hit + 1} if RAW[position] == ord("\n") else {hit}
    left = {line["span_id"] for n, line in enumerate(LINES) if line["t"] == "span" and n not in touched}
    assert left <= {span_id for _, span_id in rows}


def _stored(segment: Path) -> list[tuple]:
    with duckdb.connect(str(segment), read_only=True) as con:
        return con.execute("FROM spans ORDER BY ALL").fetchall() + con.execute("FROM ledger").fetchall()


def _half_written(folder: Path) -> None:
    (folder / "w0-1.tmp").write_bytes(b"half a segment")
    (folder / "w0-1.tmp.wal").write_bytes(b"half a log")
    (folder / "w0-1.tmp.jsonl").write_bytes(b'{"t":"span","kind":"SERVER","span_id":"ghost"}\n')
    (folder / "w0-1.tmp.spill").mkdir()
    (folder / "w0-1.tmp.spill" / "block").write_bytes(b"what did not fit")


def _another_database(folder: Path) -> None:
    with duckdb.connect(str(folder / "w0-1.tmp")) as con:
        con.execute("CREATE TABLE spans AS SELECT 'ghost' AS span_id")


def _sealed_before(folder: Path) -> None:
    seal(folder.parent / "live" / "w0-1.jsonl", folder / "w0-1.duckdb")


@pytest.mark.parametrize("leave", [_half_written, _another_database, _sealed_before])
def test_sealing_again_gives_the_same(tmp_path, leave: Callable[[Path], None]):
    """After whatever a killed sealer left, the segment is what it would have been, and nothing is left beside it."""
    path = journal(tmp_path, RAW)
    folder = tmp_path / "segments"
    folder.mkdir()
    seal(path, tmp_path / "clean.duckdb")
    leave(folder)
    seal(path, folder / "w0-1.duckdb")
    assert _stored(folder / "w0-1.duckdb") == _stored(tmp_path / "clean.duckdb")
    assert [each.name for each in folder.iterdir()] == ["w0-1.duckdb"]


# For a line it reads it forks a child that seals, and for the next says how that ended: till then the pid is its own.
SEALER = """
import os, sys
from pathlib import Path
from gateway.store.segments import seal
while sys.stdin.readline():
    pid = os.fork()
    if not pid:
        seal(Path(sys.argv[1]), Path(sys.argv[2]))
        os._exit(0)
    print(pid, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.mark.integration
def test_a_sealer_killed_at_any_moment_loses_nothing(tmp_path):
    """Killed again and again, it leaves a segment that is whole or none, and the next one does all of the work."""
    rng = random.Random(11)
    lines = [line for number in range(300) for line in exchange(number, input_messages=TEXT)]
    path = journal(tmp_path, [header(), *lines, *exchange(999, ended=False)])
    folder = tmp_path / "segments"
    folder.mkdir()
    segment = folder / "w0-1.duckdb"
    codes = []
    with subprocess.Popen(
        [sys.executable, "-c", SEALER, path, segment], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sealer:
        assert sealer.stdin is not None
        assert sealer.stdout is not None
        for _ in range(30):
            sealer.stdin.write("\n")
            sealer.stdin.flush()
            pid = int(sealer.stdout.readline())
            time.sleep(rng.uniform(0, 0.12))
            os.kill(pid, signal.SIGKILL)
            sealer.stdin.write("\n")
            sealer.stdin.flush()
            codes.append(int(sealer.stdout.readline()))
            if segment.exists():
                assert len(_stored(segment)) == 602
                segment.unlink()
        sealer.stdin.close()
    assert -signal.SIGKILL in codes
    seal(path, segment)
    assert len(_stored(segment)) == 602
    assert [each.name for each in folder.iterdir()] == ["w0-1.duckdb"]


def test_the_ledger_of_a_journal_that_is_still_written_can_be_read(tmp_path):
    """Half a last line is no more than one damaged line until it is whole."""
    path = journal(tmp_path, RAW)
    line = encoded([span("span", "CLIENT", "ff")])
    with path.open("ab") as file:
        file.write(line[:40])
        file.flush()
        assert read_ledger(path)[0].damaged_lines == 1
        file.write(line[40:])
    assert read_ledger(path)[0].damaged_lines == 0
    assert read_ledger(path)[0].attempts == 3
