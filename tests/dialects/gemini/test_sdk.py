"""The package google-genai as client of what is written, and as author of what is read."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Citation,
    Message,
    Part,
    Reasoning,
    Text,
    TokenLogprob,
    ToolCall,
    ToolCallResponse,
    Usage,
)
from gateway.dialects.gemini import GEMINI, GEMINI_WRITER
from gateway.errors import Kind
from tests.dialects.strategies_gemini import stream_events
from tests.support.upstream import Upstream, reply, stream

# The package's own, of its client of aiohttp.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")

ASKED = ChatRequest(operation="chat", model="gemini-3-flash")
# As another dialect has it: a signature of its own, and a call's id.
THOUGHT = Reasoning(content="Two cities.", extra={"anthropic-messages": {"signature": "EqQBCgIYAhIk"}})
CALL = ToolCall(id="toolu_01", name="get_weather", arguments={"city": "Oslo"})
TEXT = Text(content="Let me look.")
USAGE = Usage(input_tokens=12, output_tokens=9, total_tokens=21, cache_read_tokens=4, reasoning_tokens=3)


def answer(*parts: Part, finish_reason: str = "tool_calls", **more: Any) -> ChatResponse:
    """Make a response with one message."""
    message = Message(role="assistant", parts=list(parts), finish_reason=finish_reason)
    return ChatResponse(
        id="msg_1", model="claude", finish_reasons=[finish_reason], output_messages=[message], usage=USAGE, **more
    )


def whole(answered: ChatResponse) -> bytes:
    """Write a whole response."""
    return GEMINI_WRITER.response(answered, ASKED, 0.0)[0]


def streamed(sequence: Any) -> list[bytes]:
    """Write a stream."""
    writer = GEMINI_WRITER.stream(ASKED, 0.0)
    return [data for event in sequence if (data := writer.write(event))]


def read(upstream: Upstream) -> ChatRequest:
    """Read the last request that came."""
    assert GEMINI.read_conversation is not None
    asked = upstream.asked[-1]
    return GEMINI.read_conversation(asked.body, asked.target.partition("?")[0])


@pytest.fixture(name="client", params=["gemini", "vertex"])
async def _client(upstream: Upstream, request: pytest.FixtureRequest) -> AsyncIterator[genai.Client]:
    """Make the package's client of the scripted upstream, of either API."""
    options = types.HttpOptions(base_url=upstream.url, retry_options=types.HttpRetryOptions(attempts=1))
    vertex = request.param == "vertex"
    client = genai.Client(api_key="k", vertexai=vertex, http_options=options)
    yield client
    await client.aio.aclose()
    client.close()


async def test_the_package_reads_a_whole_response(upstream: Upstream, client: genai.Client) -> None:
    """Thought, text, call, image and counts are where the package has them."""
    image = Blob(modality="image", mime_type="image/png", content="iVBORw0KGgo=")
    upstream.answers(reply(whole(answer(THOUGHT, TEXT, image, CALL))))
    response = await client.aio.models.generate_content(model="gemini-3-flash", contents="hi")
    (candidate,) = response.candidates or []
    assert candidate.content is not None
    thought, text, shown, called = candidate.content.parts or []
    assert (thought.thought, thought.text) == (True, "Two cities.")
    assert response.text == text.text == "Let me look."
    assert shown.inline_data is not None
    assert (shown.inline_data.mime_type, shown.inline_data.data) == ("image/png", b"\x89PNG\r\n\x1a\n")
    assert called.function_call == types.FunctionCall(id="toolu_01", name="get_weather", args={"city": "Oslo"})
    assert candidate.finish_reason == types.FinishReason.STOP
    assert (response.response_id, response.model_version) == ("msg_1", "claude")
    assert response.usage_metadata == types.GenerateContentResponseUsageMetadata(
        prompt_token_count=12,
        candidates_token_count=6,
        thoughts_token_count=3,
        cached_content_token_count=4,
        total_token_count=21,
    )


async def test_the_package_reads_a_stream(upstream: Upstream, client: genai.Client) -> None:
    """The pieces come as they were written, calls whole, and the last one has the end and the counts."""
    upstream.answers(stream(streamed(stream_events(answer(THOUGHT, TEXT, CALL), 4))))
    chunks = [c async for c in await client.aio.models.generate_content_stream(model="gemini-3-flash", contents="hi")]
    parts = [p for c in chunks for p in (c.candidates or [])[0].content.parts or []]  # type: ignore[union-attr]
    assert [p.text for p in parts if p.thought and p.text] == ["Two ", "citi", "es."]
    assert [p.text for p in parts if not p.thought and p.text] == ["Let ", "me l", "ook."]
    assert [p.function_call.args for p in parts if p.function_call] == [{"city": "Oslo"}]
    (ended,) = chunks[-1].candidates or []
    assert ended.finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata is not None
    assert chunks[-1].usage_metadata.total_token_count == 21


async def test_sources_and_probabilities_are_where_the_package_has_them(
    upstream: Upstream, client: genai.Client
) -> None:
    """Sources become grounding metadata, whose places are in bytes; probabilities a result of their own."""
    source = Citation(uri="https://example.com/a", title="A", start=7, end=18)
    likely = TokenLogprob(token="Z", logprob=-0.5, top=[TokenLogprob(token="B", logprob=-1.5)])
    text = Text(content="Zürich was wärmer.", citations=[source], logprobs=[likely])
    upstream.answers(reply(whole(answer(text, finish_reason="stop"))))
    response = await client.aio.models.generate_content(model="gemini-3-flash", contents="hi")
    (candidate,) = response.candidates or []
    grounding, result = candidate.grounding_metadata, candidate.logprobs_result
    assert grounding is not None
    assert grounding.grounding_chunks == [
        types.GroundingChunk(web=types.GroundingChunkWeb(uri="https://example.com/a", title="A"))
    ]
    assert grounding.grounding_supports == [
        types.GroundingSupport(
            segment=types.Segment(start_index=8, end_index=20, text="was wärmer."), grounding_chunk_indices=[0]
        )
    ]
    assert result is not None
    assert result.chosen_candidates == [types.LogprobsResultCandidate(token="Z", log_probability=-0.5)]
    assert result.top_candidates == [
        types.LogprobsResultTopCandidates(candidates=[types.LogprobsResultCandidate(token="B", log_probability=-1.5)])
    ]


async def test_a_chat_of_the_package_brings_back_what_others_must_see_again(
    upstream: Upstream, client: genai.Client
) -> None:
    """A thought's signature of another dialect, and a call's id, are in the next request as they were."""
    upstream.answers(reply(whole(answer(THOUGHT, TEXT, CALL))), reply(whole(answer(TEXT, finish_reason="stop"))))
    chat = client.aio.chats.create(model="gemini-3-flash")
    first = await chat.send_message("Is it cold?")
    (called,) = first.function_calls or []
    result = types.Part(
        function_response=types.FunctionResponse(id=called.id, name=called.name, response={"output": "-3 C"})
    )
    await chat.send_message([result])
    assert read(upstream).input_messages == [
        Message(role="user", parts=[Text(content="Is it cold?")]),
        Message(role="assistant", parts=[THOUGHT, TEXT, CALL]),
        Message(role="tool", parts=[ToolCallResponse(id="toolu_01", name="get_weather", response="-3 C")]),
    ]


async def test_a_streamed_chat_of_the_package_keeps_its_turn(upstream: Upstream, client: genai.Client) -> None:
    """The package forgets a turn in which an event has no part; what it sends back in pieces is read as one turn."""
    upstream.answers(stream(streamed(stream_events(answer(THOUGHT, TEXT, CALL)))), reply(whole(answer(TEXT))))
    chat = client.aio.chats.create(model="gemini-3-flash")
    _ = [chunk async for chunk in await chat.send_message_stream("Is it cold?")]
    await chat.send_message("And now?")
    assert read(upstream).input_messages == [
        Message(role="user", parts=[Text(content="Is it cold?")]),
        Message(role="assistant", parts=[THOUGHT, TEXT, CALL]),
        Message(role="user", parts=[Text(content="And now?")]),
    ]


async def test_a_request_of_the_package_is_read(upstream: Upstream, client: genai.Client) -> None:
    """The output of its own types is understood: its alphabet of base64, its functions, and its enumerations."""

    def get_weather(city: str, days: int = 1) -> str:
        """Tell the weather."""
        return f"{city} {days}"

    upstream.answers(reply(whole(answer(TEXT, finish_reason="stop"))))
    await client.aio.models.generate_content(
        model="gemini-3-flash",
        contents=["See:", types.Part.from_bytes(data=b"\xfb\xff", mime_type="image/png")],
        config=types.GenerateContentConfig(
            system_instruction="Be brief.",
            temperature=0.5,
            top_k=3,
            stop_sequences=["END"],
            tools=[get_weather],
            tool_config=types.ToolConfig(
                function_calling_config=types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
            ),
            thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW, include_thoughts=True),
            response_schema={"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}},
            response_mime_type="application/json",
        ),
    )
    asked = read(upstream)
    assert (asked.model, asked.stream) == ("gemini-3-flash", False)
    assert asked.system_instructions == [Text(content="Be brief.")]
    assert asked.input_messages == [
        Message(
            role="user",
            parts=[Text(content="See:"), Blob(modality="image", mime_type="image/png", content="+/8=")],
        )
    ]
    assert asked.parameters == {
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_k": 3,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.request.reasoning.level": "low",
        "gen_ai.output.type": "json",
    }
    (tool,) = asked.tools
    assert (tool.name, tool.description) == ("get_weather", "Tell the weather.")
    assert tool.parameters["properties"]["city"] == {"type": "string"}
    assert asked.tool_choice is not None
    assert asked.tool_choice.mode == "required"
    assert asked.response_format is not None
    assert asked.response_format.schema["properties"] == {"a": {"type": ["string", "null"]}}
    assert asked.show_reasoning is True


async def test_a_stream_is_asked_for_by_the_path(upstream: Upstream, client: genai.Client) -> None:
    """The package's path has the verb for streaming, and the model, with a publisher if there is one."""
    upstream.answers(stream(streamed(stream_events(answer(TEXT, finish_reason="stop")))))
    _ = [c async for c in await client.aio.models.generate_content_stream(model="local/big", contents="hi")]
    asked = read(upstream)
    assert (asked.model, asked.stream) == ("local/big", True)
    assert asked.parameters == {"gen_ai.request.stream": True}


@pytest.mark.parametrize(
    ("kind", "status", "word", "expected", "cls"),
    [
        (Kind.BAD_INPUT, 400, "invalid_request_error", "INVALID_ARGUMENT", errors.ClientError),
        (Kind.AUTH, 401, None, "UNAUTHENTICATED", errors.ClientError),
        (Kind.AUTH, 403, "permission_error", "PERMISSION_DENIED", errors.ClientError),
        (Kind.NOT_FOUND, 404, None, "NOT_FOUND", errors.ClientError),
        (Kind.TOO_LARGE, 413, None, "INVALID_ARGUMENT", errors.ClientError),
        (Kind.RATE_LIMIT, 429, "rate_limit_error", "RESOURCE_EXHAUSTED", errors.ClientError),
        (Kind.SERVER, 500, None, "INTERNAL", errors.ServerError),
        (Kind.CLOSED, 502, None, "UNAVAILABLE", errors.ServerError),
        (Kind.SERVER, 503, "overloaded_error", "UNAVAILABLE", errors.ServerError),
        (Kind.TIMEOUT, 504, None, "DEADLINE_EXCEEDED", errors.ServerError),
        (Kind.BAD_INPUT, 400, "FAILED_PRECONDITION", "FAILED_PRECONDITION", errors.ClientError),
    ],
)
async def test_errors_are_the_packages_own(
    upstream: Upstream,
    client: genai.Client,
    kind: Kind,
    status: int,
    word: str | None,
    expected: str,
    cls: type[errors.APIError],
) -> None:
    """Each status is the exception that the package has for it, with Google's word, and the provider's own besides."""
    body = GEMINI_WRITER.error(kind, status, "It broke.", word, "req-1")
    upstream.answers(reply(body, status=f"{status} X"))
    with pytest.raises(cls) as raised:
        await client.aio.models.generate_content(model="gemini-3-flash", contents="hi")
    assert (raised.value.code, raised.value.status, raised.value.message) == (status, expected, "It broke.")
    reasons = [d.get("reason") for d in raised.value.details["error"]["details"]]
    assert reasons == ([word] if word not in {None, expected} else []) + [None]
    answered = GEMINI.read_response(body)
    assert (answered.error_type, answered.error_message) == (expected, "It broke.")


async def test_an_empty_stream_has_one_event(upstream: Upstream, client: genai.Client) -> None:
    """Without any content, the package still gets an event with the response's id."""
    upstream.answers(stream(streamed([events.Begun(id="r"), events.Ended()])))
    (chunk,) = [c async for c in await client.aio.models.generate_content_stream(model="m", contents="hi")]
    assert (chunk.response_id, chunk.candidates) == ("r", None)


async def test_a_blocked_prompt_has_no_candidate(upstream: Upstream, client: genai.Client) -> None:
    """A prompt that Gemini blocked is written as blocked again."""
    blocked = ChatResponse(
        output_messages=[
            Message(role="assistant", parts=[], finish_reason="content_filter", finish_word="PROHIBITED_CONTENT")
        ],
        extra={"gemini": {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}},
    )
    upstream.answers(reply(whole(blocked)))
    response = await client.aio.models.generate_content(model="gemini-3-flash", contents="hi")
    assert response.candidates is None
    assert response.prompt_feedback is not None
    assert response.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT
    assert GEMINI.read_response(whole(blocked)) == replace(
        blocked, model="gemini-3-flash", finish_reasons=["content_filter"]
    )
