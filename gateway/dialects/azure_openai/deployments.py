"""Azure OpenAI's deployments: OpenAI's API, below a path that names the deployment instead of the model. Pure."""

import re
from urllib.parse import quote, unquote

from gateway.dialects import openai_chat, openai_responses
from gateway.dialects.endpoint import PathOperation

NAME = "azure-openai"
"""The endpoint's name, and its provider's."""

_DEPLOYMENT = re.compile(
    r"^/+openai/deployments/(.+?)/(chat/completions|completions|embeddings|responses|images/\w+|audio/\w+)/?$"
)
_OPERATIONS = openai_chat.ENDPOINT.operations | openai_responses.ENDPOINT.operations


def deployment(path: str) -> tuple[str, str] | None:
    """Return the deployment that a path names, and the operation below it; None for another path.

    >>> deployment("/openai/deployments/local/big/chat/completions")
    ('local/big', 'chat/completions')
    >>> deployment("/openai/deployments/mine/extensions")
    ('mine', 'extensions')
    """
    if "openai/deployments/" not in path:
        return None
    if (known := _DEPLOYMENT.match(path)) is not None:
        return known[1], known[2]
    head, mark, tail = path.lstrip("/").partition("openai/deployments/")
    if head or not mark:
        return None
    name, _, operation = tail.partition("/")
    return (name, operation) if name else None


def read_path(method: str, path: str) -> PathOperation | None:
    """Read an operation on a deployment, whose name replaces the model's."""
    if (called := deployment(path)) is None:
        return None
    segments = tuple(each for each in called[1].split("/") if each)
    dialect = _OPERATIONS.get(segments[-2:]) or _OPERATIONS.get(segments[-1:])
    return PathOperation(NAME, dialect if method == "POST" else None, unquote(called[0]))


def with_model(path: str, model: str) -> str:
    """Return a path with another deployment.

    >>> with_model("/openai/deployments/azure/d/embeddings", "d")
    '/openai/deployments/d/embeddings'
    """
    called = deployment(path)
    return f"/openai/deployments/{quote(model, safe='')}/{called[1]}" if called is not None else path


def elsewhere(path: str) -> str:
    """Return the operation's path at a provider without deployments.

    >>> elsewhere("/openai/deployments/groq/m/chat/completions")
    '/chat/completions'
    """
    called = deployment(path)
    return path if called is None else f"/{called[1]}"
