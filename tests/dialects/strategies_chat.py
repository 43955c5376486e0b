"""Hypothesis strategies for chat completions."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
)
from gateway.dialects.shared import parameters as name
from tests.dialects import drawing as d

NAME = "openai-chat"
TEXTS = st.builds(Text, content=d.WORDS, cache=st.none() | d.MARKS)
DETAILED = d.maybe(NAME, detail=st.sampled_from(["low", "high"]))
PROVEN = st.builds(
    lambda signature: d.of(
        NAME,
        {"reasoning_details": [{"type": "reasoning.text", "signature": signature, "format": "x", "index": 0}]}
        if signature
        else {},
    ),
    st.none() | d.BASE64,
)
THOUGHTS = st.builds(Reasoning, content=d.WORDS, extra=PROVEN)
CONTENT: st.SearchStrategy[Part] = st.one_of(
    TEXTS,
    d.images(extra=DETAILED, cache=st.none() | d.MARKS),
    st.builds(Uri, modality=st.sampled_from(["image", "video"]), uri=d.ADDRESSES, extra=DETAILED),
    st.builds(
        Blob,
        modality=st.just("audio"),
        mime_type=st.sampled_from(["audio/mpeg", "audio/wav", "audio/flac"]),
        content=d.BASE64,
    ),
    d.documents(),
    st.builds(File, modality=st.just("document"), file_id=d.WORDS),
    st.builds(Other, kind=st.just("novel"), value=d.OBJECTS.map(lambda v: {"x": v}), dialect=st.just(NAME)),
)
SIGNED = d.maybe(NAME, extra_content=st.just({"google": {"thought_signature": "c2ln"}}))


def turns_of_model(draw: st.DrawFn, ids: Iterator[int], texts: st.SearchStrategy[Text]) -> list[Part]:
    """Draw the parts of an assistant's message, in the order in which they are read."""
    parts: list[Part] = []
    if draw(st.booleans()):
        parts.append(draw(THOUGHTS))
    parts += draw(st.lists(texts, max_size=2))
    if draw(st.booleans()):
        parts.append(Refusal(content=draw(d.WORDS)))
    if draw(st.booleans()):
        parts.append(File(modality="audio", file_id=draw(d.WORDS)))
    marks = st.none() | d.MARKS
    return parts + draw(st.lists(d.calls(ids, cache=marks, extra=SIGNED) | d.custom_calls(ids), max_size=2))


@st.composite
def messages(draw: st.DrawFn) -> list[Message]:
    """Draw a conversation."""
    turns: list[Message] = []
    ids = iter(range(1000))
    for role in draw(st.lists(st.sampled_from(["system", "developer", "user", "assistant", "tool"]), max_size=5)):
        parts: list[Part]
        if role == "tool":
            result = st.text(d.LETTERS, max_size=9) | st.lists(st.builds(Text, content=d.WORDS), min_size=2, max_size=3)
            answer = st.builds(
                ToolCallResponse,
                id=d.NAMES,
                name=st.none() | d.NAMES,
                response=result,
                cache=st.none() | d.MARKS,
            )
            turns.append(Message(role=role, parts=[draw(answer)]))
            continue
        if role == "assistant":
            parts = turns_of_model(draw, ids, TEXTS)
        elif role == "user":
            parts = draw(st.lists(CONTENT, max_size=3))
        else:
            parts = draw(st.lists(TEXTS, max_size=2))
        turns.append(Message(role=role, parts=parts, name=draw(st.none() | d.NAMES)))
    return turns


FUNCTIONS = st.builds(
    Tool,
    name=d.NAMES,
    description=st.none() | d.WORDS,
    parameters=st.none() | d.OBJECTS,
    strict=st.sampled_from([None, False]),
    cache=st.none() | d.MARKS,
) | st.builds(Tool, name=d.NAMES, parameters=st.just(d.STRICT), strict=st.just(value=True))
GRAMMAR = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: WORD"}}
CUSTOM = st.builds(
    Tool,
    name=d.NAMES,
    kind=st.just("custom"),
    description=st.none() | d.WORDS,
    extra=d.maybe(NAME, format=st.just(GRAMMAR)),
)
SERVER = st.just(Tool(name="web_search", kind="server", extra=d.of(NAME, {"type": "web_search", "x": 1})))
FORMS = st.sampled_from([None, ResponseFormat(type="text"), ResponseFormat(type="json")]) | st.builds(
    ResponseFormat,
    type=st.just("json_schema"),
    name=d.NAMES,
    description=st.none() | d.WORDS,
    schema=d.OBJECTS,
    strict=st.none() | st.booleans(),
)
_PARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    name.MAX_TOKENS: d.COUNTS,
    name.TEMPERATURE: d.FLOATS,
    name.TOP_P: d.FLOATS,
    name.TOP_K: d.COUNTS,
    name.STOP_SEQUENCES: st.lists(d.WORDS, min_size=1, max_size=3),
    name.FREQUENCY_PENALTY: d.FLOATS,
    name.PRESENCE_PENALTY: d.FLOATS,
    name.SEED: st.integers(-(2**63), 2**63 - 1),
    name.CHOICE_COUNT: st.integers(2, 8),
    name.REASONING_LEVEL: st.sampled_from(d.LEVELS),
}
_OWN = {"service_tier": st.just("flex"), "logit_bias": st.just({"7": -100}), "novel": d.VALUES, "store": st.booleans()}


@st.composite
def asked(draw: st.DrawFn) -> ChatRequest:
    """Draw a request."""
    stream = draw(st.booleans())
    form = draw(FORMS)
    tools = draw(st.lists(FUNCTIONS | CUSTOM | SERVER, max_size=3, unique_by=lambda tool: tool.name))
    chosen = [ToolChoice(mode="tool", name=tool.name) for tool in tools if tool.kind != "server"]
    allowed = ToolChoice(mode="auto", extra=d.of(NAME, {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}))
    modes = [ToolChoice(mode=mode) for mode in ("auto", "none", "required")]
    return ChatRequest(
        operation="chat",
        model=draw(d.WORDS),
        stream=stream,
        input_messages=draw(messages()),
        parameters=d.parameters(draw, _PARAMETERS, stream=stream, form=form),
        user=draw(st.none() | d.WORDS),
        tools=tools,
        tool_choice=draw(st.none() | st.sampled_from([*modes, allowed, *chosen])) if tools else None,
        parallel_tool_calls=draw(st.none() | st.booleans()) if tools else None,
        response_format=form,
        logprobs=draw(st.none() | st.booleans()),
        top_logprobs=draw(st.none() | st.integers(0, 20)),
        include_usage=draw(st.none() | st.booleans()) if stream else None,
        metadata=draw(st.dictionaries(d.NAMES, d.WORDS, max_size=2)),
        extra=d.of(NAME, draw(st.fixed_dictionaries({}, optional=_OWN))),
    )


@st.composite
def texts(draw: st.DrawFn) -> Text:
    """Draw a text with where it comes from, and how likely its tokens were."""
    text = draw(d.WORDS)
    quote = st.none() | d.WORDS
    citations = draw(st.lists(d.cited(text, d.ADDRESSES, quote=quote), max_size=2))
    return Text(content=text, citations=citations, logprobs=draw(st.lists(d.LIKELY, max_size=2)))


@st.composite
def choices(draw: st.DrawFn, ids: Iterator[int], *, streamed: bool) -> Message:
    """Draw an output message; in a stream its parts come in any order."""
    parts: list[Part] = []
    if streamed:
        each: st.SearchStrategy[Part] = st.one_of(
            THOUGHTS,
            texts(),
            st.builds(Refusal, content=d.WORDS),
            d.calls(ids),
            d.custom_calls(ids),
        )
        parts = d.joined(draw(st.lists(each, max_size=6)), Text, Reasoning, Refusal)
    else:
        parts = draw(st.lists(THOUGHTS, max_size=1)) + draw(st.lists(texts(), max_size=1))
        parts += [Refusal(content=draw(d.WORDS))] if draw(st.booleans()) else []
        parts += draw(st.lists(d.calls(ids, extra=SIGNED) | d.custom_calls(ids), max_size=2))
    called = any(isinstance(part, ToolCall) for part in parts)
    reason = draw(st.sampled_from(["length", "content_filter", "tool_calls" if called else "stop"]))
    return Message(role="assistant", parts=parts, finish_reason=reason)


@st.composite
def answered(draw: st.DrawFn, *, streamed: bool = False) -> ChatResponse:
    """Draw a response."""
    ids = iter(range(1000))
    outputs = draw(st.lists(choices(ids, streamed=streamed), min_size=1, max_size=2))
    details = {key: st.none() | d.COUNTS for key in ("cache_read_tokens", "cache_write_tokens")}
    counts = d.usages(**details, reasoning_tokens=st.none() | st.just(0))
    return ChatResponse(
        id=draw(d.WORDS),
        model=draw(d.WORDS),
        finish_reasons=[m.finish_reason for m in outputs if m.finish_reason],
        output_messages=outputs,
        usage=draw(st.none() | counts),
        created=draw(st.integers(1, 4_000_000_000)),
    )


def unmarked(asks: ChatRequest) -> ChatRequest:
    """Return a request without what OpenAI's own API does not take: marks of what is to be cached."""
    messages = [
        replace(m, parts=[replace(p, cache=None) if getattr(p, "cache", None) else p for p in m.parts])
        for m in asks.input_messages
    ]
    return replace(asks, input_messages=messages, tools=[replace(tool, cache=None) for tool in asks.tools])


def known_to_sdk(answer: ChatResponse) -> ChatResponse:
    """Return a response without calls of custom tools, which the SDK does not know in a stream."""
    messages = [
        replace(m, parts=[p for p in m.parts if not (isinstance(p, ToolCall) and p.custom)])
        for m in answer.output_messages
    ]
    return replace(answer, output_messages=[replace(m, parts=_apart(m.parts)) for m in messages])


def _apart(parts: list[Part]) -> list[Part]:
    return d.joined(parts, Text, Reasoning, Refusal)
