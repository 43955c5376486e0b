"""Token counts brought to the conventions' meaning: input includes cached tokens, output includes reasoning."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct, structs

from gateway.dialects import Dialect
from gateway.dialects.conversation import ChatResponse, Usage
from gateway.dialects.wire.json import count, decode, fields
from gateway.semconv import COUNT_TOKENS

_OBJECT = msgspec.json.Decoder(dict[str, Any])

_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


class CountNames(Struct, frozen=True, kw_only=True):
    """The names of the counts in a usage object whose input leaves out the cache's."""

    input_tokens: str
    output_tokens: str
    cache_read: str
    cache_write: str
    total_tokens: str = ""


# The names of one count in OpenAI's form, by providers that speak it: most in snake case, some in camel case as well.
_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "prompt_token_details", "input_token_details")
_OUTPUT_DETAILS = (
    "completion_tokens_details",
    "output_tokens_details",
    "completion_token_details",
    "output_token_details",
)
# Beside the prompt's details: Mistral; Moonshot and Together; DeepSeek.
_CACHE_READ = ("num_cached_tokens", "cached_tokens", "prompt_cache_hit_tokens")
_CACHE_WRITTEN = ("cache_write_tokens", "cache_creation_tokens")


def usage_of(reported: Any) -> Usage | None:
    """Read usage in OpenAI's form, under any of the names that its APIs and compatible providers use."""
    usage = in_snake_case(fields(reported))
    if not usage:
        return None
    usage = _with_cohere_counts(usage)
    input_tokens = count_of(usage, *_INPUT)
    output_tokens = count_of(usage, *_OUTPUT)
    total_tokens = count(usage.get("total_tokens"))
    details = input_details(usage)
    reasoning_tokens, more = _reasoning(usage, input_tokens, output_tokens, total_tokens)
    if output_tokens is not None and more:
        if total_tokens == (input_tokens or 0) + output_tokens:
            total_tokens += more
        output_tokens += more
    if total_tokens is None and input_tokens is not None:
        total_tokens = input_tokens + (output_tokens or 0)
    beside = (count_of(usage, "cache_read_input_tokens"), count_of(usage, "cache_creation_input_tokens"))
    cached = (beside[0] or 0) + (beside[1] or 0)
    if input_tokens is not None and cached > input_tokens:  # these names are Anthropic's, whose input leaves them out
        input_tokens += cached
        total_tokens = input_tokens + (output_tokens or 0)
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=total_tokens,
        cache_read_tokens=first_count(
            count_of(details, "cached_tokens"), first_count(count_of(usage, *_CACHE_READ), beside[0])
        ),
        cache_write_tokens=first_count(count_of(details, *_CACHE_WRITTEN), beside[1]),
        reasoning_tokens=reasoning_tokens,
    )


def _reasoning(
    usage: dict[str, Any], input_tokens: int | None, output_tokens: int | None, total_tokens: int | None
) -> tuple[int | None, int]:
    """Return the tokens of reasoning, and as many of them as the output leaves out."""
    reasoning = count(output_details_of(usage).get("reasoning_tokens"))
    if reasoning is not None:
        known = input_tokens is not None and output_tokens is not None
        # Some compatible providers (xAI) count reasoning beside the output.
        beside = known and total_tokens == (input_tokens or 0) + (output_tokens or 0) + reasoning
        return reasoning, reasoning if beside else 0
    reasoning = count(usage.get("reasoning_tokens"))
    # Perplexity's deep research reports more reasoning than output, so that one cannot be part of the other.
    return reasoning, reasoning if reasoning is not None and reasoning > (output_tokens or 0) else 0


def chat_usage(usage: Any, x_groq: Any, choices: Iterable[Any]) -> dict[str, Any]:
    """Return the usage object of a chat response or chunk: its own, Groq's `x_groq`, or that in a choice (Moonshot)."""
    for found in (usage, fields(x_groq).get("usage"), *choices):
        if isinstance(found, dict) and found:
            return found
    return {}


def input_details(usage: dict[str, Any]) -> dict[str, Any]:
    """Return the details of the input in a usage object of OpenAI's form, in snake case."""
    return _first_object(usage, _INPUT_DETAILS)


def output_details_of(usage: dict[str, Any]) -> dict[str, Any]:
    """Return the details of the output in a usage object of OpenAI's form, in snake case."""
    return _first_object(usage, _OUTPUT_DETAILS)


def _first_object(usage: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    for name in names:
        if found := fields(usage.get(name)):
            return found
    return {}


def _with_cohere_counts(usage: dict[str, Any]) -> dict[str, Any]:
    """Return Cohere's usage with its counts at the top: those of `tokens`, or else those of `billed_units`."""
    for name in ("billed_units", "tokens"):
        if name not in usage:
            continue
        usage = {**usage, **{k: v for k, v in fields(usage.get(name)).items() if v is not None}}
    return usage


def in_snake_case(value: Any, depth: int = 4) -> Any:
    """Return JSON with the names of its objects in snake case, down to `depth` levels.

    >>> in_snake_case({"promptTokens": 1, "details": {"cachedTokens": 2}})
    {'prompt_tokens': 1, 'details': {'cached_tokens': 2}}
    """
    if not depth:
        return value
    if isinstance(value, dict):
        return {
            key if key.islower() else _CAPITAL.sub(r"_\1", key).lower(): in_snake_case(each, depth - 1)
            for key, each in value.items()
        }
    return [in_snake_case(each, depth - 1) for each in value] if isinstance(value, list) else value


def count_of(usage: dict[str, Any], *names: str) -> int | None:
    """Return the count under the first of these names that has one, as `first_count` does."""
    zero = None
    for name in names:
        if (value := usage.get(name)) is not None and (number := count(value)) is not None:
            if number:
                return number
            zero = 0
    return zero


def first_count(first: int | None, second: int | None) -> int | None:
    """Return the first count, or if it is 0 or unknown the second: some providers write all names and fill one."""
    return first or (second if second is not None else first)


def merged_usage(earlier: Usage | None, later: Usage | None) -> Usage | None:
    """Merge usage field by field: later values win."""
    if earlier is None or later is None:
        return later or earlier
    return Usage(
        **{
            f: after if (after := getattr(later, f)) is not None else getattr(earlier, f)
            for f in Usage.__struct_fields__
        }
    )


def usage_beside_cache(
    reported: dict[str, Any], names: CountNames, reasoning_tokens: int | None = None
) -> Usage | None:
    """Return usage whose reported input leaves out the tokens read from and written to the cache."""
    if not reported:
        return None
    input_tokens, output_tokens = count(reported.get(names.input_tokens)), count(reported.get(names.output_tokens))
    read, written = count(reported.get(names.cache_read)), count(reported.get(names.cache_write))
    if input_tokens is not None:
        input_tokens += (read or 0) + (written or 0)
    total_tokens = count(reported.get(names.total_tokens))
    if input_tokens is not None and output_tokens is not None:
        total_tokens = input_tokens + output_tokens
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=total_tokens,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=reasoning_tokens,
    )


def input_only(input_tokens: int | None) -> Usage | None:
    """Return the usage of an operation without output; None if its input is unknown."""
    return None if input_tokens is None else Usage(input_tokens=input_tokens, total_tokens=input_tokens)


def counting(dialect: Dialect, name: str, field: str) -> Dialect:
    """Return the operation that counts the tokens of a dialect's requests. `field`: the count in its response."""

    def read_response(body: bytes) -> ChatResponse:
        counted = count(fields(decode(body, _OBJECT)).get(field))
        return structs.replace(dialect.read_response(body), usage=input_only(counted))

    return structs.replace(
        dialect,
        name=name,
        part_of=dialect.spoken,
        operation=COUNT_TOKENS,
        trace_only=True,
        read_response=read_response,
        read_conversation=None,
    )
