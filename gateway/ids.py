"""Trace and span ids of runs and steps, derived from their own ids. Pure.

Workers, recorder and client derive ids by one rule, and so build the same tree whichever event arrives first: a run's
trace id is the 128 bits of its UUID, a span id the last 64 of the run's or the step's. An id that is no UUID is hashed.
"""

import hashlib
import re

# With hyphens, or as hex digits alone.
_UUID = re.compile(r"[0-9a-f]{8}(-?)(?:[0-9a-f]{4}\1){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_TRACE_ID = re.compile(r"[0-9a-f]{32}", re.ASCII | re.IGNORECASE)
_SPAN_ID = re.compile(r"[0-9a-f]{16}", re.ASCII | re.IGNORECASE)

NIL = "00000000-0000-0000-0000-000000000000"
"""The id that clients send for one that they do not know. Source: chronicle's client."""


def known(own_id: str | None) -> str | None:
    """Return an id of a run or a step as it is stored: a UUID in its canonical form; None for an empty or nil id."""
    if not own_id:
        return None
    if _UUID.fullmatch(own_id) is None:
        return own_id
    bits = _bits(own_id)
    canonical = f"{bits[:8]}-{bits[8:12]}-{bits[12:16]}-{bits[16:20]}-{bits[20:]}"
    return None if canonical == NIL else canonical


def trace_id(run_id: str) -> str:
    """Return the trace id of a run, 32 hex digits.

    >>> trace_id("0190a1b2-0000-7000-8000-00000000000F")
    '0190a1b200007000800000000000000f'
    """
    if _UUID.fullmatch(run_id) and any(digit not in "0-" for digit in run_id):
        return _bits(run_id)
    return _hashed("run", run_id)[:32]


def run_span_id(run_id: str) -> str:
    """Return the span id of a run, 16 hex digits."""
    return _last_half(run_id) or _hashed("run", run_id)[32:48]


def step_span_id(step_id: str, run_id: str | None = None) -> str:
    """Return the span id of a step, 16 hex digits. Only an id that is no UUID may recur in another run.

    >>> step_span_id("0190a1b2-0000-7000-8000-00000000000F")
    '800000000000000f'
    """
    if run_id is None or known(step_id) != known(run_id):
        last_half = _last_half(step_id)
        if last_half is not None:
            return last_half
    return _hashed("step", known(run_id) or "", step_id)[32:48]


def valid_trace_id(given: str | None) -> str | None:
    """Return a client's trace id in lower case, None if it is not valid."""
    return _valid(_TRACE_ID, given)


def valid_span_id(given: str | None) -> str | None:
    """Return a client's span id in lower case, None if it is not valid."""
    return _valid(_SPAN_ID, given)


def _valid(form: re.Pattern[str], given: str | None) -> str | None:
    return given.lower() if given and form.fullmatch(given) and given.strip("0") else None


def _bits(uuid: str) -> str:
    return uuid.replace("-", "").lower()


def _last_half(own_id: str) -> str | None:
    """Return the last 64 bits of a UUID; None for another id, or if all are zero, which no span id may be."""
    last = _bits(own_id)[16:] if _UUID.fullmatch(own_id) else ""
    return last if last.strip("0") else None


def _hashed(*parts: str) -> str:
    """Return 64 hex digits that are the same for the same id, everywhere."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()
