"""Anthropic's Messages API."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.dialects.anthropic.read_blocks import NAME
from gateway.dialects.anthropic.read_response import MESSAGES
from gateway.dialects.anthropic.write_response import MESSAGES_WRITER, write_error
from gateway.dialects.endpoint import Endpoint, TokenCount, json_tokens, server_sent
from gateway.dialects.shared.model_list import Listed
from gateway.dialects.shared.rate_limits import RateLimit, until_rfc3339


def _write_models(listed: Iterable[Listed], now: float) -> bytes:  # noqa: ARG001  the list has no time of its own
    data = [_model(each) for each in listed]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return msgspec.json.encode({"data": data, "has_more": False, **ends})


def _model(listed: Listed) -> dict[str, Any]:
    made = {
        "type": "model",
        "id": listed.name,
        "display_name": listed.name,
        "created_at": "1970-01-01T00:00:00Z",  # other APIs' lists have no such field
        "lifecycle": "active",
    }
    return made | (listed.said | {"id": listed.name} if listed.said.get("type") == "model" else {})


ENDPOINT = Endpoint(
    name=NAME,
    dialect=NAME,
    writer=MESSAGES_WRITER,
    provider="anthropic",
    operations={("messages",): MESSAGES},
    paths=re.compile(r"^/+messages(/|$)"),
    below_v1=True,
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
    write_models=_write_models,
    token_count=TokenCount(
        dialect=NAME, tail="/messages/count_tokens", read=MESSAGES.read_request, write=json_tokens("input_tokens")
    ),
)
