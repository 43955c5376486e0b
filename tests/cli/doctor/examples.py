"""Canaries, encodings and a configuration that several tests of doctor use."""

import base64
import json
import random
from urllib.parse import quote

from gateway.cli.doctor.canaries import Canaries
from gateway.cli.doctor.configuration import LoopbackConfig
from gateway.config.model import Capture

FORMS = {
    "plain": str.encode,
    "percent-encoded": lambda text: quote(text, safe="").encode(),
    "percent-encoded, in lower case": lambda text: (
        quote(text, safe="").lower().encode() if text.islower() else quote(text, safe="").replace("%2F", "%2f").encode()
    ),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe="").encode(),
    "JSON-escaped": lambda text: text.replace("/", "\\/").encode(),
    "JSON-escaped, in JSON": lambda text: json.dumps(text.replace("/", "\\/")).encode(),
    "JSON-escaped as \\u": lambda text: text.replace("/", "\\u002f").encode(),
    "UTF-16": lambda text: text.encode("utf-16-le"),
    "hex": lambda text: text.encode().hex().encode(),
    "hex, in capitals": lambda text: text.encode().hex().upper().encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
}


def planted_canaries(seed: int = 1) -> tuple[Canaries, str, str]:
    """Return canaries, and the last two of them: a secret and a content of request p001."""
    canaries = Canaries(random.Random(seed))
    for number in range(20):
        canaries.secret(f"key {number}")
    return canaries, canaries.secret("a key", "p001"), canaries.content("a prompt", "p001")


def loopback(store: str = "full", **more: object) -> LoopbackConfig:
    """Return a configuration for the judge and the builder of requests."""
    values = {
        "toml": "", "environ": {}, "token": "gw-token", "required": False, "providers": (), "aliases": (),
        "capture": Capture(store=store), "exports_spans": False, "exports_logs": False,
        "exports_metrics": False, "override_url": False,
        "api_keys": False,
    }  # fmt: skip
    return LoopbackConfig(**values | more)
