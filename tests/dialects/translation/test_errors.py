from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import anthropic
import openai
import pytest

from gateway.dialects import events
from gateway.dialects.conversation import ChatRequest, Text
from gateway.errors import Kind, kind_of_status
from tests.dialects.pairs import SPOKEN
from tests.dialects.streams import written
from tests.support.upstream import Upstream, reply, stream

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
Ask = Callable[[bool], Awaitable[Any]]
REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    529: "Overloaded",
}


@pytest.fixture(name="ask")
async def _ask(upstream: Upstream, client: str) -> AsyncIterator[Ask]:
    """Make a client of the SDK that asks once."""
    if client == "messages":
        async with anthropic.AsyncAnthropic(base_url=upstream.url, api_key="k", max_retries=0) as claude:
            yield lambda streamed: claude.messages.create(model="m", max_tokens=9, messages=HELLO, stream=streamed)
        return
    async with openai.AsyncOpenAI(base_url=upstream.url, api_key="k", max_retries=0) as gpt:
        if client == "chat":
            yield lambda streamed: gpt.chat.completions.create(model="m", messages=HELLO, stream=streamed)
        else:
            yield lambda streamed: gpt.responses.create(model="m", input="Hello", stream=streamed)


@pytest.mark.parametrize("client", ["chat", "responses", "messages"])
@pytest.mark.parametrize(
    ("status", "raised", "claudes"),
    [
        (400, "BadRequestError", "invalid_request_error"),
        (401, "AuthenticationError", "authentication_error"),
        (402, "APIStatusError", "billing_error"),
        (403, "PermissionDeniedError", "permission_error"),
        (404, "NotFoundError", "not_found_error"),
        (422, "UnprocessableEntityError", "invalid_request_error"),
        (429, "RateLimitError", "rate_limit_error"),
        (500, "InternalServerError", "api_error"),
        (503, "InternalServerError", "api_error"),
        (529, "InternalServerError", "overloaded_error"),
    ],
)
async def test_an_error_of_a_provider_is_the_one_that_a_client_knows(
    upstream: Upstream, ask: Ask, client: str, status: int, raised: str, claudes: str
) -> None:
    """Its SDK raises the class of the status, with the message and the provider's own word where it looks for them."""
    kind = kind_of_status(status) or Kind.SERVER
    body = SPOKEN[client].writer.error(kind, status, "No.", "some_word", "req-1")
    upstream.answers(reply(body, f"{status} {REASONS[status]}"))
    package: Any = anthropic if client == "messages" else openai
    with pytest.raises(getattr(package, raised)) as caught:
        await ask(False)
    assert caught.value.status_code == status
    assert "No." in caught.value.message
    if client == "messages":
        sequence = caught.value.body
        assert sequence == {"type": "error", "error": {"type": claudes, "message": "No."}, "request_id": "req-1"}
    else:
        assert caught.value.code == "some_word"
        assert caught.value.type == kind.fact.openai


@pytest.mark.parametrize("client", ["chat", "responses", "messages"])
async def test_an_error_in_a_stream_reaches_the_client(upstream: Upstream, ask: Ask, client: str) -> None:
    """Content before it is read; then the SDK raises the error, or returns the failed response."""
    sequence = [
        events.Begun(id="r-1", model="m"),
        events.PartBegun(index=0, part=Text(content="")),
        events.PartGrown(index=0, text="Once"),
        events.Broken(type="overloaded_error", message="Overloaded"),
    ]
    data, writer = written(SPOKEN[client].writer, ChatRequest(operation="chat", model="m"), sequence)
    upstream.answers(stream([data], content_type=writer.content_type))
    raised = {"chat": openai.APIError, "messages": anthropic.APIStatusError}.get(client)
    last: Any = None
    read = ""
    with pytest.raises(raised, match="Overloaded") if raised else nullcontext():
        async for last in await ask(True):
            read += last.to_json()
    assert "Once" in read
    if client == "responses":
        assert (last.type, last.response.error.message) == ("response.failed", "Overloaded")
