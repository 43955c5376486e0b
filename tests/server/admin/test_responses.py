"""Responses of admin pages: the status of each error, always in JSON."""

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.errors import ConfigError, GatewayError
from gateway.server.admin.responses import STATUSES, errors_as_json, json_response, problem
from gateway.server.admin.sql import TooManyQueries
from gateway.server.live_config.overrides import UnchangeableError, UnknownEntryError
from gateway.store.query import QueryError, QueryTimeout
from tests.support.admin import page, recording
from tests.support.gateways import InProcess
from tests.support.raw_http import exchange, request

ERRORS = {
    UnknownEntryError: 404,
    UnchangeableError: 409,
    ConfigError: 422,
    TooManyQueries: 429,
    QueryError: 400,
    QueryTimeout: 400,
    GatewayError: 503,
}


async def answered(error: Exception) -> tuple[int, str]:
    """Return the status and the message for a page that raises."""

    async def handler(_request: web.Request) -> web.StreamResponse:
        raise error

    response = await errors_as_json(make_mocked_request("GET", "/-/page"), handler)
    assert isinstance(response, web.Response)
    return response.status, json.loads(response.text or "")["error"]["message"]


@pytest.mark.parametrize(("kind", "status"), ERRORS.items())
async def test_each_error_has_its_status(kind: type[GatewayError], status: int):
    """An error is answered with the status of its class, or of the nearest class above it."""
    assert await answered(kind("the reason")) == (status, "the reason")


def test_every_status_is_tested():
    """The table has no class without a case above."""
    assert {kind for kind, _ in STATUSES} <= set(ERRORS)


async def test_a_failure_is_500_without_its_message():
    """An unexpected exception is logged, and its message is withheld from the client."""
    status, message = await answered(RuntimeError("sk-secret"))
    assert status == 500
    assert "sk-secret" not in message
    assert "/-/page failed" in message


async def test_aiohttps_own_errors_are_json():
    """An HTTP exception of aiohttp keeps its status."""
    assert (await answered(web.HTTPRequestEntityTooLarge(1, 2)))[0] == 413


def test_the_shape_of_an_error():
    """An error is `{"error": {"message": ...}}`, with headers as given."""
    response = problem(405, "no", {"Allow": "GET"})
    assert (response.status, response.headers["Allow"]) == (405, "GET")
    assert json.loads(response.text or "") == {"error": {"message": "no"}}


def test_json():
    """A body is encoded as JSON with its status."""
    response = json_response({"a": None}, 202)
    assert (response.status, response.body, response.content_type) == (202, b'{"a":null}', "application/json")


@pytest.fixture(name="recorder")
async def _recorder(gateway: InProcess) -> AsyncIterator[None]:
    """Serve a recorder's pages beside the gateway."""
    async with recording(gateway.data):
        yield


@pytest.mark.usefixtures("recorder")
async def test_an_unknown_page_is_404_in_json(gateway: InProcess):
    """A 404 names the pages; such a request reaches neither a provider nor the store."""
    for path in ("/-/nope", "/-/", "/-/health/x", "/-/sql/"):
        status, said = await page(gateway, "GET", path)
        assert status == 404
        assert "/-/health, /-/jaeger, /-/sql" in said["error"]["message"]
    assert gateway.rows() == []


@pytest.mark.usefixtures("recorder")
async def test_a_method_that_a_page_does_not_take_is_405_in_json(gateway: InProcess):
    """A 405 names the methods of the page."""
    asked = request("DELETE", "/-/sql", [("Content-Type", "application/json")])
    answer = await exchange(gateway.url, asked.replace(b"Host: test", b"Host: localhost"))
    assert (answer.status, answer.values(b"Allow")) == (405, [b"POST"])
    assert "takes POST" in json.loads(answer.body)["error"]["message"]
