"""`/-/config`: what is in force, and how providers, aliases and keys are set while running.

What is set is kept in the data folder, and in force once it is answered: then every worker goes by it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from time import monotonic
from typing import Any

import msgspec
from aiohttp import web

from gateway.errors import ConfigError, GatewayError
from gateway.server.admin.pages import problem
from gateway.server.live_config import as_json, overrides
from gateway.server.live_config.overrides import Change, UnchangeableError, UnknownEntryError
from gateway.server.live_config.published import PublishedConfig, Stamp
from gateway.server.live_config.source import Source

_APPLIED_SECONDS = 2.0
_LOOK_SECONDS = 0.01

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What the pages need of the gateway. `reload` has its files read again, which ends some time later."""

    source: Source
    published: PublishedConfig
    reload: Callable[[], None]


class ConfigPages:
    """The pages of one gateway."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._one = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Return what is served, and by what."""
        entry = "/-/config/{table}/{name:.+}"
        return [
            web.get("/-/config", _answered(self._show)),
            web.get("/-/config/{table}", _answered(self._show_table)),
            web.get(entry, _answered(self._show_entry)),
            web.put(entry, _answered(self._put)),
            web.delete(entry, _answered(self._delete)),
        ]

    async def _show(self, _request: web.Request) -> web.Response:
        published = self._control.published

        def made() -> dict[str, Any]:
            return published.status.shown() | as_json.whole(published.get()[1].loaded)

        return _json(await asyncio.to_thread(made))

    async def _show_table(self, request: web.Request) -> web.Response:
        table = overrides.table_of(request.match_info["table"])
        control = self._control

        def made() -> dict[str, Any]:
            return {table: as_json.table(control.published.get()[1].loaded, table, str(control.source.kept))}

        return _json(await asyncio.to_thread(made))

    async def _show_entry(self, request: web.Request) -> web.Response:
        table, name = overrides.table_of(request.match_info["table"]), request.match_info["name"]
        control = self._control

        def made() -> dict[str, Any]:
            return as_json.entry(control.published.get()[1].loaded, table, name, str(control.source.kept))

        return _json(await asyncio.to_thread(made))

    async def _put(self, request: web.Request) -> web.Response:
        table, name = overrides.table_of(request.match_info["table"]), request.match_info["name"]
        try:
            entry = msgspec.json.decode(await request.read())
        except (msgspec.DecodeError, RecursionError) as error:  # whose text has nothing of the body
            return problem(400, f"the body must be the JSON of one entry: {error}")
        return await self._change(lambda change: change.put(table, name, entry))

    async def _delete(self, request: web.Request) -> web.Response:
        table, name = overrides.table_of(request.match_info["table"]), request.match_info["name"]
        return await self._change(lambda change: change.delete(table, name))

    async def _change(self, act: Callable[[Change], Stamp | None]) -> web.Response:
        """Change what is kept, and hold its lock until that is in force: so each answer is to its own change."""

        def changed() -> tuple[ExitStack, Stamp | None]:
            with ExitStack() as stack:
                of = act(stack.enter_context(overrides.changing(self._control.source)))
                return stack.pop_all(), of

        async with self._one:
            held, of = await asyncio.to_thread(changed)
            with held:
                return await self._taken_up(of)

    async def _taken_up(self, of: Stamp | None) -> web.Response:
        """Have the change read, and answer once every worker goes by it, or (202) where that takes too long."""
        published = self._control.published
        self._control.reload()
        deadline = monotonic() + _APPLIED_SECONDS
        while True:
            status = published.status
            if status.kept == of and status.error is not None:
                return problem(409, f"the change is kept, but not in force: {status.error}")
            applied = status.kept == of and all(each >= status.generation for each in published.applied.all())
            if applied or monotonic() > deadline:
                body = {"generation": status.generation, "applied": applied}
                return _json(body, 200 if applied else 202)
            await asyncio.sleep(_LOOK_SECONDS)


def _answered(handler: _Handler) -> _Handler:
    """Say as a page's answer what a handler raises."""

    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except UnknownEntryError as error:
            return problem(404, str(error))
        except UnchangeableError as error:
            return problem(409, str(error))
        except ConfigError as error:
            return problem(422, str(error))
        except GatewayError as error:
            return problem(503, str(error))

    return answered


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
