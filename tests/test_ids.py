"""Trace and span ids of runs and steps: the same in every process, and valid for any id."""

import re
import subprocess
import sys
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.ids import NIL, known, run_span_id, step_span_id, trace_id, valid_span_id, valid_trace_id

RUN = "0190a1b2-c3d4-7e5f-8a6b-0123456789ab"
STEP = "0190a1b2-c3d4-7e5f-9a6b-fedcba987654"

_ids = st.uuids(allow_nil=True).map(str) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


def test_a_uuid_gives_its_own_bits():
    """What stands in the trace can be read off the id, and the id off the trace."""
    assert trace_id(RUN) == UUID(RUN).hex
    assert run_span_id(RUN) == "8a6b0123456789ab"
    assert step_span_id(STEP, RUN) == "9a6bfedcba987654"


@pytest.mark.parametrize("written", [RUN.upper(), RUN.replace("-", ""), RUN.replace("-", "").upper()])
def test_how_a_uuid_is_written_does_not_matter(written):
    """In capitals or without its dashes it is the same run."""
    assert known(written) == RUN
    assert trace_id(written) == trace_id(RUN)
    assert run_span_id(written) == run_span_id(RUN)
    assert step_span_id(written) == step_span_id(RUN)
    assert step_span_id("fetch", written) == step_span_id("fetch", RUN)


@pytest.mark.parametrize("nothing", [None, "", NIL, NIL.replace("-", "")])
def test_what_clients_send_for_an_unknown_id_is_none(nothing):
    """The seed's client sends a UUID of zeros."""
    assert known(nothing) is None


@given(run=_ids, step=_ids)
@example(run=NIL, step=NIL)
@example(run="0190a1b2-c3d4-7e5f-0000-000000000000", step="0190a1b2-c3d4-7e5f-0000-000000000000")
@example(run=RUN, step=RUN)
@example(run="1", step="1")
def test_all_ids_are_valid_and_a_step_is_not_its_run(run, step):
    """Whatever the ids are, OpenTelemetry takes what is made of them, and a step can be told from its run."""
    assert re.fullmatch(r"[0-9a-f]{32}", trace_id(run))
    assert trace_id(run).strip("0")
    for span_id in (run_span_id(run), step_span_id(step, run)):
        assert re.fullmatch(r"[0-9a-f]{16}", span_id)
        assert span_id.strip("0")
    if known(run) == known(step):
        assert run_span_id(run) != step_span_id(step, run)


def test_a_name_stands_for_another_step_in_another_run():
    """Ids that are no UUIDs may be as short as one likes."""
    assert step_span_id("fetch", "a") != step_span_id("fetch", "b") != step_span_id("rank", "b")
    assert trace_id("a") != trace_id("b")


@pytest.mark.parametrize("given", [None, "", "trace-123", "0" * 32, "g" * 32, "a" * 31, "a" * 32 + "\n", "٣" * 32])
def test_only_what_is_a_trace_id_is_taken_for_one(given):
    """What a client says its trace is may be anything."""
    assert valid_trace_id(given) is None
    assert valid_span_id(None if given is None else given[:16]) is None or given.startswith("a")


def test_given_ids_are_taken():
    """In lower case, as they are stored."""
    assert valid_trace_id("AB" * 16) == "ab" * 16
    assert valid_span_id("AB" * 8) == "ab" * 8


def test_it_is_light():
    """Whoever imports the rule gets nothing else of the gateway, and no other library."""
    script = "import sys; before = set(sys.modules); import gateway.ids; print(*sorted(set(sys.modules) - before))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in said if name.startswith("gateway")] == ["gateway", "gateway.ids"]
    assert not {"msgspec", "aiohttp", "duckdb", "opentelemetry"} & set(said)
