"""Responses of generateContent and streamGenerateContent, out of the conversation form. Pure."""

from datetime import UTC, datetime

import msgspec

from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Citation,
    Extra,
    Message,
    Text,
    TokenLogprob,
    Usage,
)
from gateway.dialects.gemini.errors import error_body
from gateway.dialects.gemini.read_parts import NAME, pick
from gateway.dialects.gemini.read_response import FINISH_WORDS
from gateway.dialects.gemini.write_parts import Json, PartWriter
from gateway.dialects.shared.writer import Dropped
from gateway.dialects.wire.json import count, fields, merged

_FINISH = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY", "error": "OTHER"}


def write_response(response: ChatResponse, request: ChatRequest, now: float) -> tuple[bytes, list[str]]:  # noqa: ARG001
    """Write a whole response."""
    dropped = Dropped()
    if (response.error_type or response.error_message) and not response.output_messages:
        return error_body(response.error_type, response.error_message), dropped.names
    blocked = _blocked(response)
    body: Json = {
        "candidates": [
            _candidate(message, number, PartWriter(dropped, carry=True))
            for number, message in enumerate(response.output_messages)
            if message.parts or not blocked
        ]
    }
    body |= _about(response.id, response.model or request.model, response.created)
    own = response.extra.get(NAME, {})
    if response.usage is not None:
        body["usageMetadata"] = _usage(response.usage, fields(own.get("usageMetadata")), dropped)
    dropped.foreign(response.extra, NAME)
    if response.conversation_id:
        dropped.add("conversation")
    if not body["candidates"]:
        del body["candidates"]
    return msgspec.json.encode(merged(body, own)), dropped.names


def _blocked(response: ChatResponse) -> bool:
    """Whether there is no candidate since the prompt was blocked."""
    return bool(pick(fields(pick(response.extra.get(NAME, {}), "promptFeedback")), "blockReason"))


def _about(response_id: str | None, model: str | None, created: int | None) -> Json:
    about: Json = {}
    if model is not None:
        about["modelVersion"] = model
    if response_id is not None:
        about["responseId"] = response_id
    if created is not None:
        about["createTime"] = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
    return about


def _candidate(message: Message, number: int, writing: PartWriter) -> Json:
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
    """Return the fields beside a candidate's content: Gemini's own, else the sources of its texts."""
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
    """Write sources: each once, and the places in the texts, in bytes, that they support."""
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
    members = {"uri": citation.uri, "title": citation.title, "text": citation.quote}
    return {kind: {key: value for key, value in members.items() if value is not None}}


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
