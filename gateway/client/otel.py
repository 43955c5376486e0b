"""The application's own OpenTelemetry, where it has one: then a run and a step are spans in its trace.

Nothing of it is imported here: where nobody else has, there is no span to be below of.
"""

import sys
from contextlib import suppress
from typing import Any

from msgspec import Struct


class Bridge(Struct, eq=False):
    """A span of the application's that stands for a run or a step. `span_id` is None where nothing records it."""

    trace_id: str
    span_id: str | None
    span: Any
    tokens: list[Any]

    def enter(self) -> None:
        """Make it the current span."""
        with suppress(Exception):
            trace, context = sys.modules["opentelemetry.trace"], sys.modules["opentelemetry.context"]
            self.tokens.append(context.attach(trace.set_span_in_context(self.span)))

    def leave(self) -> None:
        """Make the one before it the current span."""
        with suppress(Exception):
            sys.modules["opentelemetry.context"].detach(self.tokens.pop())

    def end(self, error: BaseException | None) -> None:
        """End it."""
        with suppress(Exception):
            if error is not None:
                self.span.record_exception(error)
                self.span.set_status(sys.modules["opentelemetry.trace"].StatusCode.ERROR)
            self.span.end()


def start(name: str, attributes: dict[str, str], trace_id: str | None = None) -> Bridge | None:
    """Start a span below the current one; None where there is none, or where it is of another trace than `trace_id`."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    try:
        above = trace.get_current_span().get_span_context()
        if not above.is_valid or trace_id not in {None, format(above.trace_id, "032x")}:
            return None
        span = trace.get_tracer("gateway.client").start_span(name, attributes=attributes)
        own = span.get_span_context()
        recorded = span.is_recording() and own.span_id != above.span_id
        return Bridge(format(above.trace_id, "032x"), format(own.span_id, "016x") if recorded else None, span, [])
    except Exception:
        return None
