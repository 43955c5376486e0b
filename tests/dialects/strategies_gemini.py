"""Hypothesis strategies for Gemini's API, and a stream's events made and folded again."""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Extra,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    ResponseFormat,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
    Usage,
)
from gateway.dialects.events import synthesize
from gateway.dialects.shared import parameters as name
from gateway.dialects.wire.json import json_value

WORDS = st.text(min_size=1, max_size=12)
NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 2**40)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | FLOATS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=6), VALUES, max_size=4)
BASE64 = st.binary(min_size=1, max_size=24).map(lambda data: b64encode(data).decode())
SIGNATURES = st.fixed_dictionaries({"thoughtSignature": BASE64})
MODELS = st.sampled_from(["gemini-3-flash", "gemini-3.1-pro-preview", "gemini-2.5-flash", "tunedModels/mine", "a/b:8b"])


def own(fields: dict[str, Any]) -> Extra:
    """Make an `extra`."""
    return {"gemini": fields} if fields else {}


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Extra]:
    """Draw an `extra` of some of these fields."""
    return st.fixed_dictionaries({}, optional=fields).map(own)


_MEDIA = ["image/png", "audio/wav", "video/mp4", "application/pdf"]
_LOOKED_AT = maybe(mediaResolution=st.just({"level": "MEDIA_RESOLUTION_LOW"}), videoMetadata=OBJECTS.filter(bool))


@st.composite
def media(draw: st.DrawFn) -> Part:
    """Draw data that is inline, elsewhere, or kept by the provider."""
    mime_type = draw(st.sampled_from(_MEDIA))
    kind = mime_type.partition("/")[0]
    modality = kind if kind != "application" else "document"
    about: dict[str, Any] = {"modality": modality, "mime_type": mime_type, "extra": draw(_LOOKED_AT)}
    about["name"] = draw(st.none() | WORDS)
    return draw(
        st.sampled_from(
            [
                Blob(content=draw(BASE64), **about),
                Uri(uri=draw(st.sampled_from(["gs://b/x", "https://example.com/x"])), **about),
                File(file_id="https://generativelanguage.googleapis.com/v1beta/files/f", **about),
            ]
        )
    )


def texts(extra: st.SearchStrategy[Extra]) -> st.SearchStrategy[Part]:
    """Draw a text or a thought of the model."""
    return st.builds(Text, content=WORDS, extra=extra) | st.builds(Reasoning, content=WORDS, extra=extra)


@st.composite
def tool_calls(draw: st.DrawFn, ids: Iterator[int]) -> ToolCall:
    """Draw a call with an id of its own."""
    extra = draw(maybe(thoughtSignature=BASE64, partMetadata=OBJECTS.filter(bool)))
    return ToolCall(id=f"id-{next(ids)}", name=draw(NAMES), arguments=draw(OBJECTS), extra=extra)


SERVER_TOOLS = st.one_of(
    st.builds(
        ServerToolCall,
        id=st.none() | NAMES,
        name=st.just("code_execution"),
        server_tool_call=WORDS.map(lambda c: {"type": "code_execution", "language": "PYTHON", "code": c}),
    ),
    st.builds(
        ServerToolCallResponse,
        id=st.none() | NAMES,
        server_tool_call_response=WORDS.map(lambda o: {"type": "code_execution", "outcome": "OUTCOME_OK", "output": o}),
    ),
    st.builds(
        ServerToolCall,
        id=st.none() | NAMES,
        name=st.just("GOOGLE_SEARCH_WEB"),
        server_tool_call=OBJECTS.map(lambda a: {"type": "GOOGLE_SEARCH_WEB", "args": a}),
    ),
    st.builds(
        ServerToolCallResponse,
        server_tool_call_response=OBJECTS.map(lambda a: {"type": "URL_CONTEXT", "response": a}),
    ),
    st.builds(
        Other,
        kind=st.just("audioTranscription"),
        value=OBJECTS.map(lambda v: {"audioTranscription": v or {"text": "a"}}),
        dialect=st.just("gemini"),
    ),
)


@st.composite
def results(draw: st.DrawFn, *, shown: bool) -> ToolCallResponse:
    """Draw what a function gave back; `shown`: media too."""
    response: Any = draw(st.text(max_size=9) | OBJECTS.filter(lambda o: not o.keys() & {"output", "result", "error"}))
    if shown and draw(st.booleans()):
        texts: list[Part] = [Text(content=draw(WORDS))] if draw(st.booleans()) else []
        response = texts + draw(st.lists(media(), min_size=1, max_size=2))
    return ToolCallResponse(
        id=draw(NAMES),
        name=draw(NAMES),
        response=response,
        is_error=draw(st.booleans()),
        extra=draw(maybe(functionResponse=st.just({"scheduling": "WHEN_IDLE"}))),
    )


@st.composite
def messages(draw: st.DrawFn, *, shown: bool) -> list[Message]:
    """Draw a conversation, in which the results of several tools are one turn."""
    ids = iter(range(1000))
    turns: list[Message] = []
    for role in draw(st.lists(st.sampled_from(["user", "assistant", "tool"]), max_size=5)):
        if role != "user" and turns and turns[-1].role == role:
            continue  # they would be one turn
        of_role: dict[str, st.SearchStrategy[Part]] = {
            "user": st.builds(Text, content=WORDS) | media(),
            "assistant": texts(maybe(thoughtSignature=BASE64)) | tool_calls(ids) | SERVER_TOOLS,
            "tool": results(shown=shown),
        }
        parts = draw(st.lists(of_role[role], min_size=1, max_size=4))
        turns.append(Message(role=role, parts=parts, extra=draw(maybe(novel=VALUES))))
    return turns


FUNCTIONS = st.builds(
    Tool,
    name=NAMES,
    description=st.none() | WORDS,
    parameters=st.none() | OBJECTS,
    extra=maybe(behavior=st.just("BLOCKING"), responseJsonSchema=OBJECTS.filter(bool)),
)
SERVERS = st.sampled_from(["googleSearch", "codeExecution", "urlContext"]).map(
    lambda key: Tool(name=key, kind="server", extra=own({key: {}}))
)
CHOICES = st.sampled_from(
    [
        ToolChoice(mode="auto"),
        ToolChoice(mode="none"),
        ToolChoice(mode="required"),
        ToolChoice(mode="required", allowed=["a", "b"], extra=own({"allowedFunctionNames": ["a", "b"]})),
        ToolChoice(mode="tool", name="a"),
        ToolChoice(mode="auto", extra=own({"mode": "VALIDATED"})),
        ToolChoice(mode="auto", extra=own({"streamFunctionCallArguments": True})),
    ]
)
_PARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    name.MAX_TOKENS: COUNTS,
    name.TEMPERATURE: FLOATS,
    name.TOP_P: FLOATS,
    name.TOP_K: COUNTS,
    name.SEED: st.integers(-(2**31), 2**31 - 1),
    name.STOP_SEQUENCES: st.lists(WORDS, min_size=1, max_size=3),
    name.FREQUENCY_PENALTY: FLOATS,
    name.PRESENCE_PENALTY: FLOATS,
    name.CHOICE_COUNT: st.integers(2, 8),
}
FORMS = st.sampled_from([None, ResponseFormat(type="text"), ResponseFormat(type="json")]) | st.builds(
    ResponseFormat, type=st.just("json_schema"), schema=OBJECTS
)
_OUTPUT = {"text": "text", "json": "json", "json_schema": "json"}
_EXTRA: dict[str, st.SearchStrategy[Any]] = {
    "safetySettings": st.lists(OBJECTS, max_size=2),
    "cachedContent": WORDS,
    "labels": OBJECTS,
    "novel": VALUES,
    "generationConfig": st.just({"mediaResolution": "MEDIA_RESOLUTION_LOW", "novel": {"a": 1}}),
    "toolConfig": st.just({"retrievalConfig": {"languageCode": "de"}}),
}


@st.composite
def asked(draw: st.DrawFn) -> ChatRequest:
    """Draw a request."""
    model = draw(MODELS)
    stream = draw(st.booleans())
    form = draw(FORMS)
    early = model.startswith("gemini-2")
    parameters = draw(st.fixed_dictionaries({}, optional=_PARAMETERS))
    parameters |= {name.STREAM: True} if stream else {}
    parameters |= {name.OUTPUT_TYPE: _OUTPUT[form.type]} if form is not None else {}
    level = None if early else draw(st.sampled_from([None, "low", "medium", "high", "xhigh"]))
    parameters |= {name.REASONING_LEVEL: level} if level is not None else {}
    functions = draw(st.lists(FUNCTIONS, max_size=3))
    turns = draw(messages(shown=not early))
    return ChatRequest(
        operation="generate_content",
        model=model,
        stream=stream,
        system_instructions=draw(st.lists(st.builds(Text, content=WORDS), max_size=2)) if turns else [],
        input_messages=turns,
        parameters=parameters,
        tools=functions + draw(st.lists(SERVERS, max_size=2)),
        tool_choice=draw(st.none() | CHOICES) if functions else None,
        response_format=form,
        reasoning_budget=draw(st.none() | st.integers(-1, 32768)) if level is None else None,
        show_reasoning=draw(st.none() | st.booleans()),
        logprobs=draw(st.none() | st.booleans()),
        top_logprobs=draw(st.none() | st.integers(0, 20)),
        extra=own(draw(st.fixed_dictionaries({}, optional=_EXTRA))),
    )


_TOKENS = st.builds(TokenLogprob, token=WORDS, logprob=FLOATS)
LIKELY = st.builds(TokenLogprob, token=WORDS, logprob=FLOATS, top=st.lists(_TOKENS, max_size=2))
_ENDS = [("length", "MAX_TOKENS"), ("content_filter", "SPII"), ("error", "MALFORMED_FUNCTION_CALL"), ("OTHER", None)]


@st.composite
def choice(draw: st.DrawFn, ids: Iterator[int], *, streamed: bool) -> Message:
    """Draw an output message; in a stream, texts that follow each other are one unless a signature ends the first."""
    parts: list[Part] = []
    each = texts(maybe(thoughtSignature=BASE64)) | tool_calls(ids) | media().filter(lambda p: isinstance(p, Blob))
    for part in draw(st.lists(each | SERVER_TOOLS, max_size=5)):
        same = bool(parts) and isinstance(part, Text | Reasoning) and type(part) is type(parts[-1])
        if not (streamed and same and not parts[-1].extra):
            parts.append(part)
    first = next((i for i, part in enumerate(parts) if isinstance(part, Text)), None)
    if first is not None:
        parts[first] = replace(parts[first], logprobs=draw(st.lists(LIKELY, max_size=2)))
    called = any(isinstance(part, ToolCall) for part in parts)
    reason, word = draw(st.just(("tool_calls", "STOP") if called else ("stop", None)) | st.sampled_from(_ENDS))
    extra = draw(maybe(avgLogprobs=FLOATS, safetyRatings=st.just([{"category": "HARM_CATEGORY_HARASSMENT"}])))
    return Message(role="assistant", parts=parts, finish_reason=reason, finish_word=word, extra=extra)


@st.composite
def usages(draw: st.DrawFn, of_tools: int) -> Usage:
    """Draw usage; `of_tools` of its input are what tools put into the prompt."""
    prompt, text, thought = draw(COUNTS), draw(COUNTS), draw(st.none() | COUNTS)
    output = text + (thought or 0)
    return Usage(
        input_tokens=prompt + of_tools,
        output_tokens=output,
        total_tokens=prompt + of_tools + output,
        cache_read_tokens=draw(st.none() | COUNTS),
        reasoning_tokens=thought,
    )


@st.composite
def answered(draw: st.DrawFn, *, streamed: bool = False) -> ChatResponse:
    """Draw a response."""
    ids = iter(range(1000))
    outputs = draw(st.lists(choice(ids, streamed=streamed), min_size=1, max_size=2))
    rest: dict[str, Any] = draw(st.dictionaries(st.sampled_from(["modelStatus", "novel"]), VALUES, max_size=2))
    usage = None
    if draw(st.booleans()):
        of_tools = draw(st.integers(0, 99))
        usage = draw(usages(of_tools))
        if of_tools:
            rest["usageMetadata"] = {"toolUsePromptTokenCount": of_tools, "trafficType": "ON_DEMAND"}
    return ChatResponse(
        id=draw(WORDS),
        model=draw(WORDS),
        finish_reasons=[m.finish_reason for m in outputs if m.finish_reason],
        output_messages=outputs,
        usage=usage,
        created=draw(st.none() | st.integers(0, 4_000_000_000)),
        extra=own(rest),
    )


def stream_events(answer: ChatResponse, piece: int = 3) -> Iterator[events.Event]:
    """Yield the events of a stream with this response, its texts cut into pieces of this size."""
    for event in synthesize(answer):
        if isinstance(event, events.PartGrown):
            for at in range(0, len(event.text), piece):
                yield replace(event, text=event.text[at : at + piece])
        else:
            yield event


def folded(emitted: Iterable[events.Event]) -> list[Message]:
    """Fold events into messages, and check the guarantees of every reader."""
    emitted = list(emitted)
    parts: dict[int, dict[int, Part]] = {}
    grown: dict[tuple[int, int], str] = {}
    messages: dict[int, Message] = {}
    assert isinstance(emitted[0], events.Begun)
    assert sum(isinstance(e, events.Begun) for e in emitted) == 1
    assert [e for e in emitted if isinstance(e, events.Ended | events.Broken)] in ([], emitted[-1:])
    for event in emitted:
        match event:
            case events.PartBegun(index=index, choice=number):
                assert number not in messages
                assert index == sum(1 for n, _ in grown if n == number)
                grown[number, index] = ""
                assert getattr(event.part, "arguments", None) is None
            case events.PartGrown(index=index, choice=number):
                assert event.text
                assert index not in parts.get(number, {})
                grown[number, index] += event.text
            case events.PartDone(index=index, choice=number, part=part):
                assert number not in messages
                assert index not in parts.setdefault(number, {})
                parts[number][index] = part
                if isinstance(part, Text | Reasoning | Refusal):
                    assert grown[number, index] == part.content
                elif isinstance(part, ToolCall):
                    assert json_value(grown[number, index]) == part.arguments
            case events.ChoiceDone(choice=number):
                assert len(parts.get(number, {})) == sum(1 for n, _ in grown if n == number)
                messages[number] = Message(
                    role="assistant",
                    parts=[part for _, part in sorted(parts.get(number, {}).items())],
                    finish_reason=event.finish_reason,
                    finish_word=event.finish_word,
                    extra=event.extra,
                )
    return [message for _, message in sorted(messages.items())]
