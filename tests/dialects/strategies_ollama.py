"""Hypothesis strategies for Ollama's API, and a stream's events made and folded again."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolCallResponse,
    Usage,
    tool_answer,
)
from gateway.dialects.wire.json import json_value

WORDS = st.text(min_size=1, max_size=12)
NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(0, 2**63 - 1)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | FLOATS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=6), VALUES, max_size=4)
OWN = st.dictionaries(st.sampled_from(["keep_alive", "truncate", "shift", "novel"]), VALUES.filter(bool), max_size=3)
OPTIONS = st.dictionaries(st.sampled_from(["num_ctx", "min_p", "mirostat", "numa"]), VALUES, max_size=3)
DURATIONS = st.fixed_dictionaries(
    {},
    optional={
        "total_duration": WHOLE,
        "eval_duration": WHOLE,
        "context": st.lists(WHOLE, max_size=3),
        "remote_host": WORDS,
        "novel": VALUES,
    },
)

_BEGINNINGS = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\x00\x00\x00\x00WEBP",
    "audio/wav": b"RIFF\x00\x00\x00\x00WAVE",
}


@st.composite
def pictures(draw: st.DrawFn) -> Blob:
    """Draw an image, or a sound, of a kind that its bytes tell."""
    mime_type = draw(st.sampled_from(list(_BEGINNINGS)))
    content = _BEGINNINGS[mime_type] + draw(st.binary(min_size=12, max_size=20))
    return Blob(modality=mime_type.partition("/")[0], mime_type=mime_type, content=b64encode(content).decode())


def own(rest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Make an `extra`."""
    return {"ollama": rest} if rest else {}


@st.composite
def tool_calls(draw: st.DrawFn, ids: Iterator[int]) -> ToolCall:
    """Draw a tool call with an id of its own."""
    rest: dict[str, Any] = draw(st.dictionaries(st.just("novel"), VALUES, max_size=1))
    if named := draw(st.dictionaries(st.just("description"), WORDS, max_size=1)):
        rest["function"] = named
    return ToolCall(id=f"id-{next(ids)}", name=draw(NAMES), arguments=draw(OBJECTS), extra=own(rest))


@st.composite
def parts_of_turn(draw: st.DrawFn, ids: Iterator[int] | None, texts: st.SearchStrategy[Text]) -> list[Part]:
    """Draw the parts of one message, in the order in which a message has them."""
    parts: list[Part] = []
    if ids is not None and draw(st.booleans()):
        parts.append(Reasoning(content=draw(WORDS)))
    if draw(st.booleans()):
        parts.append(draw(texts))
    parts += draw(st.lists(pictures(), max_size=2))
    return parts + (draw(st.lists(tool_calls(ids), max_size=2)) if ids is not None else [])


PLAIN = st.builds(Text, content=WORDS)


@st.composite
def messages(draw: st.DrawFn) -> list[Message]:
    """Draw a conversation whose results name what they answer."""
    turns: list[Message] = []
    ids = iter(range(1000))
    for role in draw(st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), max_size=5)):
        extra = own(draw(st.dictionaries(st.just("novel"), VALUES, max_size=1)))
        if role == "tool":
            name = draw(NAMES)
            response = tool_answer(draw(parts_of_turn(None, PLAIN)))
            calls = [p for m in turns for p in m.parts if isinstance(p, ToolCall)]
            answered = {p.id for m in turns for p in m.parts if isinstance(p, ToolCallResponse)}
            waiting = next((c for c in calls if c.id not in answered), None)
            result_of, name = (waiting.id, waiting.name) if waiting is not None else (f"lost-{next(ids)}", name)
            turns.append(
                Message(role=role, parts=[ToolCallResponse(id=result_of, name=name, response=response)], extra=extra)
            )
        else:
            parts = draw(parts_of_turn(ids if role == "assistant" else None, PLAIN))
            turns.append(Message(role=role, parts=parts, extra=extra))
    return turns


@st.composite
def tools(draw: st.DrawFn) -> Tool:
    """Draw a function."""
    rest: dict[str, Any] = draw(st.dictionaries(st.just("items"), VALUES, max_size=1))
    if named := draw(st.dictionaries(st.just("strict"), st.booleans(), max_size=1)):
        rest["function"] = named
    return Tool(
        name=draw(NAMES),
        description=draw(st.none() | WORDS),
        parameters={"type": "object", **draw(OBJECTS)},
        extra=own(rest),
    )


_PARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    "gen_ai.request.max_tokens": WHOLE,
    "gen_ai.request.temperature": FLOATS,
    "gen_ai.request.top_p": FLOATS,
    "gen_ai.request.top_k": WHOLE,
    "gen_ai.request.seed": st.integers(-(2**63), 2**63 - 1),
    "gen_ai.request.stop_sequences": st.lists(WORDS, min_size=1, max_size=3),
    "gen_ai.request.frequency_penalty": FLOATS,
    "gen_ai.request.presence_penalty": FLOATS,
    "gen_ai.request.reasoning.level": st.sampled_from(["low", "medium", "high", "max", "enabled", "disabled"]),
}


@st.composite
def asked(draw: st.DrawFn, operation: str = "chat") -> ChatRequest:
    """Draw a request to chat, or to complete a prompt."""
    form = draw(st.none() | st.just(ResponseFormat(type="json")) | st.builds(_schema, OBJECTS))
    stream = draw(st.booleans())
    parameters = draw(st.fixed_dictionaries({}, optional=_PARAMETERS))
    parameters |= {"gen_ai.request.stream": True} if stream else {}
    parameters |= {"gen_ai.output.type": "json"} if form is not None else {}
    rest: dict[str, Any] = draw(OWN)
    if options := draw(OPTIONS):
        rest["options"] = options
    asks = ChatRequest(
        operation=operation,
        model=draw(WORDS),
        stream=stream,
        parameters=parameters,
        response_format=form,
        logprobs=draw(st.none() | st.booleans()),
        top_logprobs=draw(st.none() | st.integers(0, 20)),
        extra=own(rest),
    )
    if operation == "chat":
        return replace(asks, input_messages=draw(messages()), tools=draw(st.lists(tools(), max_size=2)))
    rest |= draw(st.dictionaries(st.sampled_from(["suffix", "template"]), WORDS))
    rest |= draw(st.dictionaries(st.just("raw"), st.booleans()))
    parts = draw(parts_of_turn(None, PLAIN))
    system = draw(st.lists(PLAIN, max_size=1))
    prompted = [Message(role="user", parts=parts)] if parts else []
    return replace(asks, input_messages=prompted, system_instructions=system, extra=own(rest))


def _schema(schema: dict[str, Any]) -> ResponseFormat:
    return ResponseFormat(type="json_schema", schema=schema)


_TOKENS = st.builds(TokenLogprob, token=WORDS, logprob=FLOATS)
_LIKELY = st.builds(TokenLogprob, token=WORDS, logprob=FLOATS, top=st.lists(_TOKENS, max_size=2))
_TEXTS = st.builds(Text, content=WORDS, logprobs=st.lists(_LIKELY, max_size=2))


@st.composite
def answered(draw: st.DrawFn, *, streamed: bool = False) -> ChatResponse:
    """Draw a response of one message; in a stream, its parts in any order."""
    ids = iter(range(1000))
    if not streamed:
        parts = [p for p in draw(parts_of_turn(ids, _TEXTS)) if not isinstance(p, Blob)]
    else:
        each = st.builds(Reasoning, content=WORDS) | _TEXTS | tool_calls(ids)
        parts = []
        for part in draw(st.lists(each, max_size=6)):
            if not (parts and isinstance(part, Text | Reasoning) and type(part) is type(parts[-1])):
                parts.append(part)
    called = any(isinstance(p, ToolCall) for p in parts)
    words = st.just(("tool_calls", "stop")) if called else st.just(("stop", None))
    reason, word = draw(words | st.sampled_from([("length", None), ("load", None)]))
    counts = draw(st.tuples(st.none() | st.integers(0, 2**40), st.none() | st.integers(0, 2**40)))
    known = [c for c in counts if c is not None]
    total = sum(known) if len(known) == 2 else None
    usage = Usage(input_tokens=counts[0], output_tokens=counts[1], total_tokens=total) if known else None
    return ChatResponse(
        model=draw(WORDS),
        finish_reasons=[reason],
        output_messages=[Message(role="assistant", parts=parts, finish_reason=reason, finish_word=word)],
        usage=usage,
        created=draw(st.integers(0, 4_000_000_000)),
        extra=own(draw(DURATIONS)),
    )


def stream_events(answer: ChatResponse, piece: int = 3) -> Iterator[events.Event]:
    """Yield the events of a stream with this response, its texts cut into pieces of this size."""
    yield events.Begun(model=answer.model, created=answer.created)
    message = answer.output_messages[0]
    for index, part in enumerate(message.parts):
        begun, text = part, ""
        if isinstance(part, ToolCall):
            begun, text = replace(part, arguments=None), msgspec.json.encode(part.arguments).decode()
        elif isinstance(part, Text | Reasoning):
            begun, text = type(part)(content=""), part.content
        yield events.PartBegun(index=index, part=begun)
        for at in range(0, len(text), piece):
            yield events.PartGrown(index=index, text=text[at : at + piece])
        yield events.PartDone(index=index, part=part)
    yield events.ChoiceDone(finish_reason=message.finish_reason, finish_word=message.finish_word, extra=answer.extra)
    if answer.usage is not None:
        yield events.UsageUpdated(usage=answer.usage)
    yield events.Ended()


def folded(emitted: list[events.Event]) -> list[Message]:
    """Fold events into messages, and check the guarantees of every reader."""
    parts: list[Part | None] = []
    grown: list[str] = []
    done: list[Part] = []
    finish: tuple[str | None, str | None] = (None, None)
    ends = [e for e in emitted if isinstance(e, events.Ended | events.Broken)]
    assert isinstance(emitted[0], events.Begun)
    assert sum(isinstance(e, events.Begun) for e in emitted) == 1
    assert ends in ([], emitted[-1:])
    for event in emitted:
        match event:
            case events.PartBegun():
                assert event.index == len(parts)
                parts.append(event.part)
                grown.append("")
            case events.PartGrown():
                assert parts[event.index] is not None
                grown[event.index] += event.text
            case events.PartDone(part=part):
                assert parts[event.index] is not None
                parts[event.index] = None
                done.append(part)
                if isinstance(part, Text | Reasoning):
                    assert grown[event.index] == part.content
                elif isinstance(part, ToolCall):
                    assert json_value(grown[event.index]) == part.arguments
            case events.ChoiceDone():
                assert parts == [None] * len(parts)
                finish = event.finish_reason, event.finish_word
    if not done and finish[0] is None:
        return []
    return [Message(role="assistant", parts=done, finish_reason=finish[0], finish_word=finish[1])]
