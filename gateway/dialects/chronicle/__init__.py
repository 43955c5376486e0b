"""chronicle's API: OpenAI's chat, with options in the body, and responses and errors of its own. Pure.

chronicle is a proxy for LLM providers, written in Rust; its clients work with the gateway unchanged.
"""

from msgspec import structs

from gateway.dialects import openai_chat
from gateway.dialects.chronicle import errors, requests, responses

ENDPOINT = structs.replace(
    openai_chat.ENDPOINT,
    name="chronicle",
    operations={},
    claims=requests.claims,
    paths=None,
    resources=None,
    below_v1=False,
    header_prefixes=(),
    option_prefix=requests.HEADER_PREFIX,
    uuid_headers=frozenset({"x-chronicle-run-id", "x-chronicle-step-id"}),
    prefers_claims=True,
    error=errors.write_error,
    error_event=errors.write_event,
    wrap_error=errors.wrap_error,
    rate_limits=(),
    models_path=None,
    write_models=None,
    reports_usage=True,
    reads_on=True,
    read_options=requests.read,
    exchange_id=requests.uuid7,
    rewrite=responses.rewrite,
    rewrite_whole=responses.rewrite_whole,
    health_paths=requests.HEALTH_PATHS,
)
