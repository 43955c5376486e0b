"""OpenAI's chat and older completions, embeddings and media; its paths below `/v1` are the default of all others."""

import re
from functools import partial

import msgspec

from gateway import semconv
from gateway.dialects import Dialect
from gateway.dialects.endpoint import Endpoint, server_sent
from gateway.dialects.openai_chat import media
from gateway.dialects.openai_chat.read_parts import NAME
from gateway.dialects.openai_chat.read_request import (
    read_chat,
    read_chat_conversation,
    read_completion,
    read_completion_conversation,
    read_embeddings,
)
from gateway.dialects.openai_chat.read_response import read_failure, read_response
from gateway.dialects.openai_chat.read_stream import ChatStreamReader
from gateway.dialects.openai_chat.stream_usage import UsageFilter, ask_for_usage
from gateway.dialects.openai_chat.write_request import write_request
from gateway.dialects.openai_chat.write_response import write_error, write_response
from gateway.dialects.openai_chat.write_stream import ChatStreamWriter
from gateway.dialects.shared.model_list import write_models
from gateway.dialects.shared.rate_limits import RateLimit, go_duration
from gateway.dialects.shared.writer import Writer

CHAT_COMPLETIONS = Dialect(
    name="openai-chat",
    read_request=read_chat,
    read_response=read_response,
    stream_reader=ChatStreamReader,
    read_conversation=read_chat_conversation,
)


COMPLETIONS = Dialect(
    name="openai-completions",
    part_of=NAME,
    operation=semconv.TEXT_COMPLETION,
    read_request=read_completion,
    read_response=read_response,
    stream_reader=ChatStreamReader,
    read_conversation=read_completion_conversation,
)


# Read like a chat's response without choices: the model, the usage, an error. Vectors are not recorded.
EMBEDDINGS = Dialect(
    name="openai-embeddings",
    part_of=NAME,
    operation=semconv.EMBEDDINGS,
    read_request=read_embeddings,
    read_response=read_response,
    stream_reader=ChatStreamReader,
)


CHAT_WRITER = Writer(
    name=NAME, request=write_request, response=write_response, stream=ChatStreamWriter, error=write_error
)


# For providers that take cache marks.
MARKING_CHAT_WRITER = msgspec.structs.replace(CHAT_WRITER, request=partial(write_request, marks=True))


ENDPOINT = Endpoint(
    name=NAME,
    dialect=NAME,
    writer=CHAT_WRITER,
    provider="openai",
    operations={
        ("chat", "completions"): CHAT_COMPLETIONS,
        ("completions",): COMPLETIONS,
        ("embeddings",): EMBEDDINGS,
        **media.OPERATIONS,
    },
    paths=re.compile(
        r"^/+(chat/completions|completions|responses|embeddings|models|moderations|audio|images|files|batches|uploads"
        r"|fine_tuning|vector_stores|assistants|threads|realtime|evals|containers|conversations|videos|skills|chatkit"
        r"|organization)(/|$)"
    ),
    below_v1=True,
    base_path="/v1",
    header_prefixes=(b"openai-", b"x-stainless-"),
    error=write_error,
    error_event=server_sent(write_error),
    rate_limits=tuple(
        RateLimit(
            remaining=f"x-ratelimit-remaining-{bucket}",
            reset=f"x-ratelimit-reset-{bucket}",
            seconds=lambda text, _: go_duration(text),
        )
        for bucket in ("requests", "tokens")
    ),
    models_path="/models",
    write_models=write_models,
    ask_for_usage=ask_for_usage,
    usage_filter=UsageFilter,
    has_quirks=True,
    cache_writer=MARKING_CHAT_WRITER,
    read_failure=read_failure,
)
