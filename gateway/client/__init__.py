"""Client of the gateway for applications: runs, steps and events, and headers that link requests to them.

    with run("answer a ticket"):
        with step("retrieve", type="tool") as s:
            s.output = retrieve()

Runs, steps and events are sent in the background. Nothing here waits for the gateway, raises because of it, or imports
the libraries of the server.
"""

import time
from collections.abc import Mapping
from typing import Any

from gateway.client import context
from gateway.client.calls import headers, httpx_async_hook, httpx_async_hook_for, httpx_hook, httpx_hook_for
from gateway.client.delivery import configure, dropped, flush, this_process
from gateway.client.runs import Run, Step
from gateway.client.scopes import LONGEST_ID, time_of
from gateway.client.settings import Metadata
from gateway.client.values import encoded, exception_json, text
from gateway.ids import NIL

__all__ = [
    "Metadata",
    "Run",
    "Step",
    "configure",
    "current_run",
    "current_step",
    "dropped",
    "event",
    "flush",
    "headers",
    "httpx_async_hook",
    "httpx_async_hook_for",
    "httpx_hook",
    "httpx_hook_for",
    "run",
    "step",
]

run = Run
step = Step

_RUN_EVENTS = frozenset({"run:start", "run:update"})


def current_run() -> Run | None:
    """Return the current run."""
    here = context.current()
    return None if here is None else here.run


def current_step() -> Step | None:
    """Return the current step, the innermost one."""
    here = context.current()
    return None if here is None else here.step


def event(type: str, data: Mapping[str, Any] | None = None, *, error: object = None) -> None:
    """Send an event in the current run and step.

    Raises ValueError for the event types of runs, which `run` and `Run.update` send.
    """
    if type in _RUN_EVENTS:
        raise ValueError(f"{type} is no event of its own; use run(...) and its update(...)")
    try:
        here = context.current()
        fields: dict[str, Any] = {
            "type": text(type)[:LONGEST_ID] or "event",
            "run_id": NIL if here is None else here.run.id,
            "step_id": NIL if here is None or here.step is None else here.step.id,
            "time": time_of(time.time_ns()),
        }
        if data is not None:
            fields["data"] = encoded(data)
        if error is not None:
            fields["error"] = encoded(exception_json(error) if isinstance(error, BaseException) else error)
        this_process().put(fields)
    except Exception:
        this_process().warn_once("event", "an event of type %r could not be queued", type, exc_info=True)
