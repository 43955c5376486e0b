"""botocore's credential chain, run on an environment that need not be the process's. Imported if needed only.

botocore reads `os.environ` in many places; a gateway's environment also has the variables of its `.env` files and may
change while it runs. The chain is therefore built of botocore's own providers, each with the environment it reads.
Everything here blocks and runs in a thread.
"""

import re
import subprocess
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from botocore import credentials as sources
from botocore.config import Config
from botocore.configprovider import ConfigChainFactory
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    ConnectionError,  # noqa: A004
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
    ProxyConnectionError,
    SSOError,
    TokenRetrievalError,
)
from botocore.session import Session
from botocore.utils import ContainerMetadataFetcher, InstanceMetadataFetcher, JSONFileCache, resolve_imds_endpoint_mode

from gateway.providers.auth.aws import config_paths
from gateway.providers.auth.refresh import CredentialError
from gateway.providers.auth.sigv4 import Credentials
from gateway.providers.auth.token_request import split_url
from gateway.providers.http.tls import TlsFiles
from gateway.providers.http.ways_out import DIRECTLY, WaysOut

_SECONDS = 10
_DEFAULT_REGION = "us-east-1"
_PROCESS_SECONDS = 60.0
_PERMANENT = re.compile(r"response 4(?!08|29)|parse JSON")  # of a container's agent
_IDENTITY = {
    "web_identity_token_file": "AWS_WEB_IDENTITY_TOKEN_FILE",
    "role_arn": "AWS_ROLE_ARN",
    "role_session_name": "AWS_ROLE_SESSION_NAME",
}


def find(environ: Mapping[str, str], ways: WaysOut = DIRECTLY) -> Credentials:
    """Return the first credentials of the chain. Raises CredentialError."""
    try:
        session = _Session(environ, ways)
        for provider in _providers(session, environ):
            found = provider.load()
            if found is not None:
                return _frozen(found)
    except CredentialError:
        raise
    except Exception as error:
        raise _translated(error, environ.get("AWS_PROFILE") or "default", ways) from None
    config, shared = config_paths(environ)
    raise CredentialError(
        f"AWS_ACCESS_KEY_ID is not set, the profile {session.profile or 'default'!r} has no credentials in {config} "
        f"and {shared}, and neither a web identity, a container nor the instance metadata service gives any"
    )


class _Session(Session):  # type: ignore[misc]  # botocore has no types
    """A session that reads `environ`."""

    def __init__(self, environ: Mapping[str, str], ways: WaysOut = DIRECTLY) -> None:
        super().__init__()
        self._environ = environ
        self._ways = ways
        chain, store = ConfigChainFactory(self, environ), self.get_component("config_store")
        for name, (key, variable, default, convert) in self.SESSION_VARIABLES.items():
            store.set_config_provider(name, chain.create_config_chain(name, variable, key, default, convert))
        config, shared = config_paths(environ)
        self.set_config_variable("config_file", str(config))
        self.set_config_variable("credentials_file", str(shared))
        # AWS's other SDKs read AWS_REGION first; STS needs a region, too.
        region = environ.get("AWS_REGION") or self.get_config_variable("region") or _DEFAULT_REGION
        self.set_config_variable("region", region)
        # The gateway's own retries, and its memory of failures, replace botocore's.
        retries = {"total_max_attempts": 1}
        self.set_default_client_config(Config(retries=retries, connect_timeout=_SECONDS, read_timeout=_SECONDS))

    def create_client(self, service_name: str, *args: Any, **options: Any) -> Any:
        """Return a client of a service, at the URL that the environment names if it names one."""
        if self._environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
            variable = f"AWS_ENDPOINT_URL_{service_name.replace('-', '_').upper()}"
            named = self._environ.get(variable) or self._environ.get("AWS_ENDPOINT_URL")
            options.setdefault("endpoint_url", named or None)
        url = (
            options.get("endpoint_url") or f"https://{service_name}.{self.get_config_variable('region')}.amazonaws.com"
        )
        way, scheme = self._ways.to(split_url(url)[0]), urlsplit(url).scheme
        proxies = {scheme: way.proxy.url} if way.proxy is not None else {}
        settings = Config(proxies=proxies, client_cert=_client_cert(way.tls))
        options["config"] = settings.merge(options["config"]) if options.get("config") is not None else settings
        if way.tls.ca_file is not None:
            options["verify"] = way.tls.ca_file
        return super().create_client(service_name, *args, **options)


class _ProfileProviders(sources.ProfileProviderBuilder):  # type: ignore[misc]  # botocore has no types
    """Providers of one profile, whose processes have the gateway's environment and a time limit."""

    def __init__(self, session: Session, environ: Mapping[str, str]) -> None:
        logins = JSONFileCache(str(config_paths({"HOME": environ.get("HOME", "")})[0].parent / "sso" / "cache"))
        super().__init__(session, cache={}, sso_token_cache=logins)
        self._popen = partial(_Process, env=dict(environ), stdin=subprocess.DEVNULL)

    def _create_process_provider(self, profile_name: str) -> Any:
        return sources.ProcessProvider(profile_name, lambda: self._session.full_config, self._popen)


class _Process(subprocess.Popen[bytes]):
    """A `credential_process`, killed after a minute."""

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:  # noqa: A002
        """Return the output of the process. Raises CredentialError."""
        try:
            return super().communicate(input, timeout or _PROCESS_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            super().communicate()
            raise CredentialError(
                f"the credential_process took longer than {_PROCESS_SECONDS:g} s", retryable=True
            ) from None


def _providers(session: Session, environ: Mapping[str, str]) -> list[Any]:
    """Return the providers in the order in which they are asked; the environment's keys come before all of them."""
    fetcher = ContainerMetadataFetcher(sleep=lambda _: None)
    fetcher.RETRY_ATTEMPTS = 1
    container = sources.ContainerProvider(environ, fetcher)
    instance = sources.InstanceMetadataProvider(
        InstanceMetadataFetcher(
            timeout=session.get_config_variable("metadata_service_timeout"),
            num_attempts=session.get_config_variable("metadata_service_num_attempts"),
            user_agent=session.user_agent(),
            env=environ,
            config={
                "ec2_metadata_service_endpoint": session.get_config_variable("ec2_metadata_service_endpoint"),
                "ec2_metadata_service_endpoint_mode": resolve_imds_endpoint_mode(session),
                "ec2_metadata_v1_disabled": session.get_config_variable("ec2_metadata_v1_disabled"),
            },
        )
    )
    name = session.profile or "default"
    profiles = _ProfileProviders(session, environ)
    identity = {key: environ[variable] for key, variable in _IDENTITY.items() if environ.get(variable)}
    return [
        sources.AssumeRoleWithWebIdentityProvider(
            lambda: {"profiles": {name: identity}}, session.create_client, name, cache={}, disable_env_vars=True
        ),
        sources.AssumeRoleProvider(
            lambda: session.full_config,
            session.create_client,
            {},
            name,
            prompter=_no_prompt,
            credential_sourcer=sources.CanonicalNameCredentialSourcer(
                [sources.EnvProvider(environ), container, instance]
            ),
            profile_provider_builder=profiles,
        ),
        *profiles.providers(name, disable_env_vars=True),
        container,
        instance,
    ]


def _client_cert(tls: TlsFiles) -> str | tuple[str, str] | None:
    if tls.client_cert is None or tls.client_key is None:
        return tls.client_cert
    return tls.client_cert, tls.client_key


def _no_prompt(_prompt: str) -> str:
    raise CredentialError("the profile needs a one-time code (mfa_serial), which a gateway cannot ask for")


def _frozen(found: Any) -> Credentials:
    if isinstance(found, sources.RefreshableCredentials):
        # They are refreshed by a new run of the chain: botocore would fetch those of a short life twice.
        found._advisory_refresh_timeout = found._mandatory_refresh_timeout = 0  # noqa: SLF001
    key = found.get_frozen_credentials()
    if not key.access_key or not key.secret_key:
        raise CredentialError(f"the source {found.method!r} gave no AccessKeyId and SecretAccessKey")
    expires = getattr(found, "_expiry_time", None)
    return Credentials(
        access_key=key.access_key,
        secret_key=key.secret_key,
        token=key.token or None,
        expires=expires.timestamp() if expires is not None else None,
    )


def _translated(error: Exception, profile: str, ways: WaysOut) -> CredentialError:
    """Return botocore's error as ours, without text of a process, a file or a response that may have a secret."""
    text = str(error).rstrip(".")
    match error:
        case ClientError():
            status, given = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0), error.response["Error"]
            reason = f"{given.get('Code')}: {str(given.get('Message')).rstrip('.')}"
            retryable = status >= 500 or status == 429
            return CredentialError(f"{error.operation_name} was refused, {reason}", retryable=retryable)
        case MetadataRetrievalError() | CredentialRetrievalError() if "retrieving metadata" in text:
            reason = text.partition(" from container metadata:")[0]
            return CredentialError(reason, retryable=not _PERMANENT.search(reason))
        case CredentialRetrievalError() if "custom-process" in text:
            return CredentialError("the profile's credential_process failed, or its output has no credentials")
        case ProxyConnectionError():  # whose text has the proxy's URL
            proxies = " or ".join(str(each) for each in (ways.https, ways.http) if each is not None)
            return CredentialError(f"the proxy {proxies} does not connect to AWS", retryable=True)
        case HTTPClientError() | ConnectionError():
            return CredentialError(text, retryable=type(error) is not HTTPClientError)  # which no network raised
        case SSOError() | TokenRetrievalError():
            return CredentialError(f"{text}; run `aws sso login --profile {profile}`")
        case ConfigParseError():
            return CredentialError(f"{error.kwargs.get('path')} is no AWS configuration")
        case OSError():
            name = f"{error.filename} cannot be read: " if error.filename else ""
            return CredentialError(f"{name}{error.strerror or type(error).__name__}")
        case UnicodeError():
            return CredentialError("one of AWS's files is not UTF-8")
        case BotoCoreError() | RuntimeError():
            return CredentialError(text)
        case ValueError() if "Unsupported host" in text:
            return CredentialError(text)
        case _:
            return CredentialError(f"botocore failed on the configuration ({type(error).__name__})")
