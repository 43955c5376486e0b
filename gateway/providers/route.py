"""The destination of one attempt: its provider, the target there, and the dialects on both sides."""

from msgspec import Struct

from gateway.dialects import Dialect
from gateway.dialects.endpoint import Endpoint
from gateway.providers.table import Provider

RELAY = "relay"
"""The operation of a request that is not read."""


class Route(Struct, frozen=True, kw_only=True):
    """The destination of an attempt.

    Attributes:
        endpoint: The client's API, in whose form it gets errors.
        dialect: The reader of the client's request.
        response_dialect: The name of the dialect in which the client is answered, if it is not the provider's.
        translated_to: The provider's dialect, if the request is translated into it; else None.
        rename: The model's name at the provider, if it is another one.
        by_path: Whether the target names the model, so that the body need not.
        addressed: Whether the client named the provider by its path, so that a key it brought is that provider's.

    """

    provider: Provider
    target: str
    endpoint: Endpoint
    dialect: Dialect | None
    response_dialect: str | None = None
    translated_to: Dialect | None = None
    model: str | None = None
    stream: bool = False
    rename: str | None = None
    by_path: bool = False
    addressed: bool = True

    def __repr__(self) -> str:
        """Leave out the query, which may have a key."""
        return f"<Route {self.provider.name} {self.target.partition('?')[0]} {self.operation}>"

    @property
    def upstream_reader(self) -> Dialect | None:
        """The reader of the provider's response."""
        return self.translated_to or self.dialect

    @property
    def operation(self) -> str:
        """The conventions' word for the operation (`gen_ai.operation.name`)."""
        reader = self.upstream_reader
        return reader.operation if reader is not None else RELAY

    @property
    def client_dialect(self) -> str | None:
        """The name of the client's dialect in configurations."""
        return self.dialect.spoken if self.dialect is not None else None

    @property
    def upstream_dialect(self) -> str | None:
        """The name of the provider's dialect in configurations."""
        reader = self.upstream_reader
        return reader.spoken if reader is not None else None
