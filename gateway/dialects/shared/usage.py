"""Token counts brought to the conventions' meaning: input includes cached tokens, output includes reasoning."""

from typing import Any

from msgspec import Struct

from gateway.dialects.conversation import Usage
from gateway.dialects.wire.json import count, fields


class CountNames(Struct, frozen=True, kw_only=True):
    """The names of the counts in a usage object whose input leaves out the cache's."""

    input_tokens: str
    output_tokens: str
    cache_read: str
    cache_write: str
    total_tokens: str = ""


def usage_of(
    reported: Any, *, input_name: str, output_name: str, input_details: str, output_details: str
) -> Usage | None:
    """Read OpenAI's usage object, whose names differ between its APIs."""
    usage = fields(reported)
    if not usage:
        return None
    input_tokens = count(usage.get(input_name))
    output_tokens = count(usage.get(output_name))
    total_tokens = count(usage.get("total_tokens"))
    details = fields(usage.get(input_details))
    reasoning_tokens = count(fields(usage.get(output_details)).get("reasoning_tokens"))
    if (
        input_tokens is not None
        and output_tokens is not None
        and reasoning_tokens
        and total_tokens == input_tokens + output_tokens + reasoning_tokens
    ):
        output_tokens += reasoning_tokens  # some compatible providers (xAI) count reasoning beside the output
    if total_tokens is None and input_tokens is not None:
        total_tokens = input_tokens + (output_tokens or 0)
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=total_tokens,
        cache_read_tokens=count(details.get("cached_tokens")),
        cache_write_tokens=count(details.get("cache_write_tokens")),
        reasoning_tokens=reasoning_tokens,
    )


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
