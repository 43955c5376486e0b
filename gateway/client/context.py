"""The current run and step: in a context variable, and as spans of the application's own OpenTelemetry.

The context variable follows `await`, tasks and copied contexts. OpenTelemetry is used only if the application has
imported it, and never imported here: without it no span of the application can be the parent.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway.client.settings import Metadata

if TYPE_CHECKING:
    from gateway.client.runs import Run, Step


class Position(Struct, eq=False, kw_only=True):
    """One run, or one step of it.

    Attributes:
        step: None for the run itself.
        outer: The position in which it began.
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        ended: Whether it has ended.

    """

    run: Run
    step: Step | None
    outer: Position | None
    trace_id: str
    span_id: str
    metadata: Metadata
    ended: bool = False


_current: ContextVar[Position | None] = ContextVar("gateway.client", default=None)


def current() -> Position | None:
    """Return the position of the calling code."""
    return _current.get()


def enter(position: Position) -> Position | None:
    """Make a position the current one; return the one before it."""
    before = _current.get()
    _current.set(position)
    return before


def leave(position: Position, before: Position | None) -> None:
    """Restore the position before, or the nearest one around it that has not ended.

    Does nothing if `position` is not the current one, as in another task.
    """
    if _current.get() is position:
        while before is not None and before.ended:
            before = before.outer
        _current.set(before)


class Bridge(Struct, eq=False):
    """An application's span for a run or a step. `span_id` is None if no SDK records the span."""

    trace_id: str
    span_id: str | None
    span: Any
    tokens: list[Any]

    def enter(self) -> None:
        """Make it the current span."""
        with suppress(Exception):
            trace, otel_context = sys.modules["opentelemetry.trace"], sys.modules["opentelemetry.context"]
            self.tokens.append(otel_context.attach(trace.set_span_in_context(self.span)))

    def leave(self) -> None:
        """Restore the span before it."""
        with suppress(Exception):
            sys.modules["opentelemetry.context"].detach(self.tokens.pop())

    def end(self, error: BaseException | None) -> None:
        """End the span, with an error or without."""
        with suppress(Exception):
            if error is not None:
                self.span.record_exception(error)
                self.span.set_status(sys.modules["opentelemetry.trace"].StatusCode.ERROR)
            self.span.end()


def start_span(name: str, attributes: dict[str, str], trace_id: str | None = None) -> Bridge | None:
    """Start a child of the application's current span; return None without one, or for one of another trace."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    try:
        parent = trace.get_current_span().get_span_context()
        if not parent.is_valid or trace_id not in {None, format(parent.trace_id, "032x")}:
            return None
        span = trace.get_tracer("gateway.client").start_span(name, attributes=attributes)
        own = span.get_span_context()
        recorded = span.is_recording() and own.span_id != parent.span_id
        return Bridge(format(parent.trace_id, "032x"), format(own.span_id, "016x") if recorded else None, span, [])
    except Exception:
        return None
