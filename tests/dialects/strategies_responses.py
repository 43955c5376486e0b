"""Hypothesis strategies for OpenAI's Responses."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Citation,
    Compaction,
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
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
)
from gateway.dialects.shared import parameters as name
from tests.dialects import drawing as d

NAME = "openai-responses"


def own(**fields: Any) -> dict[str, dict[str, Any]]:
    """Make an `extra`."""
    return {NAME: fields}


DETAILED = d.maybe(NAME, detail=st.sampled_from(["low", "high"]))
CONTENT: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, content=d.WORDS),
    d.images(extra=DETAILED),
    st.builds(Uri, modality=st.just("image"), uri=d.ADDRESSES, extra=DETAILED),
    st.builds(File, modality=st.just("image"), file_id=d.NAMES, extra=DETAILED),
    st.builds(
        Blob, modality=st.just("audio"), mime_type=st.sampled_from(["audio/mpeg", "audio/wav"]), content=d.BASE64
    ),
    d.documents(),
    st.builds(Uri, modality=st.just("document"), uri=d.ADDRESSES, name=st.none() | d.NAMES),
    st.builds(File, modality=st.just("document"), file_id=d.NAMES),
    st.builds(Other, kind=st.just("input_novel"), value=d.OBJECTS.map(lambda v: {"x": v}), dialect=st.just(NAME)),
)
PHASED = d.maybe(NAME, phase=st.sampled_from(["commentary", "final_answer"]))


def proofs(numbers: Iterator[int]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw what proves reasoning: its id, and perhaps its encrypted form."""
    return st.builds(
        lambda sealed: own(id=f"rs_{next(numbers)}", **({"encrypted_content": sealed} if sealed else {})),
        st.none() | d.BASE64,
    )


@st.composite
def thoughts(draw: st.DrawFn, numbers: Iterator[int], *, most: int = 3) -> list[Part]:
    """Draw one item of reasoning: hidden, or in some parts, of which the last has the proof."""
    *texts, last = draw(st.lists(d.WORDS, max_size=most)) or [""]
    return [*(Reasoning(content=text) for text in texts), Reasoning(content=last, extra=draw(proofs(numbers)))]


@st.composite
def served(draw: st.DrawFn, numbers: Iterator[int]) -> list[Part]:
    """Draw a call of a tool that the provider ran, and its result."""
    ident = f"s-{next(numbers)}"
    kind = draw(st.sampled_from(["web_search", "code_interpreter", "image_generation"]))
    item = f"{kind}_call"
    status = draw(st.sampled_from([{}, own(status="failed")]))
    about = draw(st.dictionaries(st.sampled_from(["action", "code", "novel"]), d.WORDS, max_size=2))
    if kind == "image_generation":
        call = {"type": item, "output_format": "webp", **about}
        image = Blob(modality="image", mime_type="image/webp", content=draw(d.BASE64))
        return [ServerToolCall(id=ident, name=kind, server_tool_call=call, extra=status), image]
    parts: list[Part] = [ServerToolCall(id=ident, name=kind, server_tool_call={"type": item, **about}, extra=status)]
    if draw(st.booleans()):
        result = {"type": item, "outputs": draw(st.lists(d.OBJECTS, max_size=2))}
        parts.append(ServerToolCallResponse(id=ident, server_tool_call_response=result))
    return parts


@st.composite
def messages_of_model(draw: st.DrawFn, texts: st.SearchStrategy[Text]) -> list[Part]:
    """Draw the texts of one message of the model's; its phase comes with its first text."""
    parts: list[Part] = draw(st.lists(texts | st.builds(Refusal, content=d.WORDS), min_size=1, max_size=3))
    first = parts[0]
    return [replace(first, extra=draw(PHASED)), *parts[1:]] if isinstance(first, Text) else parts


def calls(ids: Iterator[int]) -> st.SearchStrategy[Part]:
    """Draw a call that the client is to run."""
    shell = st.builds(
        lambda n: ToolCall(
            id=f"call-{n}",
            name="local_shell",
            arguments={"action": {"type": "exec", "command": ["ls"]}},
            extra=own(type="local_shell_call", id=f"sh_{n}"),
        ),
        st.builds(lambda: next(ids)),
    )
    named = st.builds(
        lambda call, namespace: replace(call, namespace=namespace),
        d.calls(ids) | d.custom_calls(ids),
        st.none() | d.NAMES,
    )
    return st.one_of(named, shell)


@st.composite
def results(draw: st.DrawFn) -> ToolCallResponse:
    """Draw what a tool gave back."""
    listed = st.lists(CONTENT, min_size=1, max_size=3)
    response: Any = draw(st.text(d.LETTERS, max_size=9) | listed)
    if isinstance(response, list) and len(response) == 1 and isinstance(response[0], Text):
        response = response[0].content
    return ToolCallResponse(id=draw(d.NAMES), response=response, custom=draw(st.booleans()))


@st.composite
def messages(draw: st.DrawFn) -> list[Message]:
    """Draw a conversation."""
    turns: list[Message] = []
    ids, numbers = iter(range(1000)), iter(range(1000))
    other = st.just([Other(kind="item_reference", value={"id": "msg_9"}, dialect=NAME)])
    compaction = d.BASE64.map(lambda sealed: [Compaction(id="cmp_1", extra=own(encrypted_content=sealed))])
    items = st.one_of(
        thoughts(numbers), served(numbers), calls(ids).map(lambda call: [call]), other, compaction, st.just([])
    )
    for role in draw(st.lists(st.sampled_from(["system", "developer", "user", "assistant", "tool"]), max_size=5)):
        if turns and turns[-1].role == role and role in {"assistant", "tool"}:
            continue
        parts: list[Part]
        if role == "assistant":
            texts = draw(st.lists(messages_of_model(st.builds(Text, content=d.WORDS)), max_size=1))
            around = [draw(st.lists(items, max_size=2)) for _ in range(2)]
            parts = [part for item in [*around[0], *texts, *around[1]] for part in item]
            parts = parts or [Text(content="a")]
        elif role == "tool":
            parts = list(draw(st.lists(results(), min_size=1, max_size=2)))
        elif role == "user":
            parts = draw(st.lists(CONTENT, max_size=3))
        else:
            parts = list(draw(st.lists(st.builds(Text, content=d.WORDS), max_size=2)))
        turns.append(Message(role=role, parts=parts))
    return turns


FUNCTIONS = st.builds(
    Tool,
    name=d.NAMES,
    description=st.none() | d.WORDS,
    parameters=st.none() | d.OBJECTS,
    strict=st.just(value=False),
    extra=d.maybe(NAME, defer_loading=st.booleans()),
) | st.builds(Tool, name=d.NAMES, parameters=st.just(d.STRICT), strict=st.just(value=True))
CUSTOM = st.builds(
    Tool,
    name=d.NAMES,
    kind=st.just("custom"),
    description=st.none() | d.WORDS,
    extra=d.maybe(NAME, format=st.just({"type": "grammar", "syntax": "lark", "definition": "start: WORD"})),
)
SERVER = st.just(Tool(name="web_search", kind="server", extra=own(type="web_search", x=1)))
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
    name.PREVIOUS_RESPONSE_ID: d.NAMES,
    name.REASONING_LEVEL: st.sampled_from(d.LEVELS),
}
_OWN = {
    "store": st.just(value=True),
    "truncation": st.just("auto"),
    "include": st.just(["reasoning.encrypted_content"]),
    "text": st.just({"verbosity": "low"}),
    "reasoning": st.just({"mode": "pro"}),
    "novel": d.VALUES,
}


@st.composite
def asked(draw: st.DrawFn) -> ChatRequest:
    """Draw a request."""
    stream = draw(st.booleans())
    form = draw(FORMS)
    tools = draw(st.lists(FUNCTIONS | CUSTOM | SERVER, max_size=3, unique_by=lambda tool: tool.name))
    chosen = [ToolChoice(mode="tool", name=tool.name) for tool in tools if tool.kind != "server"]
    hosted = ToolChoice(mode="auto", extra=own(type="web_search"))
    modes = [ToolChoice(mode=mode) for mode in ("auto", "none", "required")]
    logprobs = draw(st.none() | st.just(value=True))
    system = draw(st.none() | d.WORDS)
    return ChatRequest(
        operation="chat",
        model=draw(d.WORDS),
        stream=stream,
        system_instructions=[Text(content=system)] if system else [],
        input_messages=draw(messages()),
        parameters=d.parameters(draw, _PARAMETERS, stream=stream, form=form),
        conversation_id=draw(st.none() | d.NAMES),
        user=draw(st.none() | d.WORDS),
        tools=tools,
        tool_choice=draw(st.none() | st.sampled_from([*modes, hosted, *chosen])) if tools else None,
        parallel_tool_calls=draw(st.none() | st.booleans()) if tools else None,
        response_format=form,
        show_reasoning=draw(st.none() | st.just(value=True)),
        logprobs=logprobs,
        top_logprobs=draw(st.integers(0, 20)) if logprobs else None,
        metadata=draw(st.dictionaries(d.NAMES, d.WORDS, max_size=2)),
        extra=d.of(NAME, draw(st.fixed_dictionaries({}, optional=_OWN))),
    )


@st.composite
def texts(draw: st.DrawFn) -> Text:
    """Draw a text with where it comes from, and how likely its tokens were."""
    text = draw(d.WORDS)
    filed = st.builds(Citation, title=d.WORDS, extra=st.just(own(type="file_citation", file_id="f", index=1)))
    citations = draw(st.lists(d.cited(text, d.ADDRESSES) | filed, max_size=2))
    return Text(content=text, citations=citations, logprobs=draw(st.lists(d.LIKELY, max_size=2)))


@st.composite
def answered(draw: st.DrawFn, *, streamed: bool = False) -> ChatResponse:
    """Draw a response; what follows a message is no other message, whose texts would be the same one's.

    In a stream the id of reasoning comes at its beginning; only the part with the proof has it.
    """
    ids, numbers = iter(range(1000)), iter(range(1000))
    call = calls(ids).map(lambda each: [each])
    kinds = {
        "message": messages_of_model(texts()),
        "call": call,
        "thought": thoughts(numbers, most=1 if streamed else 3),
        "served": served(numbers),
    }
    parts: list[Part] = []
    last = ""
    for kind in draw(st.lists(st.sampled_from(list(kinds)), max_size=5)):
        if kind != last or kind == "call":
            parts += draw(kinds[kind])
        last = kind
    done = "tool_calls" if any(isinstance(part, ToolCall) for part in parts) else "stop"
    ends = [(done, None), ("length", "max_output_tokens"), ("content_filter", None)]
    reason, word = draw(st.sampled_from(ends))
    counts = dict.fromkeys(("cache_read_tokens", "cache_write_tokens"), d.COUNTS)
    return ChatResponse(
        id=draw(d.WORDS),
        model=draw(d.WORDS),
        finish_reasons=[reason],
        output_messages=[Message(role="assistant", parts=parts, finish_reason=reason, finish_word=word)],
        usage=draw(st.none() | d.usages(**counts, reasoning_tokens=st.just(0))),
        conversation_id=None,
        created=draw(st.integers(1, 4_000_000_000)),
    )
