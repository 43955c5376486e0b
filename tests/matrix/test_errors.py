"""A provider's errors reach each SDK as the exceptions its users catch, in the provider's words."""

import gc
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest
from google.genai import errors as google

from tests.matrix import expected
from tests.matrix.clients import Ask, FailedError
from tests.matrix.node import NodeError
from tests.matrix.scenes import CASES
from tests.matrix.upstreams import UPSTREAMS, settings
from tests.support.gateways import InProcess
from tests.support.sdks import KEY, TRIES, facts, recorded
from tests.support.upstream import CLOSE, RESET, Step, Upstream, stream

pytestmark = pytest.mark.integration

pytestmark = [  # of Google's package
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _no_leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let what Google's package leaves of a broken stream be found here, and not in whichever test comes next."""
    yield
    if "google" in request.node.name:
        gc.collect()


MESSAGE = "The model's kettle is über full."
# What each provider calls its errors, by status.
WORDS: dict[str, dict[int, str]] = {
    "chat": {
        400: "invalid_value",
        401: "invalid_api_key",
        404: "model_not_found",
        429: "rate_limit_exceeded",
        500: "server_error",
        503: "overloaded",
    },
    "messages": {
        400: "invalid_request_error",
        401: "authentication_error",
        404: "not_found_error",
        429: "rate_limit_error",
        500: "api_error",
        529: "overloaded_error",
    },
    "gemini": {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED",
        500: "INTERNAL",
        503: "UNAVAILABLE",
    },
    "converse": {
        400: "ValidationException",
        403: "AccessDeniedException",
        404: "ResourceNotFoundException",
        429: "ThrottlingException",
        500: "InternalServerException",
        503: "ServiceUnavailableException",
    },
}
WORDS["responses"] = WORDS["chat"]
WORDS["ollama"] = dict.fromkeys(WORDS["chat"], "")  # it has none

_OPENAI: dict[int, type[Exception]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
}
_ANTHROPIC: dict[int, type[Exception]] = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError,
    429: anthropic.RateLimitError,
}
_OUTCOMES = {400: "bad_input", 401: "auth", 403: "auth", 404: "bad_input", 429: "rate_limit"}


def thrown(client: str, status: int) -> tuple[type[Exception], str]:
    """Return the exception's class, and its name in an npm package."""
    match client:
        case "chat" | "responses":
            return _OPENAI.get(status, openai.InternalServerError), ""
        case "messages":
            return _ANTHROPIC.get(status, anthropic.InternalServerError), ""
        case "google":
            return (google.ClientError if status < 500 else google.ServerError), ""
        case "ollama":
            return ollama.ResponseError, ""
        case "node openai":
            return NodeError, _OPENAI.get(status, openai.InternalServerError).__name__
    return NodeError, "AI_APICallError"


def status_of(error: Any) -> int:
    """Return the HTTP status that an exception tells."""
    for name in ("status_code", "status", "code"):
        if isinstance(status := getattr(error, name, None), int):
            return status
    raise AssertionError(f"{error!r} tells no status")


@pytest.fixture(name="once")
async def _once(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker that tries once."""
    async with InProcess(tmp_path / "once", settings(upstream.url, tries=1)) as gateway:
        yield gateway


@pytest.mark.parametrize("provider", UPSTREAMS)
@pytest.mark.parametrize("client", expected.SPEAKS)
async def test_an_error_is_the_sdks_own(client: str, provider: str, ask: Ask, upstream: Upstream, once: InProcess):
    """Its class is what the status means to the SDK, its message the provider's, and the row has them as they were."""
    speaks = UPSTREAMS[provider]
    for n, (status, word) in enumerate(WORDS[provider].items()):
        upstream.answers(speaks.fails(status, word, MESSAGE, [("retry-after", "7")] if status == 429 else []))
        with pytest.raises(Exception) as raised:  # noqa: PT011  the classes are the SDKs' own
            [each async for each in ask(once.url, speaks.asked_for, CASES["text"], n % 2 == 1)]
        # Only Anthropic's clients have a word for its status of an overload.
        known = status if status != 529 or client in {"messages", "vercel anthropic"} else 503
        kind, name = thrown(client, known)
        assert isinstance(raised.value, kind), repr(raised.value)
        assert getattr(raised.value, "name", None) == (name or None)
        assert status_of(raised.value) == known
        assert MESSAGE in str(raised.value)
        if status == 429 and (response := getattr(raised.value, "response", None)) is not None:
            assert response.headers["retry-after"] == "7"
        root, (attempt,) = recorded(once, n)
        outcome = _OUTCOMES.get(status, "server")
        assert facts(root, "outcome", "http_status") == (outcome, known)
        assert facts(attempt, "outcome", "http_status", "error_type") == (outcome, status, str(status))
        assert MESSAGE in attempt["error"]
        body = attempt["attributes"]["gateway.error.body"]
        assert MESSAGE in body or json.dumps(MESSAGE)[1:-1] in body
        assert word in body or provider == "converse"  # whose word is a header


BREAKS = {
    "messages": "overloaded_error",
    "gemini": "UNAVAILABLE",
    "converse": "serviceUnavailableException",
    "chat": "server_error",
    "responses": "server_error",
    "ollama": "",
}
# The exception of an SDK at an error within a stream.
_RAISED: dict[str, type[Exception]] = {
    "chat": openai.APIError,
    "responses": FailedError,
    "messages": anthropic.APIStatusError,
    "google": google.APIError,
    "ollama": ollama.ResponseError,
}


@pytest.mark.parametrize("how", ["error event", "closed", "reset"])
@pytest.mark.parametrize("provider", UPSTREAMS)
@pytest.mark.parametrize("client", expected.SPEAKS)
async def test_a_broken_stream_never_looks_complete(
    client: str, provider: str, how: str, ask: Ask, upstream: Upstream, once: InProcess
):
    """The client has the content so far; then its SDK raises, in the provider's words if it had some."""
    speaks = UPSTREAMS[provider]
    pieces: list[bytes] = []
    for piece in speaks.streamed(CASES["text"].completion, speaks.model):
        pieces.append(piece.data)
        if piece.tells:
            break
    end: Step = {"error event": b"0\r\n\r\n", "closed": CLOSE, "reset": RESET}[how]
    if how == "error event":
        pieces.append(speaks.broken(BREAKS[provider], MESSAGE))
    upstream.answers(stream([*pieces[:-1], 0.05, pieces[-1], 0.05], content_type=speaks.content_type, end=end))
    received = []
    with pytest.raises(Exception) as raised:  # noqa: PT011, PT012
        async with aclosing(ask(once.url, speaks.asked_for, CASES["text"], True)) as answers:
            async for each in answers:
                received.append(each)  # noqa: PERF401  what came before is kept
    assert received == [("text", CASES["text"].completion.text[0])]
    await once.ended()
    root, (attempt,) = recorded(once)
    if how == "error event":
        assert isinstance(raised.value, _RAISED.get(client, NodeError))
        assert MESSAGE in str(raised.value)
        assert facts(root, "outcome", "error") == ("server", MESSAGE)
        assert attempt["error_type"] == (BREAKS[provider] or "server")
    else:
        assert root["outcome"] == attempt["outcome"] == "upstream_abort"
        assert f"The provider '{speaks.provider}' failed" in root["error"]
        # The Vercel AI SDK has no words of its own for it; all others report the gateway's.
        assert "vercel" in client or f"The provider '{speaks.provider}' failed" in str(raised.value)


# Where both speak one dialect the provider's own bytes are passed on, and look as they would without the gateway.
TRANSLATED = [(c, p) for c in expected.SPEAKS for p in UPSTREAMS if not expected.same(c, p)]


@pytest.mark.parametrize(("client", "provider"), TRANSLATED)
async def test_a_stream_without_its_end_never_looks_complete(
    provider: str, ask: Ask, upstream: Upstream, once: InProcess
):
    """A body that ends in order in the middle of an answer breaks off for a client of another dialect."""
    speaks = UPSTREAMS[provider]
    pieces = [piece.data for piece in speaks.streamed(CASES["text"].completion, speaks.model)]
    upstream.answers(stream(pieces[: len(pieces) // 2], content_type=speaks.content_type))
    with pytest.raises(Exception):  # noqa: B017, PT011
        [each async for each in ask(once.url, speaks.asked_for, CASES["text"], True)]
    root, (attempt,) = recorded(once)
    assert root["outcome"] == attempt["outcome"] == "upstream_abort"


async def test_an_overload_that_lasts_is_left_to_the_clients_own_retries(upstream: Upstream, gateway: InProcess):
    """After the gateway's tries a client of another dialect gets the error, and no word on retries."""
    speaks = UPSTREAMS["messages"]
    upstream.answers(speaks.fails(529, "overloaded_error", MESSAGE))
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.InternalServerError, match=MESSAGE) as raised:
            await client.chat.completions.create(model=speaks.asked_for, messages=[{"role": "user", "content": "Hi"}])
    assert "x-should-retry" not in raised.value.response.headers
    root, attempts = recorded(gateway)
    assert facts(root, "outcome", "http_status", "retries") == ("server", 503, TRIES - 1)
    assert [facts(each, "http_status", "error_type") for each in attempts] == [(529, "529")] * TRIES
    assert len(upstream.asked) == TRIES
