"""For applications that use the gateway: say what they do, and have each request stand below the step that made it.

    with run("answer a ticket"):
        with step("retrieve", type="tool") as s:
            s.output = retrieve()

Runs, steps and events are sent in the background. Nothing here waits for the gateway, raises because of it, or imports
what the gateway itself runs on.
"""

import time
from collections.abc import Mapping
from typing import Any

from gateway.client import scope
from gateway.client.calls import headers, httpx_async_hook, httpx_async_hook_for, httpx_hook, httpx_hook_for
from gateway.client.delivery import configure, dropped, flush, this_process
from gateway.client.raised import told
from gateway.client.runs import Run, Step
from gateway.client.scopes import LONGEST_ID, time_of
from gateway.client.settings import Metadata
from gateway.client.values import encoded, text
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

_OF_RUNS = frozenset({"run:start", "run:update"})


def current_run() -> Run | None:
    """Return the run in which this is called."""
    here = scope.here()
    return None if here is None else here.run


def current_step() -> Step | None:
    """Return the innermost step in which this is called."""
    here = scope.here()
    return None if here is None else here.step


def event(type: str, data: Mapping[str, Any] | None = None, *, error: object = None) -> None:
    """Say that something has happened, in the current run and step.

    Raises ValueError for the types by which runs begin and end; `Run.update` sends those.
    """
    if type in _OF_RUNS:
        raise ValueError(f"{type} is no event of its own; use run(...) and its update(...)")
    try:
        here = scope.here()
        said: dict[str, Any] = {
            "type": text(type)[:LONGEST_ID] or "event",
            "run_id": NIL if here is None else here.run.id,
            "step_id": NIL if here is None or here.step is None else here.step.id,
            "time": time_of(time.time_ns()),
        }
        if data is not None:
            said["data"] = encoded(data)
        if error is not None:
            said["error"] = encoded(told(error) if isinstance(error, BaseException) else error)
        this_process().put(said)
    except Exception:
        this_process().say("event", "an event of type %r could not be queued", type, exc_info=True)
