"""Hypothesis strategies for Bedrock's Converse, and a stream's events folded into messages."""

from base64 import b64encode
from typing import Any

import msgspec
from hypothesis import assume
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.bedrock.media import format_of, mime_type
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Citation,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    ResponseFormat,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
    Usage,
)
from gateway.dialects.wire.json import json_value

OWN = "bedrock-converse"
ARN = "arn:aws:bedrock:us-east-1"
WORDS = st.text(min_size=1, max_size=12)
NAMES = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
IDS = st.from_regex(r"[a-zA-Z0-9_.:-]{1,64}", fullmatch=True)
WHOLE = st.integers(0, 2**31 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | FLOATS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=6), VALUES, max_size=4)
BYTES = st.binary(min_size=1, max_size=12).map(lambda data: b64encode(data).decode())
MARKS = st.sampled_from([None, None, "default", "5m", "1h"])
WHERE = st.sampled_from(["a.png", "folder/b.pdf", "c"]).map(lambda key: f"s3://my-bucket/{key}")

# Models by what their families take: all the levels here are sent by themselves.
LEVELS = {
    "anthropic.claude-sonnet-4-5-20250929-v1:0": ["enabled", "adaptive", "disabled"],
    "global.anthropic.claude-opus-5-20260701-v1:0": ["low", "medium", "high", "xhigh", "max", "adaptive", "disabled"],
    "us.amazon.nova-2-lite-v1:0": ["low", "medium", "high"],
    "openai.gpt-oss-120b-1:0": ["low", "medium", "high"],
    f"{ARN}:123456789012:application-inference-profile/abc123": ["low", "high", "max"],
    "meta.llama3-1-70b-instruct-v1:0": [],
}
TOP_K = ("anthropic", "nova")


def own(rest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Make an `extra`."""
    return {OWN: rest} if rest else {}


def proven(signature: str) -> dict[str, dict[str, Any]]:
    """Make the `extra` of thinking that is signed; Anthropic's own dialect has it too."""
    return {OWN: {"signature": signature}, "anthropic-messages": {"signature": signature}}


def hidden(data: str) -> dict[str, dict[str, Any]]:
    """Make the `extra` of thinking that only its provider can read."""
    return {OWN: {"redactedContent": data}, "anthropic-messages": {"data": data}}


def formats(modality: str) -> st.SearchStrategy[str]:
    """Draw a media type."""
    named = {"image": "png jpeg gif webp", "document": "pdf csv docx html txt md", "video": "mp4 mov three_gp mkv"}
    named |= {"audio": "mp3 wav flac ogg mka"}
    types = [mime_type(modality, form) or "" for form in named[modality].split()]
    assert all(format_of(modality, each) for each in types)
    return st.sampled_from(types)


@st.composite
def media(draw: st.DrawFn, *kinds: str) -> Part:
    """Draw an image, a document, a video or a sound; `turn` names documents, which all have another name."""
    kind = draw(st.sampled_from(kinds))
    form = draw(formats(kind))
    rest: dict[str, Any] = {}
    name = "document" if kind == "document" else None
    if kind == "document":
        rest = draw(st.fixed_dictionaries({}, optional={"context": WORDS, "citations": st.just({"enabled": True})}))
    if draw(st.booleans()):
        return Blob(modality=kind, mime_type=form, content=draw(BYTES), name=name, extra=own(rest))
    rest |= draw(st.fixed_dictionaries({}, optional={"bucketOwner": st.just("123456789012")}))
    return Uri(modality=kind, mime_type=form, uri=draw(WHERE), name=name, extra=own(rest))


GUARDED = st.builds(
    lambda content, rest: Text(content=content, extra=own({"guardContent": rest})),
    WORDS,
    st.sampled_from([{}, {"qualifiers": ["query"]}]),
)
CITATIONS = st.builds(
    lambda uri, title, quote, rest: Citation(
        uri=None if "location" in rest else uri, title=title, quote=quote, extra=own(rest)
    ),
    st.none() | st.just("https://example.com/a"),
    st.none() | WORDS,
    st.none() | WORDS,
    st.sampled_from([{}, {"location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}}]),
)
FROM_SOURCE = st.builds(
    lambda source, title: Citation(uri=source, title=title, extra=own({"source": source})), WORDS, WORDS
)
CITED = st.builds(Text, content=WORDS, citations=st.lists(CITATIONS | FROM_SOURCE, min_size=1, max_size=2))
PLAIN = st.builds(Text, content=WORDS)
PROVEN = st.builds(
    lambda content, signature: Reasoning(content=content, extra=proven(signature)), st.text(max_size=8), WORDS
)
HIDDEN = BYTES.map(lambda data: Reasoning(content="", extra=hidden(data)))
CALLS = st.builds(ToolCall, id=IDS, name=NAMES, arguments=OBJECTS)
SEARCHED = st.just({"source": "https://example.com", "title": "t", "content": [{"text": "x"}]}).map(
    lambda found: Other(kind="searchResult", value=found, dialect=OWN)
)
OF_JSON = (st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=2)).map(
    lambda value: Other(kind="json", value=value, dialect=OWN)
)
RAN = st.builds(
    lambda number, name, given: ServerToolCall(
        id=number,
        name=name,
        server_tool_call={"type": name, "input": given},
        extra=own({"type": "server_tool_use"}),
    ),
    IDS,
    NAMES,
    OBJECTS,
)
GAVE = st.builds(
    lambda number, content: ServerToolCallResponse(
        id=number,
        server_tool_call_response={"type": "nova_grounding_result", "content": content},
        extra=own({"type": "nova_grounding_result", "status": "success"}),
    ),
    IDS,
    st.lists(st.just({"text": "found"}) | st.just({"json": {"a": 1}}), max_size=2),
)
ANSWERS = st.one_of(
    st.text(max_size=8),
    OBJECTS,
    st.lists(PLAIN | media("image", "document", "video") | SEARCHED | OF_JSON, min_size=2, max_size=3),
    st.lists(media("image", "document", "video") | SEARCHED | OF_JSON, min_size=1, max_size=1),
)
RESULTS = st.builds(ToolCallResponse, id=IDS, response=ANSWERS, is_error=st.booleans())
USERS = PLAIN | GUARDED | media("image", "document", "video", "audio") | SEARCHED
ASSISTANTS = PLAIN | CITED | PROVEN | HIDDEN | CALLS | RAN | GAVE


def distinct_ids(messages: list[Message]) -> bool:
    """Whether each call has an id of its own; a writer renames the others."""
    ids = [part.id for m in messages for part in m.parts if isinstance(part, ToolCall | ServerToolCall)]
    return len(ids) == len(set(ids))


@st.composite
def turns(draw: st.DrawFn) -> list[Message]:
    """Draw turns of users and assistants; tools' results come before or after the user's parts with them."""
    messages: list[Message] = []
    for number in range(draw(st.integers(0, 4))):
        if number % 2:
            messages.append(Message(role="assistant", parts=draw(st.lists(ASSISTANTS, min_size=1, max_size=3))))
            continue
        roles = draw(st.sampled_from([["user"], ["tool"], ["tool", "user"], ["user", "tool"]]))
        for role in roles:
            parts = draw(st.lists(USERS if role == "user" else RESULTS, min_size=1, max_size=3))
            messages.append(Message(role=role, parts=parts))
    assume(distinct_ids(messages))
    documents = iter(range(1000))
    return [replace(m, parts=[named(draw(marked(p)), documents) for p in m.parts]) for m in messages]


def named(part: Part, documents: Any) -> Part:
    """Give each document a name of its own."""
    if isinstance(part, Blob | Uri) and part.modality == "document":
        return replace(part, name=f"document {next(documents)} (draft)")
    if isinstance(part, ToolCallResponse) and isinstance(part.response, list):
        return replace(part, response=[named(each, documents) for each in part.response])
    return part


@st.composite
def marked(draw: st.DrawFn, part: Part) -> Part:
    """Draw a part's cache mark, where it may have one."""
    if isinstance(part, Reasoning | ServerToolCall | ServerToolCallResponse | Other):
        return part
    return replace(part, cache=draw(MARKS))


def plain(part: Part) -> Part:
    """Return a part without what only Claude and Nova take."""
    if isinstance(part, Text):
        return replace(part, citations=[], cache=None)
    if isinstance(part, ToolCallResponse):
        return replace(part, is_error=False, cache=None)
    return replace(part, cache=None) if getattr(part, "cache", None) else part


FUNCTIONS = st.builds(
    Tool,
    name=NAMES,
    description=st.none() | WORDS,
    parameters=OBJECTS,
    strict=st.none() | st.booleans(),
    cache=MARKS,
)
SYSTEM_TOOLS = NAMES.map(lambda name: Tool(name=name, kind="server", extra=own({"systemTool": {"name": name}})))
CHOICES = st.sampled_from([None, ToolChoice(mode="auto"), ToolChoice(mode="required")]) | NAMES.map(
    lambda name: ToolChoice(mode="tool", name=name)
)
FORMATS = st.none() | st.builds(
    ResponseFormat, type=st.just("json_schema"), name=st.none() | WORDS, description=st.none() | WORDS, schema=OBJECTS
)
EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "guardrailConfig": st.just({"guardrailIdentifier": "g1", "guardrailVersion": "1", "trace": "enabled"}),
        "performanceConfig": st.just({"latency": "optimized"}),
        "serviceTier": st.just({"type": "flex"}),
        "promptVariables": st.just({"name": {"text": "value"}}),
        "additionalModelResponseFieldPaths": st.just(["/stop_sequence"]),
        "additionalModelRequestFields": st.just({"anthropic_beta": ["x"], "inferenceConfig": {"seed": 1}}),
    },
)
LABELS = st.from_regex(r"[a-zA-Z0-9 :_@$#=/+,.-]{1,20}", fullmatch=True)


@st.composite
def conversations(draw: st.DrawFn) -> ChatRequest:
    """Draw a request."""
    messages = draw(turns())
    used = any(isinstance(part, ToolCall | ToolCallResponse) for m in messages for part in m.parts)
    tools = draw(st.lists(FUNCTIONS | SYSTEM_TOOLS, min_size=used, max_size=3))
    model = draw(st.sampled_from(list(LEVELS)))
    system = [draw(marked(part)) for part in draw(st.lists(PLAIN | GUARDED, max_size=2))]
    if model.startswith(("openai.", "meta.")):
        messages = [replace(m, parts=[plain(part) for part in m.parts]) for m in messages]
        system = [plain(part) for part in system]
        tools = [replace(tool, cache=None) for tool in tools]
    form = draw(FORMATS)
    stream = draw(st.booleans())
    asked: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "gen_ai.request.max_tokens": st.integers(1, 10_000),
                "gen_ai.request.temperature": st.floats(0, 1),
                "gen_ai.request.top_p": st.floats(0, 1),
                "gen_ai.request.stop_sequences": st.lists(WORDS, min_size=1, max_size=3),
                **({"gen_ai.request.top_k": st.integers(1, 500)} if any(f in model for f in TOP_K) else {}),
                **({"gen_ai.request.reasoning.level": st.sampled_from(LEVELS[model])} if LEVELS[model] else {}),
            },
        )
    )
    if form is not None:
        asked["gen_ai.output.type"] = "json"
    if stream:
        asked["gen_ai.request.stream"] = True
    level = asked.get("gen_ai.request.reasoning.level")
    budget = draw(st.integers(1024, 9999)) if level == "enabled" else None
    shown = draw(st.none() | st.booleans()) if level in {"enabled", "adaptive"} else None
    return ChatRequest(
        operation="chat",
        model=model,
        stream=stream,
        system_instructions=system,
        input_messages=messages,
        parameters=asked,
        tools=tools,
        tool_choice=draw(CHOICES) if tools else None,
        response_format=form,
        reasoning_budget=budget,
        show_reasoning=shown,
        metadata=draw(st.dictionaries(LABELS, LABELS, max_size=3)),
        extra=own(draw(EXTRAS)),
    )


ENDS = st.sampled_from(
    [
        ("stop", "end_turn"),
        ("stop", "stop_sequence"),
        ("tool_calls", "tool_use"),
        ("length", "max_tokens"),
        ("content_filter", "guardrail_intervened"),
        ("content_filter", "content_filtered"),
        ("error", "malformed_tool_use"),
        ("model_context_window_exceeded", None),
    ]
)
BESIDE = st.fixed_dictionaries(
    {"metrics": st.fixed_dictionaries({"latencyMs": WHOLE})},
    optional={
        "additionalModelResponseFields": st.just({"stop_sequence": "END"}),
        "performanceConfig": st.just({"latency": "standard"}),
        "serviceTier": st.just({"type": "default"}),
        "trace": st.just({"promptRouter": {"invokedModelId": f"{ARN}::foundation-model/amazon.nova-lite-v1:0"}}),
        "cacheDetails": st.just([{"ttl": "5m", "inputTokens": 3}]),
    },
)
PICTURES = st.builds(Blob, modality=st.just("image"), mime_type=formats("image"), content=BYTES)
RESPONSE_PARTS = st.one_of(
    st.builds(Text, content=st.text(max_size=12)), CITED, PROVEN, HIDDEN, CALLS, RAN, GAVE, PICTURES
)


@st.composite
def answers(draw: st.DrawFn) -> ChatResponse:
    """Draw a response."""
    reason, word = draw(ENDS)
    read, write = draw(st.none() | WHOLE), draw(st.none() | WHOLE)
    taken, made = draw(WHOLE) + (read or 0) + (write or 0), draw(WHOLE)
    message = Message(
        role="assistant", parts=draw(st.lists(RESPONSE_PARTS, max_size=4)), finish_reason=reason, finish_word=word
    )
    assume(distinct_ids([message]))
    return ChatResponse(
        finish_reasons=[reason],
        output_messages=[message],
        usage=Usage(
            input_tokens=taken,
            output_tokens=made,
            total_tokens=taken + made,
            cache_read_tokens=read,
            cache_write_tokens=write,
        ),
        extra=own(draw(BESIDE)),
    )


def folded(emitted: list[events.Event]) -> list[Message]:
    """Make the message that events tell of, by what grew, and check that they come in order."""
    assert isinstance(emitted[0], events.Begun)
    begun: list[Part] = []
    grown: list[str] = []
    done: dict[int, Part] = {}
    end: events.ChoiceDone | None = None
    for number, event in enumerate(emitted):
        assert isinstance(event, events.Begun) == (number == 0)
        assert not isinstance(event, events.Broken | events.Ended) or number == len(emitted) - 1
        match event:
            case events.PartBegun():
                assert end is None
                assert event.index == len(begun)
                begun.append(event.part)
                grown.append("")
            case events.PartGrown():
                assert end is None
                assert event.text
                assert event.index < len(begun)
                assert event.index not in done
                grown[event.index] += event.text
            case events.PartDone():
                assert end is None
                assert event.index < len(begun)
                assert event.index not in done
                done[event.index] = event.part
            case events.ChoiceDone():
                assert end is None
                assert len(done) == len(begun)
                end = event
    parts = [done.get(i, whole(part, grown[i])) for i, part in enumerate(begun)]
    for i, part in done.items():
        if isinstance(part, Text | Reasoning | Refusal):
            assert part.content == grown[i]
        elif isinstance(part, ToolCall):
            assert part.arguments == json_value(grown[i])
    if not parts and (end is None or end.finish_reason is None):
        return []
    reason, word = (end.finish_reason, end.finish_word) if end else (None, None)
    return [Message(role="assistant", parts=parts, finish_reason=reason, finish_word=word)]


def whole(part: Part, text: str) -> Part:
    """Return what a part that has not ended is so far."""
    match part:
        case Text() | Reasoning() | Refusal():
            return replace(part, content=text)
        case ToolCall():
            return replace(part, arguments=json_value(text))
        case ServerToolCall():
            return replace(part, server_tool_call={**part.server_tool_call, "input": json_value(text)})
    return part


def jsonable(value: Any) -> Any:
    """Return a value as it is after a way through JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))
