"""Hypothesis strategies for Anthropic's messages."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Citation,
    Compaction,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    ResponseFormat,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
)
from gateway.dialects.shared import parameters as name
from tests.dialects import drawing as d

NAME = "anthropic-messages"
MARKS = st.none() | d.MARKS


def own(**fields: Any) -> dict[str, dict[str, Any]]:
    """Make an `extra`."""
    return {NAME: fields}


CITATIONS: st.SearchStrategy[Citation] = st.one_of(
    st.builds(
        Citation,
        uri=d.ADDRESSES,
        title=st.none() | d.WORDS,
        quote=d.WORDS,
        extra=st.just(own(type="web_search_result_location", encrypted_index="Eo8=")),
    ),
    st.builds(
        Citation,
        title=st.none() | d.WORDS,
        quote=d.WORDS,
        extra=st.just(own(type="char_location", document_index=0, start_char_index=1, end_char_index=9)),
    ),
)
SIGNED = st.builds(Reasoning, content=st.text(d.LETTERS, max_size=9), extra=d.BASE64.map(lambda s: own(signature=s)))
HIDDEN = st.builds(Reasoning, content=st.just(""), extra=d.BASE64.map(lambda s: own(data=s)))
TEXTS = st.builds(Text, content=d.PROSE, cache=MARKS)
CITING = st.builds(Text, content=d.PROSE, citations=st.lists(CITATIONS, max_size=2))
DOCUMENT = d.maybe(NAME, context=d.WORDS, citations=st.just({"enabled": True}))
MEDIA: st.SearchStrategy[Part] = st.one_of(
    d.images(cache=MARKS),
    d.documents(cache=MARKS, extra=DOCUMENT),
    st.builds(Uri, modality=st.sampled_from(["image", "document"]), uri=d.ADDRESSES),
    st.builds(File, modality=st.sampled_from(["image", "document"]), file_id=d.NAMES),
    st.builds(Text, content=d.WORDS, extra=d.maybe(NAME, title=d.WORDS).map(lambda e: own(document=e.get(NAME, {})))),
)
SERVED: st.SearchStrategy[Part] = st.one_of(
    st.builds(
        ServerToolCall,
        id=d.NAMES,
        name=st.just("web_search"),
        server_tool_call=d.OBJECTS.map(lambda o: {"type": "web_search", "input": o}),
    ),
    st.builds(
        ServerToolCall,
        id=d.NAMES,
        name=st.just("find"),
        server_tool_call=d.OBJECTS.map(lambda o: {"type": "find", "input": o, "server_name": "docs"}),
    ),
    st.builds(
        ServerToolCallResponse,
        id=d.NAMES,
        server_tool_call_response=d.VALUES.map(lambda v: {"type": "web_search_tool_result", "content": v}),
    ),
)
OTHERS = st.builds(
    Other, kind=st.just("search_result"), value=d.OBJECTS.map(lambda v: {"x": v}), dialect=st.just(NAME), cache=MARKS
)
CALLED = d.maybe(NAME, caller=st.just({"type": "code_execution_20260120", "tool_id": "s"}))


@st.composite
def results(draw: st.DrawFn) -> ToolCallResponse:
    """Draw what a tool gave back: a text, or parts that are not one text alone."""
    listed = st.lists(st.builds(Text, content=d.PROSE) | d.images(), min_size=1, max_size=3)
    response: Any = draw(st.text(d.LETTERS, max_size=9) | listed)
    if isinstance(response, list) and len(response) == 1 and isinstance(response[0], Text):
        response = response[0].content
    return ToolCallResponse(id=draw(d.NAMES), response=response, is_error=draw(st.booleans()), cache=draw(MARKS))


@st.composite
def messages(draw: st.DrawFn) -> list[Message]:
    """Draw a conversation; a turn with both is written as the tool's and the user's."""
    ids = iter(range(1000))
    turns: list[Message] = []
    of_role: dict[str, st.SearchStrategy[Part]] = {
        "user": TEXTS | MEDIA | OTHERS,
        "assistant": CITING | SIGNED | HIDDEN | d.calls(ids, cache=MARKS, extra=CALLED) | SERVED | compactions(),
        "tool": results(),
    }
    for role in draw(st.lists(st.sampled_from(["user", "assistant", "tool"]), max_size=5)):
        if turns and turns[-1].role == role and role != "user":
            continue
        turns.append(Message(role=role, parts=draw(st.lists(of_role[role], min_size=1, max_size=4))))
    return turns


def compactions() -> st.SearchStrategy[Compaction]:
    """Draw a compaction, which replaces earlier turns."""
    return st.builds(Compaction, content=d.WORDS, extra=d.maybe(NAME, encrypted_content=d.BASE64))


SCHEMAS = st.builds(
    lambda kind, more: {"type": "object", "properties": {"a": {"type": kind}}, "additionalProperties": False, **more},
    st.sampled_from(["string", "integer", ["string", "null"]]),
    st.fixed_dictionaries({}, optional={"required": st.just(["a"]), "title": d.WORDS}),
)
FUNCTIONS = st.builds(
    Tool,
    name=d.NAMES,
    description=st.none() | d.WORDS,
    parameters=SCHEMAS,
    strict=st.none() | st.booleans(),
    cache=MARKS,
    extra=d.maybe(NAME, defer_loading=st.booleans(), input_examples=st.just([{"a": "b"}])),
)
SERVER = st.just(Tool(name="web_search", kind="server", extra=own(type="web_search_20260209", name="web_search")))
_PARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    name.TEMPERATURE: st.floats(0, 1),
    name.TOP_P: d.FLOATS,
    name.TOP_K: d.COUNTS,
    name.STOP_SEQUENCES: st.lists(d.PROSE, min_size=1, max_size=3),
}
_OWN = {"service_tier": st.just("auto"), "novel": d.VALUES, "container": st.just({"id": "c"})}
_UNTHOUGHT: dict[str, Any] = {"level": None, "budget": None, "shown": None}


@st.composite
def thinking(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a model's thinking settings: a budget for older ones, an effort for others."""
    if draw(st.booleans()):
        level = draw(st.sampled_from([None, "disabled", "enabled"]))
        budget = draw(st.integers(1024, 9999)) if level == "enabled" else None
        model = draw(st.sampled_from(["claude-sonnet-4-5", "claude-haiku-4-5-20251001"]))
        effort = draw(st.sampled_from([None, "low", "high"])) if budget else None
        level = effort or level
    else:
        model = draw(st.sampled_from(["claude-sonnet-5", "claude-opus-4-7"]))
        level = draw(st.sampled_from([None, "disabled", "adaptive", "low", "medium", "high", "xhigh", "max"]))
        budget = None
    thinks = level not in {None, "disabled"}
    shown = draw(st.none() | st.booleans()) if thinks else None
    return {"model": model, "level": level, "budget": budget, "shown": shown, "thinks": thinks}


@st.composite
def asked(draw: st.DrawFn) -> ChatRequest:
    """Draw a request; what is refused beside thinking is not asked with it."""
    stream = draw(st.booleans())
    form = draw(st.none() | st.builds(ResponseFormat, type=st.just("json_schema"), schema=SCHEMAS))
    thought = draw(thinking())
    known = {} if thought["thinks"] else _PARAMETERS
    parameters = d.parameters(draw, known, stream=stream, form=form)
    parameters[name.MAX_TOKENS] = draw(st.integers(10_000, 64_000))
    if thought["level"]:
        parameters[name.REASONING_LEVEL] = thought["level"]
    tools = draw(st.lists(FUNCTIONS | SERVER, max_size=3, unique_by=lambda tool: tool.name))
    modes = [ToolChoice(mode=mode) for mode in ("auto", "none")]
    if not thought["thinks"]:
        modes += [ToolChoice(mode="required"), *(ToolChoice(mode="tool", name=tool.name) for tool in tools)]
    choice = draw(st.none() | st.sampled_from(modes)) if tools else None
    parallel = draw(st.none() | st.booleans()) if choice is not None and choice.mode != "none" else None
    turns = draw(messages())
    if thought["thinks"]:
        turns = [replace(turn, parts=_led(turn)) for turn in turns]
    return ChatRequest(
        operation="chat",
        model=thought["model"],
        stream=stream,
        system_instructions=draw(st.lists(TEXTS, max_size=2)),
        input_messages=turns,
        parameters=parameters,
        user=draw(st.none() | d.WORDS),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=form,
        reasoning_budget=thought["budget"],
        show_reasoning=thought["shown"],
        extra=d.of(NAME, draw(st.fixed_dictionaries({}, optional=_OWN))),
    )


def _led(turn: Message) -> list[Part]:
    """Return a turn's parts; the model's begin with thinking, as they do where it thinks."""
    first = [Reasoning(content="Hm.", extra=own(signature="EqQB"))] if turn.role == "assistant" else []
    return [*first, *turn.parts]


_ENDS = [
    ("stop", "end_turn"),
    ("stop", "stop_sequence"),
    ("length", "max_tokens"),
    ("length", "model_context_window_exceeded"),
    ("content_filter", "refusal"),
    ("pause_turn", None),
]


@st.composite
def answered(draw: st.DrawFn) -> ChatResponse:
    """Draw a response."""
    ids: Iterator[int] = iter(range(1000))
    each: st.SearchStrategy[Part] = CITING | SIGNED | HIDDEN | d.calls(ids, extra=CALLED) | SERVED
    parts = draw(st.lists(each, max_size=6))
    called = any(isinstance(part, ToolCall) for part in parts)
    reason, word = ("tool_calls", "tool_use") if called else draw(st.sampled_from(_ENDS))
    extra = own(stop_sequence="END") if word == "stop_sequence" else {}
    if word == "refusal" and draw(st.booleans()):
        extra = own(stop_details={"type": "refusal", "category": "cyber", "explanation": None})
    read, written = draw(st.none() | d.COUNTS), draw(st.none() | d.COUNTS)
    usage = draw(d.usages(reasoning_tokens=st.none() | d.COUNTS))
    fresh = (usage.input_tokens or 0) + (read or 0) + (written or 0)
    return ChatResponse(
        id=draw(d.WORDS),
        model=draw(d.WORDS),
        finish_reasons=[reason],
        output_messages=[Message(role="assistant", parts=parts, finish_reason=reason, finish_word=word, extra=extra)],
        usage=replace(
            usage,
            input_tokens=fresh,
            total_tokens=fresh + (usage.output_tokens or 0),
            cache_read_tokens=read,
            cache_write_tokens=written,
        ),
    )
