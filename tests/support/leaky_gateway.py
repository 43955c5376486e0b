"""The gateway with holes cut into it, for doctor to find: `python -m tests.support.leaky_gateway HOLE ARGUMENTS...`."""

import logging
import os
import sys
from typing import Any

from msgspec import structs

from gateway.cli.main import main
from gateway.config import model
from gateway.config.retry import RetryPolicy
from gateway.dialects.endpoint import Endpoint
from gateway.proxy import headers
from gateway.redaction import Redaction
from gateway.store.otlp.exporter import Exporter
from gateway.tracing import secrets
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.exchange import Exchange


def keys_everywhere() -> None:
    """Remove no key from anything, and send each to any provider; log what comes in.

    Clients are sent the collector's key with each error of ours.
    """
    secrets.ExchangeSecrets.scrub = lambda _self, text: text  # type: ignore[method-assign]
    secrets.ExchangeSecrets.scrub_attributes = lambda _self, _attributes: None  # type: ignore[method-assign]
    headers.of_another = lambda *_: False  # type: ignore[assignment]
    headers.admits = lambda *_, **_more: True  # type: ignore[assignment]
    began, said = Exchange.__init__, Endpoint.error_body

    def begin(self: Exchange, *args: Any, **more: Any) -> None:
        logging.getLogger("gateway").info("a request with %s", dict(more["headers"]))
        began(self, *args, **more)

    def body(*args: Any) -> bytes:
        return said(*args) + os.environ["OTEL_EXPORTER_OTLP_HEADERS"].encode()

    Exchange.__init__ = begin  # type: ignore[method-assign]
    Endpoint.error_body = body  # type: ignore[method-assign]


def content_everywhere() -> None:
    """Keep all content, whatever is configured, and all that is to be taken out of it."""
    CapturePolicy.reads = CapturePolicy.content = True  # type: ignore[assignment]
    CapturePolicy.limit = 10_000  # type: ignore[assignment]
    Redaction.text = lambda _self, text: text  # type: ignore[method-assign]
    Redaction.value = lambda _self, value: value  # type: ignore[method-assign]


def less_than_asked() -> None:
    """Try nothing again, and send nothing to the collector."""
    build = model.build
    model.build = lambda raw: structs.replace(build(raw), retry=RetryPolicy(max_tries=1))
    Exporter.from_environment = lambda *_: None  # type: ignore[method-assign]


if __name__ == "__main__":
    globals()[sys.argv.pop(1)]()
    main.main()
