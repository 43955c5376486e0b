"""Claude on Vertex: Anthropic's messages, at a path of Google's that names the model and whether the response streams.

`.../publishers/anthropic/models/MODEL:rawPredict` and `:streamRawPredict` take a request of the Messages API that has
`anthropic_version` in the place of `model`. `models/count-tokens:rawPredict` counts the tokens of a request that names
its model. Source: Google Cloud, "Request predictions with Claude models"; anthropic 2.14 (lib/vertex). Pure.
"""

import re
from urllib.parse import quote, unquote

from msgspec import structs

from gateway.dialects import Dialect
from gateway.dialects.anthropic import COUNT_TOKENS, ENDPOINT, MESSAGES
from gateway.dialects.endpoint import PathOperation
from gateway.dialects.gemini import ENDPOINT as GOOGLE

NAME = "anthropic-vertex"

_PATH = re.compile(r"^(.*/publishers/anthropic/models/)([^/]+):(rawPredict|streamRawPredict)/?$", re.DOTALL)
_COUNT = "count-tokens"


def _at_google(dialect: Dialect, name: str) -> Dialect:
    """Return the dialect as a provider serves it that speaks Google's."""
    return structs.replace(
        dialect, name=name, part_of=GOOGLE.name, traced_as=dialect.spoken, trace_only=True, read_conversation=None
    )


RAW_PREDICT = _at_google(MESSAGES, NAME)
COUNT = _at_google(COUNT_TOKENS, f"{NAME}-count-tokens")


def read_path(method: str, path: str) -> PathOperation | None:
    """Read a prediction's path; the model of a token count is in its body.

    >>> read_path("GET", "/v1/projects/p/locations/l/publishers/anthropic/models/claude-x%40001:streamRawPredict")
    PathOperation(endpoint='anthropic-vertex', dialect=None, model='claude-x@001', stream=True)
    """
    if (named := _PATH.match(path)) is None:
        return None
    model, counts = unquote(named[2]), named[2] == _COUNT
    dialect = COUNT if counts else RAW_PREDICT
    return PathOperation(
        NAME, dialect if method == "POST" else None, "" if counts else model, named[3] == "streamRawPredict"
    )


def with_model(path: str, model: str) -> str:
    """Return a prediction's path with another model; the project stays the client's.

    >>> with_model("/v1/projects/p/locations/l/publishers/anthropic/models/smart:rawPredict", "claude-x@001")
    '/v1/projects/p/locations/l/publishers/anthropic/models/claude-x@001:rawPredict'
    """
    named = _PATH.match(path)
    return path if named is None or named[2] == _COUNT else f"{named[1]}{quote(model, safe='@')}:{named[3]}"


VERTEX = structs.replace(
    ENDPOINT,
    name=NAME,
    dialect=GOOGLE.name,
    writer=GOOGLE.writer,
    provider="vertex",
    operations={},
    path_operations=(RAW_PREDICT, COUNT),
    read_path=read_path,
    write_path=with_model,
    model_in_body=True,  # a token count's
    paths=None,
    resources=None,
    below_v1=False,
    bare_base=False,
    base_path="",
    key_header=GOOGLE.key_header,
    query_keys=GOOGLE.query_keys,
    headers=(),
    header_prefixes=(),
    private_model=lambda _: True,  # the path names the maker
    statuses={},
    rate_limits=(),
    models_path=None,
    write_models=None,
    token_count=None,
)
