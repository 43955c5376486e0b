"""What goes over the wire: chat completions of 1 to 2 KB whose text never repeats, known to both ends ahead of time.

A prompt starts with a mark that tells the upstream which answer to give and how slowly, because a gateway may drop
headers but not the prompt. Both ends derive the same bytes from the number in it, so that every answer can be checked.
"""

from __future__ import annotations

import json
import random
import re
from functools import cache
from itertools import pairwise
from typing import Final

import msgspec

VARIANTS: Final = 8192
"""Repeating text would flatter a compressing store, so a row sees this many exchanges before one comes again."""

MODEL: Final = "gpt-5.4-mini"

_MARK: Final = re.compile(rb"\[\[(\d{5})/(\d{4})/(\d{3})/(\d{3})\]\]")
_ASKS_FOR_USAGE: Final = re.compile(rb'"include_usage"\s*:\s*true')


class Pace(msgspec.Struct, frozen=True):
    """How the upstream answers: milliseconds before its first byte, and for a stream its chunks and their distance."""

    delay_ms: int = 0
    chunks: int = 0
    gap_ms: int = 0


class Asked(msgspec.Struct, frozen=True):
    """What the upstream reads from a request."""

    number: int
    pace: Pace
    usage: bool


@cache
def _words() -> list[str]:
    """Return the words of every text: pronounceable, and too many for their pairs to repeat."""
    rng = random.Random("words")
    syllables = [consonant + vowel for consonant in "bcdfghklmnprstvz" for vowel in "aeiou"]
    return ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(4000)]


@cache
def _text(kind: str, number: int, words: int) -> str:
    return " ".join(random.Random(f"{kind} {number}").choices(_words(), k=words))


def answer(number: int) -> str:
    """Return the text of an answer, about 1.2 KB."""
    return _text("answer", number, 200)


def request(number: int, model: str, pace: Pace) -> bytes:
    """Return the body of a request, about 1.3 KB; its words need no escaping, and this is far cheaper than JSON."""
    mark = f"[[{number:05}/{pace.delay_ms:04}/{pace.chunks:03}/{pace.gap_ms:03}]]"
    stream = ',"stream":true' if pace.chunks else ""
    return (
        f'{{"model":"{model}","messages":[{{"role":"system","content":"Answer in plain words and never repeat '
        f'yourself."}},{{"role":"user","content":"{mark} {_text("prompt", number, 190)}"}}]'
        f"{stream}}}"
    ).encode()


def read(body: bytes) -> Asked | None:
    """Return what a request asks for, or None for a body that is not one of ours."""
    mark = _MARK.search(body)
    if mark is None:
        return None
    number, delay_ms, chunks, gap_ms = map(int, mark.groups())
    usage = chunks > 0 and _ASKS_FOR_USAGE.search(body) is not None
    return Asked(number, Pace(delay_ms, chunks, gap_ms), usage)


def prepare() -> None:
    """Make every text now, so that none is made while something is measured."""
    for number in range(VARIANTS):
        request(number, MODEL, Pace())
        response(number)


@cache
def response(number: int) -> bytes:
    """Return the body of a whole answer."""
    body = {
        "id": f"chatcmpl-{number:05}",
        "object": "chat.completion",
        "created": 1790000000 + number,
        "model": f"{MODEL}-2026-03-17",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": answer(number),
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 300 + number % 64,
            "completion_tokens": 280 + number % 32,
            "total_tokens": 580 + number % 64 + number % 32,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": None,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def _event(number: int, tail: str) -> bytes:
    return (
        f'data: {{"id":"chatcmpl-{number:05}","object":"chat.completion.chunk","created":{1790000000 + number},'
        f'"model":"{MODEL}-2026-03-17","system_fingerprint":null,{tail}}}\n\n'
    ).encode()


def events(number: int, chunks: int, *, usage: bool) -> list[bytes]:
    """Return a streamed answer as server-sent events: a role, `chunks` pieces of text, an end, usage if asked for."""
    text = answer(number)
    cuts = [len(text) * part // chunks for part in range(chunks + 1)]
    choice = '"choices":[{{"index":0,"delta":{},"logprobs":null,"finish_reason":{}}}]'
    yielded = [_event(number, choice.format('{"role":"assistant","content":""}', "null"))]
    for start, end in pairwise(cuts):
        yielded.append(_event(number, choice.format(f'{{"content":"{text[start:end]}"}}', "null")))
    yielded.append(_event(number, choice.format("{}", '"stop"')))
    if usage:
        count = '{"prompt_tokens":300,"completion_tokens":280,"total_tokens":580}'
        yielded.append(_event(number, f'"choices":[],"usage":{count}'))
    yielded.append(b"data: [DONE]\n\n")
    return yielded


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)
    delta: _Message = msgspec.field(default_factory=_Message)


class _Completion(msgspec.Struct):
    choices: list[_Choice] = []


_decode: Final = msgspec.json.Decoder(_Completion).decode


def text_of(body: bytes, *, stream: bool) -> str:
    """Return the text of an answer that a peer has written anew."""
    if not stream:
        return "".join(choice.message.content or "" for choice in _decode(body).choices)
    lines = (line[5:].strip() for line in body.splitlines() if line.startswith(b"data:"))
    chunks = (_decode(line) for line in lines if line and line != b"[DONE]")
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
