"""Google credentials for tests: credential files, responses of token services, chains that read one folder."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.errors import ExchangeError
from gateway.providers.auth.google import GoogleCredentials
from gateway.providers.http.client import Client
from tests.support.upstream import Asked, Step, reply

NOW = 1_790_000_000.0
NOWHERE = {"NO_GCE_CHECK": "true"}
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GOOGLES = [("Metadata-Flavor", "Google")]

Made = Callable[..., GoogleCredentials]
Json = dict[str, Any]


@lru_cache
def _made(size: int) -> RSAPrivateKey:
    return generate_private_key(65537, size)


def key(size: int = 2048) -> RSAPrivateKey:
    """Return a key, the same one for all tests."""
    return _made(size)


def pem(size: int = 2048, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    """Return the key in PEM, as in Google's key files."""
    return key(size).private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def user(url: str, **more: Any) -> Json:
    """Return the file of gcloud's login."""
    return {
        "type": "authorized_user",
        "client_id": "id.apps.googleusercontent.com",
        "client_secret": "hidden/secret",
        "refresh_token": "1//hidden-refresh",
        "token_uri": url,
    } | more


def account(url: str, **more: Any) -> Json:
    """Return a service account's key file."""
    return {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k1",
        "private_key": pem(),
        "client_email": "robot@p.iam.gserviceaccount.com",
        "token_uri": url,
    } | more


def external(url: str, source: Json, **more: Any) -> Json:
    """Return a workload identity's file."""
    pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/w/providers/i"
    return {
        "type": "external_account",
        "audience": pool,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": url,
        "credential_source": source,
    } | more


def federated(url: str) -> Json:
    """Return the file of gcloud's login by another identity provider."""
    return {
        "type": "external_account_authorized_user",
        "audience": "//iam.googleapis.com/locations/global/workforcePools/w/providers/i",
        "client_id": "c",
        "client_secret": "hidden",
        "refresh_token": "hidden/refresh",
        "token_url": url,
    }


def granted(name: str = "1", seconds: Any = 3600, **more: Any) -> list[Step]:
    """Return the response of a token service."""
    return reply({"access_token": f"hidden.{name}", "expires_in": seconds, "token_type": "Bearer"}, **more)


def form(asked: Asked) -> dict[str, str]:
    """Return the form that was sent."""
    assert asked.method == "POST"
    assert asked.header("Content-Type") == "application/x-www-form-urlencoded"
    return dict(parse_qsl(asked.body.decode(), strict_parsing=True))


def maker(client: Client, home: Path) -> Made:
    """Return a maker of credentials that read the files in `home`, without a metadata server unless enabled."""

    def make(environ: dict[str, str] | None = None, *, named: Any = None, gcloud: Any = None) -> GoogleCredentials:
        folder = home / ".config" / "gcloud"
        folder.mkdir(parents=True, exist_ok=True)
        told = NOWHERE | {"HOME": str(home)} | (environ or {})
        if named is not None:
            told["GOOGLE_APPLICATION_CREDENTIALS"] = str(home / "key.json")
        for path, content in (
            (home / "key.json", named),
            (folder / "application_default_credentials.json", gcloud),
        ):
            if content is not None:
                path.write_text(content if isinstance(content, str) else json.dumps(content))
        return GoogleCredentials(client, told)

    return make


async def failure(chain: GoogleCredentials, now: float = NOW) -> ExchangeError:
    """Return the error of credentials without a token; no secret is in it."""
    with pytest.raises(ExchangeError) as raised:
        await chain.get(now)
    assert "hidden" not in f"{raised.value} {chain!r}"
    assert not any(line in str(raised.value) for line in pem().splitlines()[1:-1])
    assert "Set GOOGLE_APPLICATION_CREDENTIALS" in raised.value.message
    assert raised.value.code == "google_credentials"
    return raised.value
