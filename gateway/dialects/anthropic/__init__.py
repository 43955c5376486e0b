"""Anthropic's Messages API."""

import re

from gateway.dialects import Dialect
from gateway.dialects.anthropic.read_parts import NAME
from gateway.dialects.anthropic.read_request import read_conversation, read_request
from gateway.dialects.anthropic.read_response import read_failure, read_response
from gateway.dialects.anthropic.read_stream import MessagesStreamReader
from gateway.dialects.anthropic.write_request import write_request
from gateway.dialects.anthropic.write_response import write_error, write_response
from gateway.dialects.anthropic.write_stream import MessagesStreamWriter
from gateway.dialects.endpoint import Endpoint, TokenCount, json_tokens, server_sent
from gateway.dialects.shared.model_list import write_model_page
from gateway.dialects.shared.rate_limits import RateLimit, until_rfc3339
from gateway.dialects.shared.tool_names import NameForm
from gateway.dialects.shared.usage import counting
from gateway.dialects.shared.writer import Writer

MESSAGES = Dialect(
    name=NAME,
    read_request=read_request,
    read_response=read_response,
    stream_reader=MessagesStreamReader,
    read_conversation=read_conversation,
)


COUNT_TOKENS = counting(MESSAGES, "anthropic-count-tokens", "input_tokens")


MESSAGES_WRITER = Writer(
    name=NAME, request=write_request, response=write_response, stream=MessagesStreamWriter, error=write_error
)

ENDPOINT = Endpoint(
    name=NAME,
    dialect=NAME,
    writer=MESSAGES_WRITER,
    provider="anthropic",
    operations={("messages",): MESSAGES, ("messages", "count_tokens"): COUNT_TOKENS},
    paths=re.compile(r"^/+messages(/|$)"),
    resources=re.compile(r"^/+(messages|complete|models|files|skills|organizations)(/|$)"),
    below_v1=True,
    bare_base=True,
    base_path="/v1",
    key_header="x-api-key",
    headers=((b"anthropic-version", b"2023-06-01"),),
    header_prefixes=(b"anthropic-",),
    error=write_error,
    error_event=server_sent(write_error, b"error"),
    statuses={529: 503},  # overloaded; other clients have no class for it
    rate_limits=tuple(
        RateLimit(
            remaining=f"anthropic-ratelimit-{bucket}-remaining",
            reset=f"anthropic-ratelimit-{bucket}-reset",
            seconds=until_rfc3339,
        )
        for bucket in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
    models_path="/models?limit=1000",
    write_models=write_model_page,
    token_count=TokenCount(
        dialect=NAME, tail="/messages/count_tokens", read=MESSAGES.read_request, write=json_tokens("input_tokens")
    ),
    read_failure=read_failure,
    tool_names=NameForm(most=128),
)
