"""InvokeModel's bodies, which are the model maker's own: read by their shape, and streamed in chunks of the same JSON.

Anthropic's messages, Converse's form (Nova) and OpenAI's chats have readers already. Prompts and completions (Llama,
Titan, Cohere, Mistral, legacy Claude) are read here. Of any other body the trace has the token counts, which AWS adds:
in headers of a whole response, in the last chunk of a stream. Sources: AWS, "InvokeModel",
"InvokeModelWithResponseStream", "Inference request parameters and response fields".
"""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from gateway.dialects import Dialect
from gateway.dialects.anthropic import MESSAGES
from gateway.dialects.bedrock.read_parts import NAME
from gateway.dialects.bedrock.read_request import read_request as read_converse_request
from gateway.dialects.bedrock.read_response import read_response as read_converse_response
from gateway.dialects.bedrock.read_stream import ConverseStreamReader
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Text, Usage
from gateway.dialects.openai_chat import CHAT_COMPLETIONS
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.parameters import parameters
from gateway.dialects.shared.reported_error import ReportedError, is_failure
from gateway.dialects.shared.stream_reader import EventReader
from gateway.dialects.shared.usage import CountNames, merged_usage, usage_beside_cache
from gateway.dialects.wire.eventstream import EventStreamDecoder
from gateway.dialects.wire.json import count, decode, fields, objects, text
from gateway.dialects.wire.sse import Event
from gateway.semconv import CHAT, EMBEDDINGS, GENERATE_CONTENT

_ABSENT = Raw()


class _Shape(Struct, gc=False):
    """The members by which a body's maker is known."""

    type: Any = None
    anthropic_version: Raw = _ABSENT
    messages: Raw = _ABSENT
    output: Raw = _ABSENT
    choices: Raw = _ABSENT


_SHAPE = msgspec.json.Decoder(_Shape)
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_TURNS = msgspec.json.Decoder(list[Any])

_FINISH_REASONS = {
    "length": ("MAX_TOKENS", "LENGTH", "max_tokens", "length"),
    "stop": ("COMPLETE", "FINISH", "FINISHED", "STOP_CRITERIA_MET", "endoftext", "stop_sequence", "stop"),
    "content_filter": ("CONTENT_FILTERED", "ERROR_TOXIC"),
}
_REASON = {word: reason for reason, words in _FINISH_REASONS.items() for word in words}

_METRICS = "amazon-bedrock-invocationMetrics"
_METRIC_NAMES = CountNames(
    input_tokens="inputTokenCount",
    output_tokens="outputTokenCount",
    cache_read="cacheReadInputTokenCount",
    cache_write="cacheWriteInputTokenCount",
)
_COUNT = re.compile(r"[0-9]{1,18}")
_HEADERS = {
    metric: f"x-amzn-bedrock-{words}-token-count"
    for metric, words in (
        ("inputTokenCount", "input"),
        ("outputTokenCount", "output"),
        ("cacheReadInputTokenCount", "cache-read-input"),
        ("cacheWriteInputTokenCount", "cache-write-input"),
    )
}


def read_request(body: bytes) -> ChatRequest:
    """Read a request's body."""
    shape = decode(body, _SHAPE)
    if shape is None:
        return ChatRequest(operation=CHAT)
    if shape.anthropic_version is not _ABSENT:
        return MESSAGES.read_request(body) if shape.messages is not _ABSENT else _prompted(body)
    if shape.messages is _ABSENT:
        return _prompted(body)
    return read_converse_request(body) if _of_converse(shape.messages) else CHAT_COMPLETIONS.read_request(body)


def read_counted(body: bytes) -> ChatRequest:
    """Read a CountTokens request, which has the one whose tokens are counted: Converse's, or an InvokeModel body."""
    counted = fields(fields(decode(body, _OBJECT)).get("input"))
    if "converse" in counted:
        return read_converse_request(msgspec.json.encode(counted["converse"]))
    return read_request(_decoded(fields(counted.get("invokeModel")).get("body")) or b"")


def _of_converse(turns: Raw) -> bool:
    """Whether the blocks of a conversation have no `type`, as Converse's have none."""
    for turn in objects(decode(bytes(turns), _TURNS)):
        for block in objects(turn.get("content")):
            return "type" not in block
    return False


def _prompted(body: bytes) -> ChatRequest:
    """Read a request that has a prompt, or texts to embed."""
    request = fields(decode(body, _OBJECT))
    config = {**request, **fields(request.get("textGenerationConfig"))}
    prompts = [request.get(field) for field in ("prompt", "inputText", "message", "texts")]
    texts = [each for given in prompts for each in (given if isinstance(given, list) else [given])]
    parts = [Text(content=each) for each in texts if isinstance(each, str) and each]
    return ChatRequest(
        operation=CHAT,
        input_messages=[Message(role="user", parts=list(parts))] if parts else [],
        parameters=parameters(
            {
                name.MAX_TOKENS: _first(
                    config, "max_gen_len", "maxTokenCount", "max_tokens", "max_tokens_to_sample", "maxTokens"
                ),
                name.TEMPERATURE: config.get("temperature"),
                name.TOP_P: _first(config, "top_p", "topP", "p"),
                name.TOP_K: _first(config, "top_k", "topK", "k"),
                name.STOP_SEQUENCES: _first(config, "stop_sequences", "stopSequences", "stop"),
                name.DIMENSION_COUNT: _first(config, "dimensions", "output_dimension"),
            }
        ),
    )


def _first(values: Mapping[str, Any], *names: str) -> Any:
    """Return the first of several members that is not null."""
    return next((value for each in names if (value := values.get(each)) is not None), None)


def read_response(body: bytes) -> ChatResponse:
    """Read a whole response, or an error body."""
    shape = decode(body, _SHAPE)
    if shape is None:
        return ChatResponse()
    if shape.type in ("message", "error"):  # of any JSON type
        return MESSAGES.read_response(body)
    if shape.output is not _ABSENT:
        return read_converse_response(body)
    completion = _Completion()
    if completion.add(fields(decode(body, _OBJECT))):
        return completion.response()
    return CHAT_COMPLETIONS.read_response(body) if shape.choices is not _ABSENT else read_converse_response(body)


class _Completion:
    """A completion of a prompt, whole or as far as its chunks have come; `usage` if it counts tokens."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._word: str | None = None
        self._id: str | None = None
        self._counts: dict[str, Any] = {}

    def add(self, chunk: dict[str, Any]) -> bool:
        """Add a whole response, or one chunk; return whether it has any member of a completion."""
        known = False
        for each in _completed(chunk):
            piece = _first(each, "completion", "generation", "outputText", "text")
            word = _first(each, "stop_reason", "completionReason", "finish_reason")
            known = known or isinstance(piece, str) or (isinstance(word, str) and "message" not in each)
            if isinstance(piece, str) and piece:
                self.pieces.append(piece)
            self._word = text(word) or self._word
        counts = {
            "input": _first(chunk, "prompt_token_count", "inputTextTokenCount"),
            "output": _first(chunk, "generation_token_count", "totalOutputTextTokenCount"),
        }
        if counts["output"] is None and (of_results := list(objects(chunk.get("results")))):
            counts["output"] = sum(count(each.get("tokenCount")) or 0 for each in of_results)
        self._counts |= {key: value for key, value in counts.items() if count(value) is not None}
        self._id = self._id or text(chunk.get("id")) or text(chunk.get("generation_id"))
        return known or "input" in self._counts or _embeds(chunk)

    def response(self) -> ChatResponse:
        """Return the response so far."""
        reason = _REASON.get(self._word or "", "error" if is_failure(self._word) else self._word)
        word = None if reason == self._word else self._word
        parts = [Text(content="".join(self.pieces))] if self.pieces else []
        message = Message(role="assistant", parts=list(parts), finish_reason=reason, finish_word=word)
        names = CountNames(input_tokens="input", output_tokens="output", cache_read="", cache_write="")
        return ChatResponse(
            id=self._id,
            finish_reasons=[reason] if reason else [],
            output_messages=[message] if parts or reason else [],
            usage=usage_beside_cache(self._counts, names),
        )


def _embeds(chunk: dict[str, Any]) -> bool:
    return "embedding" in chunk or "embeddings" in chunk


def _completed(chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a response that may have a piece of text: itself, or those of its list."""
    yield {key: value for key, value in chunk.items() if key != "message"}
    for field in ("results", "outputs", "generations", "choices"):
        yield from objects(chunk.get(field))


def read_headers(headers: Mapping[str, str]) -> Usage | None:
    """Return the tokens that AWS counts in a response's headers, whose names are in lower case."""
    counted = {
        metric: int(value) for metric, each in _HEADERS.items() if _COUNT.fullmatch(value := headers.get(each, ""))
    }
    return usage_beside_cache(counted, _METRIC_NAMES)


class _Chunk(Struct, gc=False):
    bytes: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)


class InvokeStreamReader(EventReader):
    """Reads chunks, each with the base64 of one event of the maker's own stream, by the reader of that stream."""

    def __init__(self) -> None:
        super().__init__(EventStreamDecoder())
        self._inner: EventReader | None = None
        self._completion = _Completion()
        self._metrics: dict[str, Any] = {}

    @property
    def unread(self) -> int:
        """The number of unreadable events."""
        return super().unread + (self._inner.unread if self._inner is not None else 0)

    def _take(self, event: Event) -> bool:
        kind, _, word = (event.name or "").partition(" ")
        if kind in {"exception", "error"}:
            self._fail(ReportedError(text(word), text(fields(decode(event.data, _OBJECT)).get("message"))))
            return True
        inner = _inner_json(event.data) if kind == "chunk" else None
        chunk = decode(inner, _OBJECT) if inner is not None else None
        if inner is None or chunk is None:
            return False
        read = self._read(chunk, inner)
        if metrics := fields(chunk.get(_METRICS)):
            self._metrics = metrics
            self.ended = True
        return read

    def _read(self, chunk: dict[str, Any], inner: bytes) -> bool:
        """Read one event of the maker's."""
        if self._inner is None:
            self._inner = _reader_of(chunk)
        if self._inner is None:
            known = self._has_room(len(inner)) and (self._completion.add(chunk) or _METRICS in chunk)
            self.first_output = bool(self._completion.pieces)
            return known
        if isinstance(self._inner, ConverseStreamReader):
            for key, value in chunk.items():
                if key in _CONVERSE_EVENTS:
                    self._inner.take(Event(key, msgspec.json.encode(value)))
        else:
            self._inner.take(Event(None, inner))
        self.first_output = self._inner.first_output
        self.ended = self.ended or self._inner.ended
        self.expects_end = self._inner.expects_end
        return True

    def reported(self) -> dict[str, Any]:
        """Return the members that the billing is read from: the maker's own, and AWS's counts among the usage."""
        members = {} if self._inner is None else self._inner.reported()
        return members | {"usage": fields(members.get("usage")) | self._metrics}

    def response(self) -> ChatResponse:
        """Return the response as read so far."""
        read = self._completion.response() if self._inner is None else self._inner.response()
        usage = merged_usage(usage_beside_cache(self._metrics, _METRIC_NAMES), read.usage)
        if not any(self._error):
            return structs.replace(read, usage=usage)
        return structs.replace(read, usage=usage, error_type=self._error.type, error_message=self._error.message)


_CONVERSE_EVENTS = frozenset(
    "messageStart contentBlockStart contentBlockDelta contentBlockStop messageStop metadata".split()
)


def _reader_of(chunk: dict[str, Any]) -> EventReader | None:
    """Return the reader of a stream that begins with this event; None for chunks of a completion."""
    if "choices" in chunk:
        reader = CHAT_COMPLETIONS.stream_reader()
    elif chunk.keys() & _CONVERSE_EVENTS:
        reader = ConverseStreamReader()
    elif isinstance(chunk.get("type"), str) and "completion" not in chunk:
        reader = MESSAGES.stream_reader()
    else:
        return None
    return reader if isinstance(reader, EventReader) else None


def _inner_json(data: bytes) -> bytes | None:
    """Return the bytes in a chunk."""
    chunk = decode(data, _CHUNK)
    return None if chunk is None else _decoded(chunk.bytes)


def _decoded(value: Any) -> bytes | None:
    """Return the bytes of a text in base64."""
    try:
        return b64decode(value) if isinstance(value, str) else None
    except ValueError:
        return None


INVOKE = Dialect(
    name="bedrock-invoke",
    part_of=NAME,
    traced_as="bedrock-invoke",
    trace_only=True,
    read_request=read_request,
    read_response=read_response,
    read_usage_headers=read_headers,
    stream_reader=InvokeStreamReader,
)

_EMBEDDINGS = structs.replace(INVOKE, name="bedrock-invoke-embeddings", operation=EMBEDDINGS)
_IMAGES = structs.replace(INVOKE, name="bedrock-invoke-images", operation=GENERATE_CONTENT)
_KINDS = (("embed", _EMBEDDINGS), ("image", _IMAGES), ("canvas", _IMAGES), ("stability.", _IMAGES))

INVOCATIONS = (INVOKE, _EMBEDDINGS, _IMAGES)


def invocation(model: str) -> Dialect:
    """Return the operation of a model, whose name alone shows what the model makes.

    >>> invocation("amazon.titan-embed-text-v2:0").operation, invocation("us.amazon.nova-pro-v1:0").operation
    ('embeddings', 'chat')
    """
    return next((dialect for word, dialect in _KINDS if word in model), INVOKE)
