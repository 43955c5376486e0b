"""Runs and steps of an application. Each queues an event when it begins and another when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Unpack
from uuid import UUID

from gateway import ids
from gateway.client import context
from gateway.client.context import Position
from gateway.client.delivery import this_process
from gateway.client.scopes import Scope, time_of
from gateway.client.settings import Metadata, merged
from gateway.client.values import encoded, encoded_object, exception_json, text, texts

# Metadata that is a column of a run; all other metadata goes into its info, some of it under another name.
_COLUMNS = ("application", "environment")
_NAMES = {"user": "user_id", "session": "session_id"}


class Run(Scope):
    """A run: `with run("answer a ticket") as r`, `async with`, or `@run("answer a ticket")`.

    Args:
        name: Its name.
        id: The id of a run that has begun before, to continue it.
        description: Text.
        input: Its input, any value.
        tags: Texts.
        info: Further information, a JSON object.
        status: The first status, by default "started".
        capture: As a decorator: record the arguments as the input, and the return value as the output.
        metadata: application, environment, session, user and the rest of `Metadata`.

    Attributes:
        status: The last status unless it ends with an error, to be set by the application; by default "finished".

    """

    def __init__(
        self,
        name: str = "",
        *,
        id: str | UUID | None = None,
        description: str | None = None,
        input: object = None,
        tags: Iterable[str] = (),
        info: Mapping[str, Any] | None = None,
        status: str | None = None,
        capture: bool = False,
        **metadata: Unpack[Metadata],
    ) -> None:
        given = {"id": id, "description": description, "input": input, "tags": tags, "info": info}
        super().__init__(name, id, {**given, "status": status, "capture": capture}, metadata)
        self.status: str | None = None

    def update(
        self, *, status: str | None = None, output: object = None, info: Mapping[str, Any] | None = None
    ) -> None:
        """Send its status now, by default "started", with an output and info."""
        self._update(time_of(time.time_ns()), status or self._given["status"] or "started", output, info)

    def _begin(self, now: str) -> None:
        given = self._given
        outer = context.current()
        metadata = merged(outer.metadata if outer else this_process().settings.metadata, self._metadata)
        bridge = self._bridge = context.start_span(self.name or "run", {"gateway.run.id": self.id})
        self._position = Position(
            run=self,
            step=None,
            outer=outer,
            trace_id=bridge.trace_id if bridge else ids.trace_id(self.id),
            span_id=(bridge and bridge.span_id) or ids.run_span_id(self.id),
            metadata=metadata,
        )
        belongs = {_NAMES.get(name, name): value for name, value in metadata.items() if name not in _COLUMNS}
        extra = belongs.pop("extra", None)
        info = {**belongs, **(extra if isinstance(extra, Mapping) else {}), **(given["info"] or {})}
        event: dict[str, Any] = {"type": "run:start", "id": self.id, "name": self.name, "time": now}
        event |= {name: text(metadata[name]) for name in _COLUMNS if name in metadata}  # type: ignore[literal-required]
        event |= {name: text(given[name]) for name in ("description", "status") if given[name] is not None}
        if bridge:
            event |= {"trace_id": bridge.trace_id} | ({"span_id": bridge.span_id} if bridge.span_id else {})
        this_process().put(event | _start(given, info))

    def _end(self, now: str, error: BaseException | None) -> None:
        if error is None:
            self._update(now, self.status or "finished", self.output, self._info)
        else:
            output = {"error": exception_json(error)} if self.output is None else self.output
            self._update(now, "error", output, self._info)

    def _update(self, now: str, status: str, output: object, info: Mapping[str, Any] | None) -> None:
        event: dict[str, Any] = {"type": "run:update", "id": self.id, "status": text(status), "time": now}
        if output is not None:
            event["output"] = encoded(output)
        if info:
            event["info"] = encoded_object(info)
        this_process().put(event)


class Step(Scope):
    """A step of a run: `with step("retrieve", type="tool") as s`, `async with`, or `@step("retrieve")`.

    A step outside of any run is a run of its own, of the same name.

    Args:
        name: Its name.
        type: Its kind: "tool", "retrieval", ...
        id: Its id.
        input: Its input, any value.
        tags: Texts.
        info: Further information, a JSON object.
        capture: As a decorator: record the arguments as the input, and the return value as the output.
        metadata: For requests within it: step_index, prompt_id, prompt_version and the rest of `Metadata`.

    """

    def __init__(
        self,
        name: str = "",
        *,
        type: str = "task",
        id: str | UUID | None = None,
        input: object = None,
        tags: Iterable[str] = (),
        info: Mapping[str, Any] | None = None,
        capture: bool = False,
        **metadata: Unpack[Metadata],
    ) -> None:
        given = {"type": type, "id": id, "input": input, "tags": tags, "info": info, "capture": capture}
        super().__init__(name, id, given, metadata)
        self._own_run: Run | None = None

    def state(self, state: str) -> None:
        """Send its state now, which becomes its status."""
        self._put("step:state", time_of(time.time_ns()), {"state": text(state)})

    def enter(self) -> None:
        """Make it current, below the run of its own if it is outside of any."""
        if self._own_run is not None:
            self._own_run.enter()
        super().enter()

    def leave(self) -> None:
        """Restore the run or step before it."""
        super().leave()
        if self._own_run is not None:
            self._own_run.leave()

    def _begin(self, now: str) -> None:
        given = self._given
        if (outer := context.current()) is not None:
            self._begin_in(outer, now)
            return
        name, metadata = self.name or text(given["type"]), self._metadata
        run = self._own_run = Run(name, input=given["input"], tags=given["tags"], info=given["info"], **metadata)
        run.open()
        run.enter()
        try:
            if (outer := context.current()) is not None:
                self._begin_in(outer, now)
        finally:
            run.leave()

    def _begin_in(self, outer: Position, now: str) -> None:
        given = self._given
        bridge = self._bridge = context.start_span(
            self.name or text(given["type"]),
            {"gateway.run.id": outer.run.id, "gateway.step.id": self.id, "gateway.step.type": text(given["type"])},
            outer.trace_id,
        )
        self._position = Position(
            run=outer.run,
            step=self,
            outer=outer,
            trace_id=outer.trace_id,
            span_id=(bridge and bridge.span_id) or ids.step_span_id(self.id, outer.run.id),
            metadata=merged(outer.metadata, self._metadata),
        )
        data: dict[str, Any] = {"type": text(given["type"])}
        if self.name:
            data["name"] = self.name
        if outer.step is not None:
            data["parent_step"] = outer.step.id
        if bridge and bridge.span_id:
            data["span_id"] = bridge.span_id
        self._put("step:start", now, data | _start(given, given["info"]))

    def _end(self, now: str, error: BaseException | None) -> None:
        if error is None:
            data: dict[str, Any] = {"output": encoded(self.output)}
            if self._info:
                data["info"] = encoded_object(self._info)
            self._put("step:end", now, data)
        else:
            self._put("step:error", now, {"error": exception_json(error)})
        if self._own_run is not None:
            self._own_run.output = self.output
            self._own_run.close(error)

    def _put(self, kind: str, now: str, data: dict[str, Any]) -> None:
        run_id = self._position.run.id if self._position else ids.NIL
        this_process().put({"type": kind, "run_id": run_id, "step_id": self.id, "time": now, "data": data})


def _start(given: Mapping[str, Any], info: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields that the start events of runs and steps share."""
    start: dict[str, Any] = {}
    if given["input"] is not None:
        start["input"] = encoded(given["input"])
    if tags := texts(given["tags"] or ()):
        start["tags"] = tags
    if info:
        start["info"] = encoded_object(info)
    return start
