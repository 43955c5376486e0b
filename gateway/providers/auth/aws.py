"""Where AWS credentials come from: the chain that AWS's own SDKs follow, and their refresh.

In this order: a Bedrock key (AWS_BEARER_TOKEN_BEDROCK), the environment, the profile (its role, a web identity, IAM
Identity Center, keys, a process), a container's agent, an instance's metadata. Source: the "Standardized credential
providers" pages of the AWS SDKs and tools reference guide.
"""

import asyncio
import json
import shlex
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from hashlib import sha1
from pathlib import Path

from msgspec import Struct

from gateway.errors import ConfigError, ExchangeError, Kind
from gateway.providers.auth.aws_profiles import Profiles, Section, profile_name, read_profiles, region_of
from gateway.providers.auth.aws_sts import (
    Refused,
    assume_role,
    endpoint,
    of_container,
    of_identity_center,
    of_instance,
    read_credentials,
)
from gateway.providers.auth.sigv4 import Credentials, Headers, sign
from gateway.providers.http.client import Client

_EARLY = 600.0  # seconds before their end at which credentials are refreshed, if that is sooner than half their life
_REREAD = 300.0  # seconds after which files and the environment are looked at again
_FAILED = 5.0  # seconds for which a failure is remembered
_PROCESS_SECONDS = 60.0
_AGENT = "http://169.254.170.2"


class Bearer(Struct, frozen=True):
    """A Bedrock key, which is sent as it is: nothing is signed."""

    token: str

    def __repr__(self) -> str:
        return "<Bearer>"


Credential = Credentials | Bearer
Source = Callable[[float], Awaitable[Credentials | str]]
"""Gives credentials, or says why it has none."""


def authorized(
    credential: Credential,
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Headers,
    body: bytes,
    *,
    region: str,
    now: float,
) -> Headers:
    """Return the headers of a request to Bedrock, with what shows who asks. The arguments are those of `sign`."""
    if isinstance(credential, Credentials):
        return sign(method, host, path, query, headers, body, credential, region=region, service="bedrock", now=now)
    sent = [(name, value) for name, value in headers if name.lower() != b"authorization"]
    return [*sent, (b"Authorization", f"Bearer {credential.token}".encode())]


class AwsCredentials:
    """The credentials of one profile, kept until they have to be refreshed. Times are Unix times.

    `profile`: the configured one, which stands before the environment's keys; None for the environment's choice.
    """

    def __init__(
        self, client: Client, environ: Mapping[str, str], *, profile: str | None = None, home: Path | None = None
    ) -> None:
        self._client = client
        self._environ = environ
        self._asked_profile = profile
        self._home = home or Path(environ.get("HOME") or "/")
        self._lock = asyncio.Lock()
        self._kept: Credential | None = None
        self._refresh_at = 0.0
        self._failure: tuple[float, _Failure] | None = None

    def __repr__(self) -> str:
        return f"<AwsCredentials {self._kept!r}>"

    async def region(self) -> str | None:
        """Return the region that the environment or the profile names. Raises ConfigError for a file that is broken."""
        profiles = await asyncio.to_thread(read_profiles, self._environ, self._home)
        return region_of(self._environ, profiles.profiles.get(self._name(), {}))

    async def get(self, now: float) -> Credential:
        """Return credentials that are good now. Raises ExchangeError, which says what was tried."""
        kept = self._kept
        if kept is not None and (now < self._refresh_at or (self._good(kept, now) and self._lock.locked())):
            return kept
        async with self._lock:
            if self._kept is not None and now < self._refresh_at:
                return self._kept
            if self._failure is not None and now < self._failure[0]:
                raise self._failure[1].error()
            found = await self._find(now)
            if isinstance(found, _Failure):
                if self._kept is not None and self._good(self._kept, now):
                    self._refresh_at = now + _FAILED
                    if isinstance(self._kept, Credentials) and self._kept.expires is not None:
                        self._refresh_at = min(self._refresh_at, self._kept.expires)
                    return self._kept
                self._failure = (now + _FAILED, found)
                raise found.error()
            self._kept, self._failure = found, None
            self._refresh_at = now + _REREAD
            if isinstance(found, Credentials) and found.expires is not None:
                self._refresh_at = found.expires - min(_EARLY, (found.expires - now) / 2)
            return found

    def forget(self, credential: Credential) -> None:
        """Look for credentials again next time: these were refused."""
        if self._kept == credential:
            self._kept = None

    @staticmethod
    def _good(credential: Credential, now: float) -> bool:
        return not isinstance(credential, Credentials) or credential.expires is None or now < credential.expires

    def _name(self) -> str:
        return self._asked_profile or profile_name(self._environ)

    async def _find(self, now: float) -> "Credential | _Failure":
        if (key := self._environ.get("AWS_BEARER_TOKEN_BEDROCK")) and self._asked_profile is None:
            return Bearer(key)
        tried: list[str] = []
        try:
            profiles = await asyncio.to_thread(read_profiles, self._environ, self._home)
            for name, source in self._sources(profiles):
                found = await source(now)
                if isinstance(found, Credentials):
                    if not self._good(found, now):
                        raise Refused(f"the {name} gave credentials that have expired")
                    return found
                tried.append(f"{name}: {found}")
        except (Refused, ConfigError) as error:
            passing = isinstance(error, Refused) and error.passing
            return _Failure(f"AWS credentials could not be had: {error}.", tried, passing=passing)
        return _Failure("There are no AWS credentials.", tried)

    def _sources(self, profiles: Profiles) -> list[tuple[str, Source]]:
        name = self._name()
        profile = profiles.profiles.get(name, {})
        if not profile and (name != "default" or self._asked_profile):
            raise Refused(f"the profile {name!r} is in neither of {profiles.places}")

        async def of_profile(now: float) -> Credentials | str:
            return await self._profile(profiles, name, now, frozenset())

        async def of_identity(now: float) -> Credentials | str:
            return await self._web_identity(self._environ_identity(), now, profile)

        environment: list[tuple[str, Source]] = [("environment", self._environment), ("web identity", of_identity)]
        return [
            *([] if self._asked_profile else environment),
            (f"profile {name}", of_profile),
            ("container", self._container),
            ("instance metadata", self._instance),
        ]

    async def _environment(self, now: float) -> Credentials | str:  # noqa: ARG002
        key, secret = self._environ.get("AWS_ACCESS_KEY_ID"), self._environ.get("AWS_SECRET_ACCESS_KEY")
        if not key:
            return "AWS_ACCESS_KEY_ID is not set"
        if not secret:
            raise Refused("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not")
        return Credentials(access_key=key, secret_key=secret, token=self._environ.get("AWS_SESSION_TOKEN") or None)

    def _environ_identity(self) -> Section:
        names = {
            "web_identity_token_file": "AWS_WEB_IDENTITY_TOKEN_FILE",
            "role_arn": "AWS_ROLE_ARN",
            "role_session_name": "AWS_ROLE_SESSION_NAME",
        }
        return {name: value for name, variable in names.items() if (value := self._environ.get(variable))}

    async def _web_identity(self, settings: Section, now: float, profile: Section) -> Credentials | str:
        """Trade a token that the platform wrote into a file for a role."""
        file, role = settings.get("web_identity_token_file"), settings.get("role_arn")
        if not file:
            return "AWS_WEB_IDENTITY_TOKEN_FILE is not set"
        if not role:
            raise Refused("a web identity token is there, and no role for it (AWS_ROLE_ARN)")
        query = {
            "Action": "AssumeRoleWithWebIdentity",
            "RoleArn": role,
            "RoleSessionName": settings.get("role_session_name") or f"gateway-{now:.0f}",
            "WebIdentityToken": await self._file(file),
        }
        return await self._role(query, None, profile, now)

    async def _role(
        self, query: dict[str, str], source: Credentials | None, profile: Section, now: float
    ) -> Credentials:
        region = region_of(self._environ, profile)
        url = endpoint("sts", region, self._environ)
        return await assume_role(self._client, url, query, source, region or "us-east-1", now)

    async def _profile(self, profiles: Profiles, name: str, now: float, seen: frozenset[str]) -> Credentials | str:
        profile = profiles.profiles.get(name)
        if profile is None:
            return f"not in {profiles.places}"
        if name in seen and not profile.get("aws_access_key_id"):
            raise Refused(f"the profile {name!r} is its own source_profile")
        if profile.get("role_arn") and name not in seen:
            if profile.get("web_identity_token_file"):
                return await self._web_identity(profile, now, profile)
            return await self._assumed(profiles, name, profile, now, seen)
        if profile.get("sso_account_id"):
            return await self._identity_center(profiles, name, profile, now)
        if key := profile.get("aws_access_key_id"):
            secret = profile.get("aws_secret_access_key")
            if not secret:
                raise Refused(f"the profile {name!r} has aws_access_key_id and no aws_secret_access_key")
            return Credentials(access_key=key, secret_key=secret, token=profile.get("aws_session_token") or None)
        if command := profile.get("credential_process"):
            return await self._process(command, name)
        return f"it has no credentials in {profiles.places}"

    async def _assumed(
        self, profiles: Profiles, name: str, profile: Section, now: float, seen: frozenset[str]
    ) -> Credentials:
        """Assume a profile's role with the credentials of another profile or of the platform."""
        if profile.get("mfa_serial"):
            raise Refused(f"the profile {name!r} wants a one-time code (mfa_serial), which nobody is there to give")
        platform = {
            "Environment": self._environment,
            "EcsContainer": self._container,
            "Ec2InstanceMetadata": self._instance,
        }
        origin = profile.get("source_profile")
        if origin:
            source = await self._profile(profiles, origin, now, seen | {name})
        elif (asked := profile.get("credential_source") or "") in platform:
            source = await platform[asked](now)
        else:
            raise Refused(f"the profile {name!r} has a role_arn, and no source_profile or credential_source")
        if isinstance(source, str):
            raise Refused(f"the profile {name!r} has a role, and its source has no credentials: {source}")
        query = {
            "Action": "AssumeRole",
            "RoleArn": profile["role_arn"],
            "RoleSessionName": profile.get("role_session_name") or f"gateway-{now:.0f}",
        }
        for setting, word in (("external_id", "ExternalId"), ("duration_seconds", "DurationSeconds")):
            if value := profile.get(setting):
                query[word] = value
        return await self._role(query, source, profile, now)

    async def _identity_center(self, profiles: Profiles, name: str, profile: Section, now: float) -> Credentials:
        """Trade the token that `aws sso login` left for the profile's role."""
        session = profile.get("sso_session")
        settings = {**profile, **profiles.sessions.get(session or "", {})}
        missing = [key for key in ("sso_start_url", "sso_region", "sso_role_name") if not settings.get(key)]
        if missing:
            raise Refused(f"the profile {name!r} lacks {', '.join(missing)}")
        digest = sha1((session or settings["sso_start_url"]).encode(), usedforsecurity=False).hexdigest()
        login = f"aws sso login --profile {name}"
        try:
            token = json.loads(await self._file(str(self._home / ".aws" / "sso" / "cache" / f"{digest}.json")))
            ends = datetime.fromisoformat(token["expiresAt"].replace("UTC", "Z")).timestamp()
            access = str(token["accessToken"])
        except (Refused, ValueError, KeyError, TypeError, AttributeError):
            raise Refused(f"nobody is logged in for the profile {name!r}; run `{login}`") from None
        if ends <= now:
            raise Refused(f"the login for the profile {name!r} has expired; run `{login}`")
        url = endpoint("sso", settings["sso_region"], self._environ)
        account, role = settings["sso_account_id"], settings["sso_role_name"]
        return await of_identity_center(self._client, url, account, role, access)

    async def _process(self, command: str, name: str) -> Credentials:
        whose = f"the credential_process of the profile {name!r}"
        try:
            done = await asyncio.to_thread(_run, shlex.split(command), dict(self._environ))
            given = json.loads(done.stdout) if done.returncode == 0 else None
        except subprocess.TimeoutExpired:
            raise Refused(f"{whose} took longer than {_PROCESS_SECONDS:g} s", passing=True) from None
        except OSError as error:
            raise Refused(f"{whose} cannot be run: {error.strerror}") from None
        except ValueError:
            raise Refused(f"{whose} gave no JSON") from None
        if done.returncode != 0:
            raise Refused(f"{whose} ended with {done.returncode}")
        if not isinstance(given, dict) or given.get("Version") != 1:
            raise Refused(f"{whose} gave no JSON object of version 1")
        return read_credentials(given, whose)

    async def _container(self, now: float) -> Credentials | str:  # noqa: ARG002
        relative = self._environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        full = self._environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if not relative and not full:
            return "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set"
        token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        if file := self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
            token = await self._file(file)
        return await of_container(self._client, _AGENT + relative if relative else full or "", token)

    async def _instance(self, now: float) -> Credentials | str:  # noqa: ARG002
        if self._environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return "AWS_EC2_METADATA_DISABLED is true"
        return await of_instance(self._client, self._environ) or "no such service, or no role for this instance"

    async def _file(self, path: str) -> str:
        try:
            return (await asyncio.to_thread(Path(path).read_text, "utf-8")).strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no UTF-8"
            raise Refused(f"{path} cannot be read: {why}") from None


def _run(command: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    # The profile's owner chose the command, as AWS's own tools run it.
    return subprocess.run(  # noqa: S603
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROCESS_SECONDS, check=False
    )


class _Failure:
    """Why there are no credentials."""

    def __init__(self, message: str, tried: list[str], *, passing: bool = False) -> None:
        looked = f" Looked at {'; '.join(tried)}." if tried else ""
        advice = "AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        self._message = f"{message}{looked} Set {advice}, where the gateway runs."
        self._kind = Kind.SENDING if passing else Kind.AUTH

    def error(self) -> ExchangeError:
        """Make an error of it: one for each exchange."""
        return ExchangeError(self._kind, self._message, code="aws_credentials")
