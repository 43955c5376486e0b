"""`/-/config`: the active configuration, and the runtime overrides of providers, aliases and keys.

A change is stored in the data directory and answered once every worker has applied it.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic
from typing import Any

import msgspec
from aiohttp import web

from gateway.server.admin.responses import json_response, problem
from gateway.server.live_config import overrides, report
from gateway.server.live_config.overrides import OverridableTable, OverridesFile
from gateway.server.live_config.published import PublishedConfig, Stamp
from gateway.server.live_config.source import Source

_APPLY_SECONDS = 2.0
_POLL_SECONDS = 0.01


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The pages' access to the running gateway. `reload` asks the supervisor to read its files, and returns at once."""

    source: Source
    published: PublishedConfig
    reload: Callable[[], None]


class ConfigPages:
    """The pages of one gateway. Their paths are in `gateway.server.routes`."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._changing = asyncio.Lock()

    async def show(self, _request: web.Request) -> web.Response:
        """Answer with the whole active configuration and its status."""
        published = self._control.published

        def build() -> dict[str, Any]:
            return published.status.to_json() | report.whole(published.get()[1].loaded)

        return json_response(await asyncio.to_thread(build))

    async def show_table(self, request: web.Request) -> web.Response:
        """Answer with all entries of one table."""
        table = overrides.table_of(request.match_info["table"])
        control = self._control

        def build() -> dict[str, Any]:
            return {table: report.table(control.published.get()[1].loaded, table, str(control.source.overrides))}

        return json_response(await asyncio.to_thread(build))

    async def show_entry(self, request: web.Request) -> web.Response:
        """Answer with one entry."""
        table, name = _entry_of(request)
        control = self._control

        def build() -> dict[str, Any]:
            return report.table_entry(control.published.get()[1].loaded, table, name, str(control.source.overrides))

        return json_response(await asyncio.to_thread(build))

    async def put(self, request: web.Request) -> web.Response:
        """Set one entry to the JSON of the body."""
        table, name = _entry_of(request)
        try:
            entry = msgspec.json.decode(await request.read())
        except (msgspec.DecodeError, RecursionError) as error:  # neither message repeats the body
            return problem(400, f"the body must be the JSON of one entry: {error}")
        return await self._change(lambda file: file.put(table, name, entry))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete one entry."""
        table, name = _entry_of(request)
        return await self._change(lambda file: file.delete(table, name))

    async def _change(self, change: Callable[[OverridesFile], Stamp | None]) -> web.Response:
        """Change the overrides, and hold their lock until the change is active: each answer is to its own change."""

        def write() -> tuple[ExitStack, Stamp | None]:
            with ExitStack() as stack:
                stamp = change(stack.enter_context(overrides.locked(self._control.source)))
                return stack.pop_all(), stamp

        async with self._changing:
            lock, stamp = await asyncio.to_thread(write)
            with lock:
                return await self._apply(stamp)

    async def _apply(self, stamp: Stamp | None) -> web.Response:
        """Have the change loaded; answer 200 once every worker has applied it, or 202 if that takes too long."""
        published = self._control.published
        self._control.reload()
        deadline = monotonic() + _APPLY_SECONDS
        while True:
            status = published.status
            if status.overrides == stamp and status.error is not None:
                return problem(409, f"the change is stored, but not active: {status.error}")
            applied = status.overrides == stamp and all(each >= status.generation for each in published.applied.all())
            if applied or monotonic() > deadline:
                body = {"generation": status.generation, "applied": applied}
                return json_response(body, 200 if applied else 202)
            await asyncio.sleep(_POLL_SECONDS)


def _entry_of(request: web.Request) -> tuple[OverridableTable, str]:
    """Return the table and the name of a path. Raises UnknownEntryError."""
    return overrides.table_of(request.match_info["table"]), request.match_info["name"]
