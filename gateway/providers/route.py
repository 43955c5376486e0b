"""TODO gateway/providers/route.py."""

from typing import Literal

from msgspec import Struct

from gateway import semconv
from gateway.dialects import Dialect
from gateway.dialects.registry import SPOKEN_AS
from gateway.providers.table import Provider

Family = Literal["openai", "anthropic", "gemini", "ollama", "aws-bedrock", "azure-openai", "chronicle"]
"""Whose API a path belongs to; chronicle's is OpenAI's chat, with options and errors of its own."""


_OPERATIONS = {
    "openai-completions": semconv.TEXT_COMPLETION,
    "ollama-generate": semconv.TEXT_COMPLETION,
    "openai-embeddings": semconv.EMBEDDINGS,
    "ollama-embed": semconv.EMBEDDINGS,
    "gemini": semconv.GENERATE_CONTENT,
}


class Route(Struct, frozen=True, kw_only=True):
    """Where an exchange goes.

    Attributes:
        family: The client's, in whose words it is told of errors.
        dialect: How the client's request is read.
        response_dialect: The dialect's name in which the client is answered, where that is another than the provider's.
        translated_to: The dialect the provider is spoken to in, where the request is translated into it; else None.
        rename: The model's name as the provider knows it, where that is another one.
        by_path: Whether the path that is sent names the model, so that the body need not.
        addressed: Whether the client named the provider by its path, so that a key it brought is that provider's.

    """

    provider: Provider
    target: str
    family: Family
    dialect: Dialect | None
    response_dialect: str | None = None
    translated_to: Dialect | None = None
    model: str | None = None
    stream: bool = False
    rename: str | None = None
    by_path: bool = False
    addressed: bool = True

    @property
    def upstream_reader(self) -> Dialect | None:
        """How the provider's response is read."""
        return self.translated_to or self.dialect

    @property
    def operation(self) -> str:
        """What is done, in the conventions' words (`gen_ai.operation.name`)."""
        reader = self.upstream_reader
        return _OPERATIONS.get(reader.name, semconv.CHAT) if reader else "relay"

    @property
    def client_dialect(self) -> str | None:
        """The name of the client's dialect, as a provider's configuration says it."""
        return _spoken(self.dialect)

    @property
    def upstream_dialect(self) -> str | None:
        """The name of the dialect that the provider is spoken to in."""
        return _spoken(self.upstream_reader)


def _spoken(dialect: Dialect | None) -> str | None:
    return SPOKEN_AS.get(dialect.name, dialect.name) if dialect else None
