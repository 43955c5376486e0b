"""Responses of generateContent and streamGenerateContent, out of the conversation form. Pure."""

from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Citation,
    Extra,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    Usage,
)
from gateway.dialects.gemini.errors import error_body, error_fields
from gateway.dialects.gemini.fields import NAME, pick
from gateway.dialects.gemini.read_response import FINISH_WORDS
from gateway.dialects.gemini.write_parts import Json, Writing
from gateway.dialects.shared.unsupported import Dropped
from gateway.dialects.shared.writer import StreamWriter
from gateway.dialects.wire.json import count, fields, merged

_FINISH = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY", "error": "OTHER"}


def write_response(answered: ChatResponse, asked: ChatRequest, now: float) -> tuple[bytes, list[str]]:  # noqa: ARG001
    """Write a whole response."""
    dropped = Dropped()
    if (answered.error_type or answered.error_message) and not answered.output_messages:
        return error_body(answered.error_type, answered.error_message), dropped.names
    blocked = _blocked(answered)
    body: Json = {
        "candidates": [
            _candidate(message, number, Writing(dropped, carry=True))
            for number, message in enumerate(answered.output_messages)
            if message.parts or not blocked
        ]
    }
    body |= _about(answered.id, answered.model or asked.model, answered.created)
    own = answered.extra.get(NAME, {})
    if answered.usage is not None:
        body["usageMetadata"] = _usage(answered.usage, fields(own.get("usageMetadata")), dropped)
    dropped.foreign(answered.extra, NAME)
    if answered.conversation_id:
        dropped.add("conversation")
    if not body["candidates"]:
        del body["candidates"]
    return msgspec.json.encode(merged(body, own)), dropped.names


def _blocked(answered: ChatResponse) -> bool:
    """Whether there is no candidate since the prompt was blocked."""
    return bool(pick(fields(pick(answered.extra.get(NAME, {}), "promptFeedback")), "blockReason"))


def _about(response_id: str | None, model: str | None, created: int | None) -> Json:
    about: Json = {}
    if model is not None:
        about["modelVersion"] = model
    if response_id is not None:
        about["responseId"] = response_id
    if created is not None:
        about["createTime"] = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
    return about


def _candidate(message: Message, number: int, writing: Writing) -> Json:
    path = f"output[{number}]"
    parts: list[Json] = []
    texts: list[tuple[int, Text]] = []
    for index, part in enumerate(message.parts):
        written = writing.part(part, f"{path}.parts[{index}]")
        if written is not None:
            if isinstance(part, Text):
                texts.append((len(parts), part))
            parts.append(written)
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": number}
    if logprobs := [each for _, part in texts for each in part.logprobs]:
        candidate["logprobsResult"] = _logprobs(logprobs)
    ended = _ended(message.finish_reason, message.finish_word, path, writing.dropped)
    return merged(candidate | ended, _own(message.extra, texts, path, writing.dropped))


def _ended(reason: str | None, word: str | None, path: str, dropped: Dropped) -> Json:
    if word in FINISH_WORDS or reason in FINISH_WORDS:
        return {"finishReason": word if word in FINISH_WORDS else reason}
    if reason is None:
        return {}
    if reason not in _FINISH:
        dropped.add(f"{path}: {reason}")
    return {"finishReason": _FINISH.get(reason, "OTHER")}


def _own(extra: Extra, texts: list[tuple[int, Text]], path: str, dropped: Dropped) -> Json:
    """Return what stands beside a candidate's content: what Gemini said itself, else the sources of its texts."""
    dropped.foreign(extra, NAME, path)
    own = extra.get(NAME, {})
    if pick(own, "groundingMetadata") is not None or pick(own, "citationMetadata") is not None:
        return own
    for index, text in texts:
        for citation in text.citations:
            dropped.foreign(citation.extra, NAME, f"{path}.parts[{index}].citations")
    grounding = _grounding(texts)
    return {"groundingMetadata": grounding, **own} if grounding else own


def _grounding(texts: list[tuple[int, Text]]) -> Json:
    """Write sources: each once, and the places in the texts, in bytes, that they are told for."""
    chunks: list[Json] = []
    supports: list[Json] = []
    for index, part in texts:
        for citation in part.citations:
            chunk = _chunk(citation)
            if chunk not in chunks:
                chunks.append(chunk)
            segment = _segment(citation, part.content, index)
            if supports and supports[-1]["segment"] == segment:
                supports[-1]["groundingChunkIndices"].append(chunks.index(chunk))
            else:
                supports.append({"segment": segment, "groundingChunkIndices": [chunks.index(chunk)]})
    return {"groundingChunks": chunks, "groundingSupports": supports} if supports else {}


def _chunk(citation: Citation) -> Json:
    kind = "web" if citation.uri is not None and citation.quote is None else "retrievedContext"
    said = {"uri": citation.uri, "title": citation.title, "text": citation.quote}
    return {kind: {key: value for key, value in said.items() if value is not None}}


def _segment(citation: Citation, content: str, index: int) -> Json:
    segment: Json = {"partIndex": index} if index else {}
    if citation.start is not None:
        segment["startIndex"] = _bytes(content, citation.start)
    if citation.end is not None:
        segment["endIndex"] = _bytes(content, citation.end)
        segment["text"] = content[citation.start or 0 : citation.end]
    return segment


def _bytes(content: str, place: int) -> int:
    return place if content.isascii() else len(content[:place].encode("utf-8", "replace"))


def _logprobs(tokens: list[TokenLogprob]) -> Json:
    result: Json = {"chosenCandidates": [_token(each) for each in tokens]}
    if any(each.top for each in tokens):
        result["topCandidates"] = [{"candidates": [_token(other) for other in each.top]} for each in tokens]
    return result


def _token(token: TokenLogprob) -> Json:
    return {"token": token.token, "logProbability": token.logprob}


def _usage(usage: Usage, own: Json, dropped: Dropped) -> Json:
    """Write usage; the output's reasoning and the input's share of tools are counted apart here."""
    prompt, output = usage.input_tokens, usage.output_tokens
    if prompt is not None:
        prompt -= count(pick(own, "toolUsePromptTokenCount")) or 0
    if output is not None and usage.reasoning_tokens is not None:
        output = max(0, output - usage.reasoning_tokens)
    if usage.cache_write_tokens:
        dropped.add("usage.cache_write_tokens")
    written = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": output,
        "thoughtsTokenCount": usage.reasoning_tokens,
        "cachedContentTokenCount": usage.cache_read_tokens,
        "totalTokenCount": usage.total_tokens,
    }
    return {key: value for key, value in written.items() if value is not None}


class GeminiStreamWriter(StreamWriter):
    """Writes a stream: an event for each piece of content, and one that ends it, with the usage.

    A call's arguments leave once they are whole, since the Gemini API has no other way to say them.
    """

    def __init__(self, asked: ChatRequest, *, as_array: bool = False) -> None:
        super().__init__()
        self.content_type = "application/json" if as_array else "text/event-stream"
        self._as_array = as_array
        self._writing = Writing(self._dropped, carry=True)
        self._about = _about(None, asked.model, None)
        self._first: Json = {}  # what is said once
        self._usage: Usage | None = None  # that has not been said yet
        self._own_usage: Json = {}
        self._growing: dict[tuple[int, int], Part] = {}
        self._texts: dict[int, list[tuple[int, Text]]] = {}
        self._finished: list[Json] = []  # waits for the usage, which comes in the same event
        self._wrote = False

    def _write(self, event: events.Event) -> bytes:
        match event:
            case events.Begun():
                self._begin(event)
            case events.PartBegun():
                self._growing[event.choice, event.index] = event.part
                if isinstance(event.part, Refusal):
                    self._dropped.add(f"output[{event.choice}].parts[{event.index}]: refusal")
            case events.PartGrown():
                return self._grow(event)
            case events.PartDone():
                return self._part_done(event)
            case events.ChoiceDone():
                self._finished.append(self._choice_done(event))
            case events.UsageTold():
                self._usage = event.usage
                return self._end() if self._finished else b""
            case events.Broken():
                ended = self._end() if self._finished else b""
                return ended + self._frame({"error": error_fields(event.type, event.message)}) + self._close()
            case events.Ended():
                return self._end() + self._close()
        return b""

    def _begin(self, event: events.Begun) -> None:
        self._about |= _about(event.id, event.model, event.created)
        self._dropped.foreign(event.extra, NAME)
        self._first = dict(event.extra.get(NAME, {}))
        self._own_usage = fields(self._first.pop("usageMetadata", None))
        self._usage = event.usage

    def _grow(self, event: events.PartGrown) -> bytes:
        match self._growing.get((event.choice, event.index)):
            case Text() | Refusal():
                return self._content(event.choice, {"text": event.text})
            case Reasoning():
                return self._content(event.choice, {"text": event.text, "thought": True})
        return b""

    def _part_done(self, event: events.PartDone) -> bytes:
        part = event.part
        self._growing.pop((event.choice, event.index), None)
        if isinstance(part, Text) and part.citations:
            self._texts.setdefault(event.choice, []).append((event.index, part))
        said = replace(part, content="") if isinstance(part, Text | Reasoning | Refusal) else part
        written = self._writing.part(said, f"output[{event.choice}].parts[{event.index}]")
        late = {"logprobsResult": _logprobs(part.logprobs)} if isinstance(part, Text) and part.logprobs else {}
        if written is None:
            return self._frame({"candidates": [{"index": event.choice, **late}]}) if late else b""
        return self._content(event.choice, written, late)

    def _choice_done(self, event: events.ChoiceDone) -> Json:
        path = f"output[{event.choice}]"
        # clients keep a turn in their history only if each of its events has a part
        candidate: Json = {"content": {"parts": [{"text": ""}], "role": "model"}, "index": event.choice}
        ended = _ended(event.finish_reason, event.finish_word, path, self._dropped)
        own = _own(event.extra, self._texts.pop(event.choice, []), path, self._dropped)
        return merged(candidate | ended, own)

    def _content(self, choice: int, part: Json, late: Json | None = None) -> bytes:
        content = {"parts": [part], "role": "model"}
        return self._frame({"candidates": [{"content": content, "index": choice, **(late or {})}]})

    def _end(self) -> bytes:
        """Write the event that ends the candidates that have finished, with what is known of the usage."""
        chunk: Json = {"candidates": self._finished} if self._finished else {}
        self._finished = []
        if self._usage is not None:
            chunk["usageMetadata"] = _usage(self._usage, self._own_usage, self._dropped) | self._own_usage
            self._usage = None
        return self._frame(chunk) if chunk or not self._wrote else b""

    def _frame(self, chunk: Json) -> bytes:
        first, self._first = self._first, {}
        data = msgspec.json.encode(merged(chunk | self._about, first))
        head = b"," if self._wrote else b"["
        self._wrote = True
        return head + data + b"\r\n" if self._as_array else b"data: " + data + b"\n\n"

    def _close(self) -> bytes:
        return b"]" if self._as_array else b""


def stream(asked: ChatRequest, now: float) -> GeminiStreamWriter:  # noqa: ARG001
    """Return a writer of server-sent events."""
    return GeminiStreamWriter(asked)


def array_stream(asked: ChatRequest, now: float) -> GeminiStreamWriter:  # noqa: ARG001
    """Return a writer of one JSON array, for a client that did not ask for `alt=sse`."""
    return GeminiStreamWriter(asked, as_array=True)
