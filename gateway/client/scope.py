"""Where the code that runs now stands: in which run, in which step. It follows `await`, tasks, and copied contexts."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.client.settings import Metadata

if TYPE_CHECKING:
    from gateway.client.runs import Run, Step


class Place(Struct, eq=False, kw_only=True):
    """One run, or one step of it. Trace and span ids are hex digits. `outer`: where it began; `left`: it has ended."""

    run: Run
    step: Step | None
    outer: Place | None
    trace_id: str
    span_id: str
    metadata: Metadata
    left: bool = False


_here: ContextVar[Place | None] = ContextVar("gateway.client", default=None)


def here() -> Place | None:
    """Return where this code stands."""
    return _here.get()


def enter(place: Place) -> Place | None:
    """Stand there; return where it stood before."""
    before = _here.get()
    _here.set(place)
    return before


def leave(place: Place, before: Place | None) -> None:
    """Stand where it stood before, or where that began if it has ended since.

    Nothing where this code stands elsewhere by now, as in another task.
    """
    if _here.get() is place:
        while before is not None and before.left:
            before = before.outer
        _here.set(before)
