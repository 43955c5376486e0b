"""Gemini's responses: candidates, finish reasons, usage, sources, log probabilities. Pure."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.dialects.conversation import ChatResponse, Citation, Message, Part, Text, TokenLogprob, ToolCall, Usage
from gateway.dialects.gemini.read_messages import read_parts
from gateway.dialects.gemini.read_parts import NAME, pick, rest
from gateway.dialects.shared.reported_error import error_of, is_failure
from gateway.dialects.wire.json import count, decode, fields, objects, text

_FINISH_REASONS = {"STOP": "stop", "MAX_TOKENS": "length"}
_FINISH_REASONS |= dict.fromkeys(
    "SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION "
    "MODEL_ARMOR JAILBREAK".split(),
    "content_filter",
)
_FINISH_REASONS |= dict.fromkeys(
    "MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS MISSING_THOUGHT_SIGNATURE "
    "MALFORMED_RESPONSE".split(),
    "error",
)

# All words that a client knows.
FINISH_WORDS = frozenset(_FINISH_REASONS) | frozenset(
    "LANGUAGE OTHER IMAGE_OTHER NO_IMAGE ESCALATION PUP_LIMITED_DISABLED CONTINUATION".split()
)

KNOWN = frozenset("candidates usageMetadata modelVersion responseId createTime error".split())
_CANDIDATE = frozenset({"content", "finishReason", "index", "logprobsResult"})
_USAGE = frozenset(
    "promptTokenCount candidatesTokenCount thoughtsTokenCount cachedContentTokenCount totalTokenCount".split()
)


def read_finish(word: Any, *, called: bool) -> tuple[str | None, str | None]:
    """Return the finish reason in the common vocabulary, and Gemini's if it is another. Calls end with STOP too."""
    reported = text(word)
    if reported is None or reported == "FINISH_REASON_UNSPECIFIED":
        return None, None
    known = _FINISH_REASONS.get(reported, "error" if is_failure(reported) else reported)
    reason = "tool_calls" if reported == "STOP" and called else known
    return reason, None if reported.lower() == reason or reported == reason else reported


def read_blocked(feedback: Any) -> tuple[str | None, str | None]:
    """Return the two words for a prompt that was blocked; None if it was not."""
    reason = text(pick(fields(feedback), "blockReason"))
    return ("content_filter", reason) if reason else (None, None)


def read_usage(reported: Any, *, whole: bool) -> Usage | None:
    """Read usage, whose candidates' tokens leave out those of thoughts, and whose prompt those of tools.

    Counts that are 0 are left out. So once the response is whole, the total beyond the prompt is the output.
    """
    usage = fields(reported)
    if not usage:
        return None
    input_tokens = count(pick(usage, "promptTokenCount"))
    of_tools = count(pick(usage, "toolUsePromptTokenCount"))
    if input_tokens is not None:
        input_tokens += of_tools or 0
    of_candidates = count(pick(usage, "candidatesTokenCount"))
    of_thoughts = count(pick(usage, "thoughtsTokenCount"))
    total_tokens = count(pick(usage, "totalTokenCount"))
    output_tokens = None
    if of_candidates is not None or of_thoughts is not None:
        output_tokens = (of_candidates or 0) + (of_thoughts or 0)
    elif whole and input_tokens is not None and total_tokens is not None and total_tokens >= input_tokens:
        output_tokens = total_tokens - input_tokens
    if total_tokens is None and input_tokens is not None and output_tokens is not None:
        total_tokens = input_tokens + output_tokens
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=total_tokens,
        cache_read_tokens=count(pick(usage, "cachedContentTokenCount")),
        reasoning_tokens=of_thoughts,
    )


def read_created(created: Any) -> int | None:
    """Return Vertex's time (RFC 3339) as Unix seconds."""
    try:
        return int(datetime.fromisoformat(created).timestamp()) if isinstance(created, str) else None
    except (ValueError, OverflowError):
        return None


def read_logprobs(result: Any) -> list[TokenLogprob]:
    """Read the probabilities of the tokens that were chosen, and of those that might have been."""
    result = fields(result)
    top = list(objects(pick(result, "topCandidates")))
    return [
        replace(token, top=_tokens(top[i].get("candidates")) if i < len(top) else [])
        for i, token in enumerate(_tokens(pick(result, "chosenCandidates")))
    ]


def _tokens(candidates: Any) -> list[TokenLogprob]:
    return [
        TokenLogprob(token=token, logprob=float(value))
        for each in objects(candidates)
        if isinstance(token := each.get("token"), str)
        and isinstance(value := pick(each, "logProbability"), int | float)
    ]


def own_fields(candidate: dict[str, Any]) -> dict[str, Any]:
    """Return a candidate's fields that have no place in a message."""
    return rest(candidate, _CANDIDATE)


def own_usage(reported: Any) -> dict[str, Any]:
    """Return the counts that usage has no place for."""
    return rest(fields(reported), _USAGE)


def cited(parts: list[Part], own: dict[str, Any]) -> list[Part]:
    """Return the parts with their sources, which are in the candidate's fields."""
    found = list(_citations(own))
    if not found:
        return parts
    result = list(parts)
    for index, citation in found:
        at = _text_at(result, index)
        part = result[at] if at is not None else None
        if at is not None and isinstance(part, Text):
            result[at] = replace(part, citations=[*part.citations, _in_characters(citation, part.content)])
    return result


def _text_at(parts: list[Part], index: int) -> int | None:
    """Return the index of the text that a source supports: `index`, or the first one after it, or the first of all."""
    texts = [i for i, part in enumerate(parts) if isinstance(part, Text)]
    return next((i for i in texts if i >= index), texts[0] if texts else None)


def _citations(own: dict[str, Any]) -> list[tuple[int, Citation]]:
    """Return sources and the indexes of their parts; places are in bytes."""
    found = []
    metadata = fields(pick(own, "citationMetadata"))
    # the Gemini API has another name for them than Vertex
    for source in objects(pick(metadata, "citationSources") or metadata.get("citations")):
        more = rest(source, frozenset({"uri", "title", "startIndex", "endIndex"}))
        start, end = _place(source)
        found.append(
            (
                0,
                Citation(
                    uri=text(source.get("uri")),
                    title=text(source.get("title")),
                    start=start,
                    end=end,
                    extra={NAME: more} if more else {},
                ),
            )
        )
    grounding = fields(pick(own, "groundingMetadata"))
    chunks = [_chunk(chunk) for chunk in objects(pick(grounding, "groundingChunks"))]
    for support in objects(pick(grounding, "groundingSupports")):
        segment = fields(support.get("segment"))
        start, end = _place(segment)
        indices = pick(support, "groundingChunkIndices")
        for index in indices if isinstance(indices, list) else ():
            chunk = count(index)
            if chunk is not None and 0 <= chunk < len(chunks):
                place = count(pick(segment, "partIndex")) or 0
                found.append((place, replace(chunks[chunk], start=start, end=end)))
    return found


def _place(segment: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return a segment's start and end; the API leaves out a start of 0."""
    start, end = count(pick(segment, "startIndex")), count(pick(segment, "endIndex"))
    return 0 if start is None and end is not None else start, end


def _chunk(chunk: dict[str, Any]) -> Citation:
    """Read a source: a page, a place on a map, or a document that was searched."""
    for kind in ("web", "retrievedContext", "maps", "image"):
        if source := fields(pick(chunk, kind)):
            uri = text(source.get("uri")) or text(pick(source, "sourceUri"))
            quote = text(source.get("text")) if kind == "retrievedContext" else None
            return Citation(uri=uri, title=text(source.get("title")), quote=quote)
    return Citation()


def _in_characters(citation: Citation, content: str) -> Citation:
    if content.isascii():
        return citation
    data = content.encode("utf-8", "replace")
    return replace(citation, start=_characters(data, citation.start), end=_characters(data, citation.end))


def _characters(data: bytes, place: int | None) -> int | None:
    return None if place is None or place < 0 else len(data[:place].decode("utf-8", "ignore"))


def read_message(candidate: dict[str, Any]) -> Message:
    """Read one candidate of a whole response."""
    own = own_fields(candidate)
    parts = cited(read_parts(fields(candidate.get("content"))), own)
    if logprobs := read_logprobs(pick(candidate, "logprobsResult")):
        at = _text_at(parts, 0)
        parts = [replace(p, logprobs=logprobs) if i == at and isinstance(p, Text) else p for i, p in enumerate(parts)]
    called = any(isinstance(part, ToolCall) for part in parts)
    reason, word = read_finish(pick(candidate, "finishReason"), called=called)
    return Message(
        role="assistant", parts=parts, finish_reason=reason, finish_word=word, extra={NAME: own} if own else {}
    )


def read_whole(whole: dict[str, Any]) -> ChatResponse:
    """Read a whole response, or an error body."""
    candidates = sorted(objects(whole.get("candidates")), key=lambda c: count(c.get("index")) or 0)
    messages = [read_message(candidate) for candidate in candidates]
    reason, word = read_blocked(pick(whole, "promptFeedback"))
    if reason is not None and not messages:
        messages = [Message(role="assistant", parts=[], finish_reason=reason, finish_word=word)]
    reported = pick(whole, "usageMetadata")
    error = error_of(whole.get("error"))
    return ChatResponse(
        id=text(pick(whole, "responseId")),
        model=text(pick(whole, "modelVersion")),
        finish_reasons=[m.finish_reason for m in messages if m.finish_reason],
        output_messages=messages,
        usage=read_usage(reported, whole=True),
        error_type=error.type,
        error_message=error.message,
        error_status=error.status,
        created=read_created(pick(whole, "createTime")),
        extra=answer_extra(rest(whole, KNOWN), own_usage(reported)),
    )


def answer_extra(own: dict[str, Any], usage: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the extra of a response: its own fields, and its usage's."""
    if usage:
        own = {**own, "usageMetadata": usage}
    return {NAME: own} if own else {}


DECODER = msgspec.json.Decoder(dict[str, Any])


class _Embedded(msgspec.Struct, gc=False, rename="camel"):
    """An embeddings response, whose vectors are not recorded."""

    usage_metadata: Any = None
    error: Any = None


_EMBEDDED = msgspec.json.Decoder(_Embedded)


def read_embedded(body: bytes) -> ChatResponse:
    """Read an embeddings response, or an error body."""
    whole = decode(body, _EMBEDDED)
    if whole is None:
        return ChatResponse()
    error = error_of(whole.error)
    return ChatResponse(
        usage=read_usage(whole.usage_metadata, whole=False), error_type=error.type, error_message=error.message
    )
