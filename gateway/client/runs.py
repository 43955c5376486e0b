"""Runs and steps: what an application does. Each sends an event when it begins and when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Unpack
from uuid import UUID

from gateway import ids
from gateway.client import otel, scope
from gateway.client.delivery import this_process
from gateway.client.raised import told
from gateway.client.scope import Place
from gateway.client.scopes import Scope, time_of
from gateway.client.settings import Metadata, merged
from gateway.client.values import encoded, encoded_object, text, texts

# These are columns of a run; what else it belongs to is in its info, under these names.
_COLUMNS = ("application", "environment")
_NAMES = {"user": "user_id", "session": "session_id"}


class Run(Scope):
    """A run: `with run("answer a ticket") as r`, `async with`, or `@run("answer a ticket")`.

    Args:
        name: What is run.
        id: Of a run that has begun before, to go on with it.
        description: Text.
        input: What goes in: any value.
        tags: Texts.
        info: What else is to be known, a JSON object.
        status: What it is at first; "started" where nothing is said.
        capture: As a decorator: take the arguments for the input, and what is returned for the output.
        metadata: application, environment, session, user and the rest of `Metadata`.

    Attributes:
        status: Set it: what it is at the end, unless that is an error; "finished" where nothing is said.

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
        """Say now what has become of it: a status ("started" where nothing is said), and more."""
        self._update(time_of(time.time_ns()), status or self._given["status"] or "started", output, info)

    def _begin(self, now: str) -> None:
        given = self._given
        outer = scope.here()
        metadata = merged(outer.metadata if outer else this_process().settings.metadata, self._metadata)
        bridge = self._bridge = otel.start(self.name or "run", {"gateway.run.id": self.id})
        self._place = Place(
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
            output = {"error": told(error)} if self.output is None else self.output
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
        name: What is done.
        type: Of what kind it is: "tool", "retrieval", ...
        id: Its id.
        input: What goes in: any value.
        tags: Texts.
        info: What else is to be known, a JSON object.
        capture: As a decorator: take the arguments for the input, and what is returned for the output.
        metadata: For requests within: step_index, prompt_id, prompt_version and the rest of `Metadata`.

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
        """Say now what it does: that is its status then."""
        self._put("step:state", time_of(time.time_ns()), {"state": text(state)})

    def enter(self) -> None:
        """Stand in it, and in the run that it is where there is no other."""
        if self._own_run is not None:
            self._own_run.enter()
        super().enter()

    def leave(self) -> None:
        """Stand where it was before."""
        super().leave()
        if self._own_run is not None:
            self._own_run.leave()

    def _begin(self, now: str) -> None:
        given = self._given
        if (outer := scope.here()) is not None:
            self._begin_in(outer, now)
            return
        name, metadata = self.name or text(given["type"]), self._metadata
        run = self._own_run = Run(name, input=given["input"], tags=given["tags"], info=given["info"], **metadata)
        run.open()
        run.enter()
        try:
            if (outer := scope.here()) is not None:
                self._begin_in(outer, now)
        finally:
            run.leave()

    def _begin_in(self, outer: Place, now: str) -> None:
        given = self._given
        bridge = self._bridge = otel.start(
            self.name or text(given["type"]),
            {"gateway.run.id": outer.run.id, "gateway.step.id": self.id, "gateway.step.type": text(given["type"])},
            outer.trace_id,
        )
        self._place = Place(
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
            self._put("step:error", now, {"error": told(error)})
        if self._own_run is not None:
            self._own_run.output = self.output
            self._own_run.close(error)

    def _put(self, kind: str, now: str, data: dict[str, Any]) -> None:
        run_id = self._place.run.id if self._place else ids.NIL
        this_process().put({"type": kind, "run_id": run_id, "step_id": self.id, "time": now, "data": data})


def _start(given: Mapping[str, Any], info: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the start of a run and of a step tell alike."""
    start: dict[str, Any] = {}
    if given["input"] is not None:
        start["input"] = encoded(given["input"])
    if tags := texts(given["tags"] or ()):
        start["tags"] = tags
    if info:
        start["info"] = encoded_object(info)
    return start
