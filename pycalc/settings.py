"""The settings: frozen, from ``PYCALC_*`` variables or lines of ``.env``; URLs select the backends."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from dotenv import dotenv_values
from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from pycalc.machine import cores, memory
from pycalc.models.auth import MIN_KEY_LENGTH
from pycalc.models.limits import parse_limit
from pycalc.models.times import parse_age

_ORIGIN = re.compile(r"(https?)://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")
_OWN_PORT = {"http": ":80", "https": ":443"}


_ENV_FILE = ".env"
_EMPTY_MEANS_NONE = {"pycalc_login_limit", "pycalc_register_limit"}
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")
"""The value that Kubernetes gives PYCALC_PORT where there is a Service named pycalc."""
_PORTS = {"pycalc_port", "pycalc_metrics_port"}
_SERVICE_LINK_NAME = re.compile(r"_(SERVICE_(HOST|PORT(_.+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)")
"""Endings of the variables that Kubernetes makes for a Service, besides NAME_PORT."""


def read_settings() -> Settings:
    """Return the settings; raises ValueError, with a sentence that shows no secret, for one that is not valid."""
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
    """Return a sentence for each ``PYCALC_`` variable, in the environment or in ``.env``, that is no setting."""
    known = {name.upper() for name in Settings.model_fields}
    variables = {**dotenv_values(_ENV_FILE), **os.environ}
    given = {name.upper(): value or "" for name, value in variables.items()}
    links = _service_links(given)
    sentences = []
    for name in sorted(given.keys() - links):
        setting = name.removeprefix("PYCALC_")
        if setting == name or setting in known:
            continue
        near = [f"; did you mean PYCALC_{match}?" for match in get_close_matches(setting, known, 1)]
        sentences.append(f"{name} is not a setting{''.join(near)}")
    return sentences


def _service_links(variables: Mapping[str, str]) -> set[str]:
    """Return the names of variables that Kubernetes made for its Services, known by NAME_PORT=tcp://... or the host."""
    links = {name for name, value in variables.items() if name.endswith("_PORT") and _SERVICE_LINK.match(value)}
    services = {name.removesuffix("_PORT") for name in links}
    for name in variables:
        service = name.removesuffix("_SERVICE_HOST")
        if service != name and f"{service}_SERVICE_PORT" in variables:
            services.add(service)
    return links | {
        name
        for name in variables
        for service in services
        if name.startswith(service) and _SERVICE_LINK_NAME.fullmatch(name, len(service))
    }


def sentence_of(error: ValidationError, prefix: str = "") -> str:
    """Return what was not valid, and nothing of the values; each name gets the prefix, and then is in capitals."""
    problems = []
    for entry in error.errors():
        name = ".".join(map(str, entry["loc"]))
        if prefix and name and not name.startswith(("PORT", prefix)):  # an alias stands there as it is
            name = f"{prefix}{name}".upper()
        problems.append(": ".join(filter(None, (name, entry["msg"].removeprefix("Value error, ")))))
    return "; ".join(problems)


def _without_noise(variables: Mapping[str, str | None]) -> dict[str, str | None]:
    """Leave out what says nothing: empty variables, and ports that Kubernetes makes up for its Services."""
    return {
        name: value
        for name, value in variables.items()
        if (value or name in _EMPTY_MEANS_NONE) and not (name in _PORTS and _SERVICE_LINK.match(value or ""))
    }


def _expanded(path: str) -> str:
    """Return a path with ``~`` and variables filled in, as a shell would; raises ValueError where that can't be done.

    Docker's and systemd's files of variables are not read by a shell.
    """
    if path[:1] in ("'", '"'):
        raise ValueError("the path begins with a quotation mark; write it without quotation marks")
    expanded = os.path.expandvars(os.path.expanduser(path))
    if "$" in expanded or expanded.startswith("~"):
        raise ValueError(f"{path!r} names a variable or a user that does not exist")
    return expanded


class Settings(BaseSettings):
    """Every setting of the service; the descriptions are what ``pycalc serve --help`` prints."""

    model_config = SettingsConfigDict(
        env_prefix="PYCALC_",
        env_file=_ENV_FILE,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # it may be a key
    )

    env: Literal["development", "production"] = Field("development", description="development or production")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(
        8080,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("PYCALC_PORT", "PORT"),
        description="port to listen on (also PORT)",
    )
    data_dir: Path = Field(Path("data"), description="folder for the database, the keys and the bootstrap token")
    database_url: str = Field("", description="sqlite:///PATH or postgresql://...; empty: sqlite:///{data}/pycalc.db")
    cache_url: str = Field("memory://", description="memory://?max_bytes=N; redis://HOST:PORT/DB or rediss://")
    stream_url: str = Field(
        "memory://",
        description="memory://, kafka://host:port/topic, kafka+ssl://user:password@host:port/topic or "
        "pubsub://project/topic",
    )
    stream_credentials: SecretStr = Field(
        SecretStr(""), description="user:password for the stream, where they are not in its URL"
    )
    relay: bool = Field(
        True, description="whether servers publish events; false: only `pycalc relay` does, on PostgreSQL with a broker"
    )
    secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="signing keys, comma-separated, newest first, 32 characters or more each; "
        "development on SQLite: made once and kept in the data folder",
    )
    secret_keys_file: Path | None = Field(
        None, description="file with the signing keys instead, one a line, newest first; read again each second"
    )
    password_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="keys of the password hashes, comma-separated, newest first, 32 characters or more each; "
        "whose hash a removed key made can't log in; development on SQLite: made once and kept in the data folder",
    )
    admin_registration: Literal["bootstrap", "open", "closed"] = Field(
        "bootstrap", description="who may register admins: bootstrap, open (demos only) or closed"
    )
    access_token_seconds: int = Field(900, ge=60, le=86400, description="life of an access token, seconds")
    bcrypt_rounds: int = Field(12, ge=4, le=16, description="bcrypt's cost factor")
    login_limit: str = Field(
        "10/minute", description="failed logins per account, ten times that per address; empty: no limit"
    )
    register_limit: str = Field("60/hour", description="registrations per address; empty: no limit")
    rate_limit: str = Field("", description="calculations per user, such as 600/minute; empty: no limit")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="proxies whose X-Forwarded-For and -Proto count: addresses or networks, comma-separated"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins whose pages may call the service, such as https://app.example, comma-separated"
    )
    workers: int = Field(1, ge=1, le=64, description="server processes on one port; more than one needs PostgreSQL")
    history_retention: str = Field("", description="how long calculations are kept, such as 365d; empty: for ever")
    max_digits: int = Field(25_000_000, ge=1_000, le=1_000_000_000, description="largest result written out, digits")
    compute_timeout: float = Field(30.0, gt=0, le=3600, description="deadline of one computation, seconds")
    response_memory: int = Field(
        default_factory=lambda: min(1024**3, memory() // 4),
        ge=1024**2,
        description="memory of the long responses that are being made or sent, bytes; "
        "default: a quarter of what the service may use, 1 GiB at most",
    )
    response_seconds: float = Field(
        30.0, gt=0, le=3600, description="how long a client may take nothing of its response, seconds"
    )
    response_rate: int = Field(16_384, ge=1, description="how fast a client must read a long response, bytes a second")
    compute_workers: int = Field(
        default_factory=lambda: min(cores(), 256), ge=1, le=256, description="worker processes; default: one per core"
    )
    compute_memory: int = Field(
        default_factory=lambda: memory() // 2,
        ge=64 * 1024**2,
        description="memory that the worker processes may take together beyond what they have at their start, bytes; "
        "default: half of what the service may use",
    )

    log_format: Literal["json", "google"] = Field(
        default_factory=lambda: "google" if os.environ.get("K_SERVICE") else "json",
        description="names of the log's fields: json, or google (Cloud Logging's); default on Cloud Run: google",
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="port for /metrics, which is then not on the service's own; default: none"
    )
    metrics_seconds: float = Field(1.0, ge=0, le=60, description="how old the metrics may be that are told")
    tracing: bool = Field(
        False, description="send traces by OTLP to where OTEL_EXPORTER_OTLP_ENDPOINT says; needs the extra otel"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read variables and ``.env``; an empty variable means the default, unless it is documented as "none"."""
        for source in (env_settings, dotenv_settings):
            if isinstance(source, EnvSettingsSource):
                source.env_vars = _without_noise(source.env_vars)
        return init_settings, env_settings, dotenv_settings

    @field_validator("data_dir", "secret_keys_file", mode="before")
    @classmethod
    def _path(cls, value: object) -> object:
        return _expanded(value) if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _file(cls, value: str) -> str:
        """The path of an SQLite file is a path like any other; a URL of PostgreSQL stays as it is."""
        scheme, slashes, path = value.partition(":///")
        if scheme != "sqlite" or not slashes:
            return value
        return f"{scheme}{slashes}{_expanded(path)}"

    @field_validator("secret_keys", "password_keys", "trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """A variable holds the values separated by commas."""
        return tuple(key.strip() for key in value.split(",") if key.strip()) if isinstance(value, str) else value

    @field_validator("login_limit", "register_limit", "rate_limit")
    @classmethod
    def _readable_limit(cls, value: str) -> str:
        if value:
            parse_limit(value)
        return value

    @field_validator("history_retention")
    @classmethod
    def _readable_age(cls, value: str) -> str:
        if value:
            parse_age(value)
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _readable_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network, strict=False)
        return value

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Each origin is named as a browser sends it (RFC 6454 §6.2), without the port that its scheme implies."""
        for origin in value:
            found = _ORIGIN.fullmatch(origin)
            if found is None or found[2] == _OWN_PORT[found[1]]:
                raise ValueError(f"{origin!r} is not an origin such as https://app.example; there are no wildcards")
        return value

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        """Production needs a closed door; weak keys are refused everywhere."""
        for name, keys in (("SECRET", self.secret_keys), ("PASSWORD", self.password_keys)):
            if any(len(key.get_secret_value()) < MIN_KEY_LENGTH for key in keys):
                raise ValueError(f"each key in PYCALC_{name}_KEYS needs {MIN_KEY_LENGTH} characters or more")
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

    def require_keys(self) -> None:
        """Raise ValueError where keys are missing and may not be made up, because others need the same.

        What serves no requests needs none: migrations, relay, consumer.
        """
        if not self.hardened and self.database.startswith("sqlite:"):
            return
        where = f"in production, on Cloud Run and with PostgreSQL: {MIN_KEY_LENGTH} random characters or more"
        if not (self.secret_keys or self.secret_keys_file):
            raise ValueError(f"PYCALC_SECRET_KEYS is required (or PYCALC_SECRET_KEYS_FILE) {where}")
        if not self.password_keys:
            raise ValueError(f"PYCALC_PASSWORD_KEYS is required {where}")

    @property
    def hardened(self) -> bool:
        """Whether demo conveniences are refused: in production, and on Cloud Run, which sets ``K_SERVICE``."""
        return self.env == "production" or bool(os.environ.get("K_SERVICE"))

    @property
    def database(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'pycalc.db'}"
