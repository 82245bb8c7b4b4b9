"""The settings: frozen, from ``PYCALC_*`` variables or lines of ``.env``; URLs select the backends."""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pycalc.services.limits import parse_limit

MIN_SECRET_LENGTH = 32


class Settings(BaseSettings):
    """Every setting of the service; the descriptions are what ``pycalc serve --help`` prints."""

    model_config = SettingsConfigDict(
        env_prefix="PYCALC_", env_file=".env", frozen=True, extra="ignore", populate_by_name=True
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
    database_url: str = Field("", description="sqlite:///PATH; empty: sqlite:///{data}/pycalc.db")
    cache_url: str = Field("memory://", description="memory://?max_bytes=N; redis://HOST:PORT/DB or rediss://")
    stream_url: str = Field("memory://", description="memory://")
    secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="signing keys, comma-separated, newest first, 32 characters or more each; "
        "development: made once and kept in the data folder",
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
        (), description="proxies whose X-Forwarded-For counts: addresses or networks, comma-separated"
    )
    max_digits: int = Field(25_000_000, ge=1_000, le=1_000_000_000, description="largest result written out, digits")
    compute_timeout: float = Field(30.0, gt=0, le=3600, description="deadline of one computation, seconds")
    compute_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, le=256, description="worker processes; default: one per core"
    )

    @field_validator("secret_keys", "trusted_proxies", mode="before")
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

    @field_validator("trusted_proxies")
    @classmethod
    def _readable_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network, strict=False)
        return value

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        """Production needs keys and a closed door; weak keys are refused everywhere."""
        if any(len(key.get_secret_value()) < MIN_SECRET_LENGTH for key in self.secret_keys):
            raise ValueError(f"each key in PYCALC_SECRET_KEYS needs {MIN_SECRET_LENGTH} characters or more")
        if self.hardened and self.admin_registration == "open":
            raise ValueError("PYCALC_ADMIN_REGISTRATION=open is for demos: not in production, not on Cloud Run")
        if self.env == "production" and not self.secret_keys:
            raise ValueError("PYCALC_SECRET_KEYS is required when PYCALC_ENV=production")
        return self

    @property
    def hardened(self) -> bool:
        """Whether demo conveniences are refused: in production, and on Cloud Run, which sets ``K_SERVICE``."""
        return self.env == "production" or bool(os.environ.get("K_SERVICE"))

    @property
    def database(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'pycalc.db'}"
