"""OpenAI's chat completions, older completions and embeddings; its paths below `/v1` are the default of all others."""

import re

from gateway.dialects.endpoint import Endpoint, server_sent
from gateway.dialects.openai_chat.read_request import NAME
from gateway.dialects.openai_chat.read_response import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from gateway.dialects.openai_chat.stream_usage import UsageFilter, ask_for_usage
from gateway.dialects.openai_chat.write_response import CHAT_WRITER, MARKING_CHAT_WRITER, write_error
from gateway.dialects.shared.model_list import write_models
from gateway.dialects.shared.rate_limits import RateLimit, go_duration

ENDPOINT = Endpoint(
    name=NAME,
    dialect=NAME,
    writer=CHAT_WRITER,
    provider="openai",
    operations={
        ("chat", "completions"): CHAT_COMPLETIONS,
        ("completions",): COMPLETIONS,
        ("embeddings",): EMBEDDINGS,
    },
    paths=re.compile(
        r"^/+(chat/completions|completions|responses|embeddings|models|moderations|audio|images|files|batches|uploads"
        r"|fine_tuning|vector_stores|assistants|threads|realtime|evals|containers|conversations|videos)(/|$)"
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
)
