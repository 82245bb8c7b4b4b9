"""The settings, which are read from ``PYCALC_*`` environment variables and from lines of ``.env``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from dotenv import dotenv_values
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from pycalc.machine import cores, memory
from pycalc.models.auth import MIN_KEY_LENGTH, DeletedHistory, Role
from pycalc.models.formats import parse_age
from pycalc.models.limits import OwnLimits, UserLimits, parse_bytes, parse_limit, parse_limits, parse_seconds
from pycalc.urls import is_secure

# Browsers omit the scheme's default port (RFC 6454 §6.2).
_ORIGIN = re.compile(r"(?!http:.*:80$|https:.*:443$)https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")
_CLAIM = re.compile(r"[^=]+=.+", re.DOTALL)
_ENV_FILE = ".env"
# For a Service named pycalc, Kubernetes sets PYCALC_PORT to such a URL, and other variables with such names.
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")
_PORTS = {"pycalc_port", "pycalc_metrics_port"}
_SERVICE_LINK = re.compile(r"PYCALC(_.+)?_(SERVICE_(HOST|PORT(_.+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)")


def read_settings() -> Settings:
    """Return the settings. Raises ValueError for a bad setting or an unreadable ``.env``; its message has no secret."""
    try:
        return Settings()
    except ValidationError as error:
        raise ValueError(f"bad settings: {sentence_of(error, 'PYCALC_')}") from None
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
        raise ValueError(f"bad settings: {_ENV_FILE} is not UTF-8 ({byte}); save it as UTF-8") from None
    except OSError as error:
        raise ValueError(f"bad settings: {_ENV_FILE} can't be read: {error.strerror}") from None


def unknown_settings() -> list[str]:
    """Return a message for each ``PYCALC_`` variable in the environment or in ``.env`` that is not a setting.

    The API key of ``pycalc eval --server`` and the variables that Kubernetes sets for its Services are ignored. Raises
    OSError or UnicodeDecodeError if ``.env`` can't be read.
    """
    known = {"API_KEY", *(name.upper() for name in Settings.model_fields)}
    given = {name.upper(): value or "" for name, value in {**dotenv_values(_ENV_FILE), **os.environ}.items()}
    sentences = []
    for name, value in sorted(given.items()):
        setting = name.removeprefix("PYCALC_")
        of_kubernetes = _SERVICE_LINK.fullmatch(name) or _SERVICE_URL.match(value)
        if setting != name and setting not in known and not of_kubernetes:
            near = [f"; did you mean PYCALC_{match}?" for match in get_close_matches(setting, known, 1)]
            sentences.append(f"{name} is not a setting{''.join(near)}")
    return sentences


def sentence_of(error: ValidationError, prefix: str = "") -> str:
    """Return the messages in a ValidationError, each after the name of its field or, with ``prefix``, its variable.

    An invalid value is shown only if the message of its validator contains it.
    """
    problems = []
    for entry in error.errors():
        if entry["type"] == "default_factory_not_called":
            continue  # because another setting is invalid, which has an entry of its own
        name = ".".join(map(str, entry["loc"]))
        if prefix and name and not name.startswith(("PORT", prefix)):  # PORT is an alias, and already a variable's name
            name = f"{prefix}{name}".upper()
        problems.append(": ".join(filter(None, (name, entry["msg"].removeprefix("Value error, ")))))
    return "; ".join(problems)


def _expanded(path: str) -> str:
    """Return a path with ``~`` and variables expanded. Docker and systemd do not expand them in environment files."""
    if path[:1] in ("'", '"'):
        raise ValueError("the path begins with a quotation mark; write it without quotation marks")
    expanded = os.path.expandvars(os.path.expanduser(path))
    if "$" in expanded or expanded.startswith("~"):  # so the name of a file can't contain $
        raise ValueError(f"{path!r}: $ must begin the name of a set variable, and ~ that of an existing user")
    return expanded


def _expanded_file(url: str) -> str:
    """Return a database URL, with the path of an SQLite URL expanded. Raises the errors of ``_expanded``."""
    scheme, slashes, path = url.partition(":///")
    return f"{scheme}{slashes}{_expanded(path)}" if scheme == "sqlite" and slashes else url


def _read(parse: Callable[[str], object]) -> BeforeValidator:
    """Return a validator that replaces a text by what ``parse`` makes of it. Other objects stay as they are."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError('write a JSON object, such as {"admin": {"compute": "0"}}') from None


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that calls ``check`` for a text, or for each text in a tuple. Empty texts are not checked."""

    def checked(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for text in filter(None, (value,) if isinstance(value, str) else value):
            check(text)
        return value

    return AfterValidator(checked)


def _form(valid: Callable[[str], object], form: str) -> AfterValidator:
    """Return a validator that refuses other texts with the message ``form``, which does not show them."""

    def check(text: str) -> None:
        if not valid(text):
            raise ValueError(form)

    return _checked(check)


_EMPTY_MEANS_NONE = "an empty variable means no limit, not the default"  # marks types below
_Limit = Annotated[str, _checked(parse_limit), _EMPTY_MEANS_NONE]
_Limits = Annotated[str, _checked(parse_limits), _EMPTY_MEANS_NONE]
_Seconds = Annotated[str, _checked(parse_seconds), _EMPTY_MEANS_NONE]
_Bytes = Annotated[str, _checked(parse_bytes), _EMPTY_MEANS_NONE]
_Age = Annotated[str, _checked(parse_age), _EMPTY_MEANS_NONE]
_Count = Annotated[int | None, BeforeValidator(lambda value: None if value == "" else value), _EMPTY_MEANS_NONE]
_Path = Annotated[Path, _read(_expanded)]
_SPLIT = _read(lambda text: tuple(part.strip() for part in text.split(",") if part.strip()))
_Keys = Annotated[tuple[SecretStr, ...], NoDecode, _SPLIT]
_Networks = Annotated[tuple[str, ...], NoDecode, _SPLIT, _checked(partial(ip_network, strict=False))]
_ORIGIN_FORM = "each origin is of the form https://app.example, without a path; there are no wildcards"
_Origins = Annotated[tuple[str, ...], NoDecode, _SPLIT, _form(_ORIGIN.fullmatch, _ORIGIN_FORM)]
# OpenID Connect Core 1.0 §2
_ISSUER_FORM = "the issuer is an https URL without a query, or an http URL on this machine"
_Issuer = Annotated[str, _form(lambda text: is_secure(text) and "?" not in text, _ISSUER_FORM)]
_CALLBACK_FORM = "the URL is of https, or of http on this machine, and ends in /oidc/callback"
_Callback = Annotated[str, _form(lambda text: is_secure(text) and text.endswith("/oidc/callback"), _CALLBACK_FORM)]
_Claim = Annotated[str, _form(_CLAIM.fullmatch, "write CLAIM=VALUE, such as groups=pycalc-admins")]
_RoleQuotas = Annotated[dict[Role, OwnLimits], NoDecode, _read(_json)]
_Port = Annotated[int, Field(ge=0, le=65535)]
_Patience = Annotated[float, Field(gt=0, le=3600)]  # seconds
_NO_SECRET = SecretStr("")


class Settings(BaseSettings):
    """All settings of the service: ``pycalc serve --help`` lists them, and ``docs/operations.md`` explains them."""

    model_config = SettingsConfigDict(
        env_prefix="PYCALC_",
        env_file=_ENV_FILE,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # the input may be a secret key
    )

    env: Literal["development", "production"] = Field(
        "development", description="development, or production, which requires keys and refuses open admin registration"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: _Port = Field(
        8080, validation_alias=AliasChoices("PYCALC_PORT", "PORT"), description="port to listen on (PORT is read too)"
    )
    data_dir: _Path = Field(Path("data"), description="folder of the SQLite file, the keys and the bootstrap token")
    database_url: Annotated[str, AfterValidator(_expanded_file)] = Field(
        "", description="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME; empty: pycalc.db in the data folder"
    )
    database_api_role: SecretStr = Field(
        _NO_SECRET,
        description="NAME of the servers' PostgreSQL role, for which `pycalc migrate` grants rights; NAME:PASSWORD: it "
        "creates the role too",
    )
    database_consumer_role: SecretStr = Field(
        _NO_SECRET, description="the PostgreSQL role of `pycalc relay` and `pycalc consume`, likewise"
    )
    cache_url: str = Field(
        "memory://", description="cache: memory://?max_bytes=N, redis://HOST:PORT/DB or rediss://HOST:PORT/DB"
    )
    stream_url: str = Field(
        "memory://",
        description="events: memory://, kafka[+ssl]://[USER:PASSWORD@]HOST:PORT/TOPIC or pubsub://PROJECT/TOPIC",
    )
    stream_credentials: SecretStr = Field(_NO_SECRET, description="USER:PASSWORD for the stream, if not in its URL")
    relay: bool = Field(True, description="publish events from servers; false: only `pycalc relay` does")
    secret_keys: _Keys = Field(
        (),
        description="signing keys of 32 characters or more, newest first, comma-separated; empty in development on "
        "SQLite: one is created in the data folder",
    )
    secret_keys_file: _Path | None = Field(None, description="file of signing keys instead: one a line, newest first")
    password_keys: _Keys = Field(
        (), description="keys of the password hashes, like PYCALC_SECRET_KEYS; a removed one locks out its users"
    )
    admin_registration: Literal["bootstrap", "open", "closed"] = Field(
        "bootstrap",
        description="who may register admins: bootstrap (admins, holders of the bootstrap token), open (anybody, for "
        "demos) or closed (nobody)",
    )
    admin_totp: Literal["optional", "required"] = Field(
        "optional", description="second factor of admins: optional or required"
    )
    password_login: bool = Field(
        True, description="sign-in and registration with a password; false: only by the identity provider"
    )
    oidc_issuer: _Issuer = Field("", max_length=255, description="URL of the identity provider; empty: none")
    oidc_client_id: str = Field("", description="client id of this service at the identity provider")
    oidc_client_secret: SecretStr = Field(_NO_SECRET, description="client secret of this service at the provider")
    oidc_redirect_url: _Callback = Field("", description="URL of this service's /oidc/callback, as registered there")
    oidc_role_claim: _Claim = Field("", description="CLAIM=VALUE of ID tokens that makes admins; empty: admins decide")
    oidc_factor_claim: _Claim = Field(
        "", description="CLAIM=VALUE that every ID token needs, as proof of a second factor, such as amr=mfa"
    )
    access_token_seconds: int = Field(900, ge=60, le=86400, description="lifetime of an access token, seconds")
    bcrypt_rounds: int = Field(12, ge=4, le=16, description="cost factor of bcrypt: each step doubles a login's time")
    login_limit: _Limit = Field(
        "10/minute", description="failed logins per account, and ten times as many per address; empty: no limit"
    )
    register_limit: _Limits = Field("5/hour; 20/day", description="registrations per address; empty: no limit")
    page_limit: _Limits = Field("1000/minute; 20000/day", description="pages per address and process; empty: no limit")
    rate_limit: _Limits = Field("6000/minute; 100000/day", description="calculations per user; empty: no limit")
    compute_quota: _Seconds = Field("300s/hour", description="seconds of computing per user; empty: no quota")
    digits_quota: _Bytes = Field("5GB/day", description="bytes of results and exports per user; empty: no quota")
    role_quotas: _RoleQuotas = Field(
        {},
        description="limits by role, in place of the rate limit and the three quotas, as JSON, 0 for no limit: "
        '{"admin": {"rate_limit": "0", "compute": "600s/hour", "digits": "0", "history": 0}}',
    )
    trusted_proxies: _Networks = Field(
        (), description="proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted: networks, comma-separated"
    )
    cors_origins: _Origins = Field((), description="origins whose pages may call this service, comma-separated")
    workers: int = Field(1, ge=1, le=64, description="server processes on one port; more than one needs PostgreSQL")
    history_retention: _Age = Field("90d", description="how long calculations are kept, such as 365d; empty: for ever")
    history_quota: _Count = Field(
        100_000, ge=1, description="calculations kept per user, long ones as four; empty: all"
    )
    deleted_accounts: DeletedHistory = Field(
        "anonymize", description="calculations of deleted accounts: anonymize, erase or keep"
    )
    audit_retention: _Age = Field("90d", description="how long entries of the audit log are kept; empty: for ever")
    min_free_disk: int = Field(
        256 * 1024**2,
        ge=0,
        description="bytes that stay free on an SQLite file's disk: below, calculations are refused; 0: no reserve",
    )
    max_digits: int = Field(25_000_000, ge=1_000, le=1_000_000_000, description="digits of the largest result")
    mcp_inline_digits: int = Field(
        2_000, ge=100, le=1_000_000, description="digits of a result that /mcp sends at once"
    )
    compute_timeout: _Patience = Field(30.0, description="deadline of one computation, and of a whole batch, seconds")
    response_memory: int = Field(
        default_factory=lambda given: max(
            min(1024**3, memory() // 4) // given.get("workers", 1), given.get("max_digits", 1024**2), 1024**2
        ),
        ge=1024**2,
        description="bytes for long responses and bodies of each server process; default: a share of the memory",
    )
    response_seconds: _Patience = Field(30.0, description="how long a client may read nothing of its response, seconds")
    response_rate: int = Field(16_384, ge=1, description="slowest reading of a long response, bytes a second")
    compute_workers: int = Field(
        default_factory=lambda given: max(min(cores(), 256) // given.get("workers", 1), 1),
        ge=1,
        le=256,
        description="worker processes of each server process; default: its share of one per core",
    )
    compute_memory: int = Field(
        default_factory=lambda given: max(memory() // 2 // given.get("workers", 1), 64 * 1024**2),
        ge=64 * 1024**2,
        description="bytes for the worker processes of each server process; default: a share of the memory",
    )
    event_streams: int = Field(1_000, ge=1, le=100_000, description="event streams (GET /events) of a server process")
    log_format: Literal["json", "google"] = Field(
        default_factory=lambda: "google" if os.environ.get("K_SERVICE") else "json",
        description="names of the log's fields: json, or google (Cloud Logging's); default on Cloud Run: google",
    )
    metrics_port: _Port | None = Field(None, description="separate port for /metrics; default: the service's own port")
    metrics_seconds: float = Field(1.0, ge=0, le=60, description="greatest age of the metrics in a response, seconds")
    tracing: bool = Field(False, description="send traces by OTLP to OTEL_EXPORTER_OTLP_ENDPOINT; needs the extra otel")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of settings, the first with the highest precedence: arguments, environment, ``.env``.

        An empty variable means the default, except for the settings in which empty means "no limit". A port that
        Kubernetes has set for a Service is ignored.
        """
        may_be_empty = {
            f"pycalc_{name}" for name, field in cls.model_fields.items() if _EMPTY_MEANS_NONE in field.metadata
        }
        for source in (env_settings, dotenv_settings):
            if isinstance(source, EnvSettingsSource):
                source.env_vars = {
                    name: value
                    for name, value in source.env_vars.items()
                    if (value or name in may_be_empty) and not (name in _PORTS and _SERVICE_URL.match(value or ""))
                }
        return init_settings, env_settings, dotenv_settings

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        """Raise ValueError for short keys, settings that exclude each other, and settings that ``hardened`` forbids."""
        for name, keys in (("SECRET", self.secret_keys), ("PASSWORD", self.password_keys)):
            if any(len(key.get_secret_value()) < MIN_KEY_LENGTH for key in keys):
                raise ValueError(f"each key in PYCALC_{name}_KEYS needs {MIN_KEY_LENGTH} characters or more")
        if not self.database_url and any(mark in str(self.data_dir) for mark in "?#"):
            raise ValueError(f"PYCALC_DATA_DIR: the folder's name {str(self.data_dir)!r} must not contain ? or #")
        if self.secret_keys and self.secret_keys_file:
            raise ValueError("set PYCALC_SECRET_KEYS or PYCALC_SECRET_KEYS_FILE, not both")
        if self.workers > 1 and self.database.startswith("sqlite:"):
            raise ValueError(
                "PYCALC_WORKERS: one process serves an SQLite file; more need PYCALC_DATABASE_URL=postgresql://..."
            )
        if not self.relay and (self.database.startswith("sqlite:") or self.stream_url.startswith("memory:")):
            raise ValueError("PYCALC_RELAY=false leaves events to `pycalc relay`, which needs PostgreSQL and a broker")
        if self.hardened and self.admin_registration == "open":
            raise ValueError("PYCALC_ADMIN_REGISTRATION=open is for demos: not in production, not on Cloud Run")
        return self

    @model_validator(mode="after")
    def _require_provider(self) -> Self:
        """Raise ValueError if the settings of an OpenID Connect provider are incomplete."""
        needed = (self.oidc_client_id, self.oidc_client_secret.get_secret_value(), self.oidc_redirect_url)
        if self.oidc_issuer and not all(needed):
            raise ValueError(
                "PYCALC_OIDC_ISSUER needs PYCALC_OIDC_CLIENT_ID, PYCALC_OIDC_CLIENT_SECRET and PYCALC_OIDC_REDIRECT_URL"
            )
        if not self.oidc_issuer and any((*needed, self.oidc_role_claim, self.oidc_factor_claim)):
            raise ValueError("settings of an identity provider (PYCALC_OIDC_...) need PYCALC_OIDC_ISSUER, its URL")
        if not self.password_login and not self.oidc_issuer:
            raise ValueError("PYCALC_PASSWORD_LOGIN=false leaves no way in: it needs PYCALC_OIDC_ISSUER")
        if self.admin_totp == "required" and self.oidc_issuer and not self.oidc_factor_claim:
            raise ValueError(
                "PYCALC_ADMIN_TOTP=required needs PYCALC_OIDC_FACTOR_CLAIM, the provider's proof of a second factor"
            )
        return self

    def require_keys(self) -> None:
        """Raise ValueError if the secret or password keys are not set, unless the service makes its own keys."""
        if not self.hardened and self.database.startswith("sqlite:"):  # here the service makes its own
            return
        where = f"in production, on Cloud Run and with PostgreSQL: {MIN_KEY_LENGTH} random characters or more"
        if not (self.secret_keys or self.secret_keys_file):
            raise ValueError(f"PYCALC_SECRET_KEYS is required (or PYCALC_SECRET_KEYS_FILE) {where}")
        if not self.password_keys:
            raise ValueError(f"PYCALC_PASSWORD_KEYS is required {where}")

    @property
    def user_limits(self) -> UserLimits:
        """Return the default limits of a user. Limits of the account or of its role take precedence."""
        return UserLimits(
            self.rate_limit,
            parse_seconds(self.compute_quota) if self.compute_quota else None,
            parse_bytes(self.digits_quota) if self.digits_quota else None,
            self.history_quota,
        )

    @property
    def hardened(self) -> bool:
        """Return whether unsafe settings are refused: in production, and on Cloud Run, which sets ``K_SERVICE``."""
        return self.env == "production" or bool(os.environ.get("K_SERVICE"))

    @property
    def database(self) -> str:
        """Return the URL of the database, or the default URL if none is set."""
        return self.database_url or f"sqlite:///{self.data_dir / 'pycalc.db'}"
