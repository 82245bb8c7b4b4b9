"""Accounts, sessions and API keys as clients see them, and as they are stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, EmailStr, Field, StrictBool, ValidationInfo, field_validator

from pycalc.models.formats import NextCursor, Timestamp, Uuid, expected, request_config
from pycalc.models.limits import DEFAULTS, NO_KEY_LIMITS, UNLIMITED, KeyLimits, OwnLimits, UserLimits
from pycalc.models.math import Number

MAX_PASSWORD_LENGTH = 1_024
NO_PASSWORD = "!"  # noqa: S105  # stored instead of a hash; no password has this hash
LONGEST_KEY_SECONDS = 10 * 365 * 86_400
LONGEST_ADDRESS = 45
LONGEST_CLIENT = 100
DeletedHistory = Literal["keep", "anonymize", "erase"]  # the treatment of a deleted account's history
DELETED_NAME = "(deleted)"  # shown instead of a deleted account's name; no account can have this name
LONGEST_USERNAME = 32  # characters: shorter than the text of an id, so no text is both a username and an id
MIN_KEY_LENGTH = 32  # characters of a signing key: for HMAC-SHA-256 at least the hash's length (RFC 7518 §3.2)


class Role(StrEnum):
    """The rights of an account. Admins see everyone's history and manage the accounts."""

    USER = "user"
    ADMIN = "admin"


class UserOrder(StrEnum):
    """The ways to sort a list of accounts."""

    USERNAME = "username"
    CREATED_AT = "created_at"
    LAST_SIGN_IN_AT = "last_sign_in_at"


class KeyScope(StrEnum):
    """A right of an API key. The account's role decides whose records the right covers."""

    CALCULATE = "calculate"
    HISTORY_READ = "history:read"
    USAGE_READ = "usage:read"
    EVENTS_READ = "events:read"
    ACCOUNT_READ = "account:read"
    ADMIN_READ = "admin:read"


SESSION = "session"  # the right of sessions alone: to change passwords, keys, sessions and accounts
SESSION_RIGHTS = frozenset({*KeyScope, SESSION})


def scopes_text(scopes: Iterable[KeyScope]) -> str:
    """Return the stored text of scopes, such as ``calculate history:read``, in the order of their definition."""
    wanted = set(scopes)
    return " ".join(scope for scope in KeyScope if scope in wanted)


DEFAULT_SCOPES = scopes_text(set(KeyScope) - {KeyScope.ADMIN_READ})


@dataclass(frozen=True, slots=True)
class User:
    """A stored account."""

    id: bytes
    username: str
    email: str
    password_hash: str
    role: Role
    created_at: datetime
    disabled: bool = False
    limits: OwnLimits = DEFAULTS
    totp: bool = False  # whether a login needs a second factor

    @property
    def has_password(self) -> bool:
        """Return whether the account has a password. An account of the identity provider has none."""
        return self.password_hash != NO_PASSWORD

    @property
    def second_factor(self) -> bool:
        """Return True if logins need a second factor, or if the identity provider signs the user in."""
        return self.totp or not self.has_password


class ListedUser(NamedTuple):
    """An account and its activity, as shown in the list of accounts."""

    user: User
    order_value: str | int  # the value that the list is sorted by
    signed_in_ms: int  # the last sign-in, in milliseconds since the epoch; 0: none is known
    calculations: int  # of one day, like the figures below
    digits: int
    compute_us: int


@dataclass(frozen=True, slots=True)
class Device:
    """The address from which a session is used, and the program that uses it, according to its User-Agent."""

    address: str
    client: str


@dataclass(frozen=True, slots=True)
class StoredSession:
    """An open session without the hashes of its tokens. Times are in milliseconds since the epoch."""

    id: bytes
    created_ms: int
    used_ms: int  # the last login or refresh
    device: Device | None  # that of the last login or refresh; None for a session of an earlier release


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A stored API key without its hash. Times are in milliseconds since the epoch."""

    id: bytes
    user_id: bytes
    name: str
    prefix: str
    created_ms: int
    expires_ms: int | None  # None: never
    used_ms: int | None = None
    used_from: str | None = None  # the client's address at the last use
    scopes: str = DEFAULT_SCOPES  # separated by spaces
    allow_query: bool = False  # whether the key may be sent in a URL
    limits: KeyLimits = NO_KEY_LIMITS


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller of a request."""

    user_id: bytes
    username: str
    role: Role
    credential_id: bytes  # the session's id, or the API key's
    expires_at: float  # seconds since the epoch, until which the principal may be cached
    rights: frozenset[str] = SESSION_RIGHTS
    allow_query: bool = False  # whether the credential may be sent in a URL
    limits: UserLimits = UNLIMITED
    key: Principal | None = None  # for an API key with limits of its own, a principal with the key's id and limits
    second_factor: bool = False  # whether the account has one

    @property
    def is_key(self) -> bool:
        """Return whether the caller uses an API key, not a session."""
        return SESSION not in self.rights

    @property
    def is_admin(self) -> bool:
        """Return whether the caller is an admin."""
        return self.role is Role.ADMIN


_NAME = f"3 to {LONGEST_USERNAME} ASCII letters, digits, dots, underscores and hyphens, the first a letter or a digit"
Username = Annotated[
    str,
    Field(min_length=3, max_length=LONGEST_USERNAME, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"),
    Field(description=f"{_NAME}; upper and lower case count as equal"),
    expected(_NAME),
]
_PASSWORD = "correct horse battery staple"  # noqa: S105  # an example
_NEW_PASSWORD = "purple monkey dishwasher"  # noqa: S105  # an example
_Flag = Annotated[StrictBool, expected("true or false")]
# A factory keeps the default out of the schema: some generated clients require a member that has a default, and some
# can't generate a default that is an object.
_IN_COOKIE = Field(default_factory=bool, description="for browsers: the refresh token comes only in an HttpOnly cookie")
Password = Annotated[
    str,
    Field(min_length=8, max_length=MAX_PASSWORD_LENGTH),
    expected(
        f"a string of 8 to {MAX_PASSWORD_LENGTH:,} characters, none of them NUL",
        accepts=lambda text: "\x00" not in text,
    ),
]
PresentPassword = Annotated[str, Field(max_length=MAX_PASSWORD_LENGTH)]
_CODE = "6 digits of the authenticator app or, once it is confirmed, a recovery code"
OneTimeCode = Annotated[str, Field(max_length=64, description=_CODE)]


class Registration(BaseModel):
    """A request to create an account."""

    model_config = request_config(username="ada", email="ada@example.com", password=_PASSWORD)

    username: Username
    email: Annotated[
        EmailStr,
        Field(max_length=254),
        expected("an address such as ada@example.com, up to 254 characters", given=lambda text: "<" not in str(text)),
    ]
    password: Password
    confirm_password: PresentPassword | None = Field(None, description="when sent, must equal `password`")
    role: Annotated[Role, expected("user or admin")] = Role.USER

    @field_validator("confirm_password")
    @classmethod
    def _confirmed(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and "password" in info.data and value != info.data["password"]:
            raise ValueError("must be the same as password")
        return value


class Credentials(BaseModel):
    """The username and the password of a login, and a code if the account needs one."""

    model_config = request_config(username="ada", password=_PASSWORD)

    username: str = Field(max_length=254)
    password: PresentPassword
    totp: OneTimeCode | None = None
    cookie: _Flag = _IN_COOKIE


class Enrolment(BaseModel):
    """The password of an account that enrols a second factor."""

    model_config = request_config(password=_PASSWORD)

    password: PresentPassword


class TotpSecret(BaseModel):
    """The secret of time-based codes (RFC 6238: SHA-1, 6 digits, 30 seconds), shown only in this response."""

    secret: str = Field(description="Base32, for an authenticator app")
    uri: str = Field(description="the secret as an otpauth URI, for a QR code")


class Confirmation(BaseModel):
    """The first code of an authenticator app, which proves that the app has the secret."""

    model_config = request_config(totp="492039")

    totp: OneTimeCode


class RecoveryCodes(BaseModel):
    """Codes for logins without the authenticator app. Each works once; they are shown only in this response."""

    recovery_codes: list[str]


class Disabling(BaseModel):
    """The password and a code, which are needed to disable the second factor."""

    model_config = request_config(password=_PASSWORD, totp="492039")

    password: PresentPassword
    totp: OneTimeCode


class Account(BaseModel):
    """An account as its owner and admins see it."""

    id: Uuid
    username: str
    email: str
    role: Role
    totp: bool = Field(description="whether a login with the password needs a code")
    created_at: Timestamp


class UserAccount(Account):
    """An account as admins see it."""

    disabled: bool
    quota: OwnLimits


class Activity(BaseModel):
    """A user's totals for the present day in UTC, counted from the event stream."""

    calculations: int
    digits: Number = Field(description="digits of the results")
    compute_ms: float = Field(description="time spent on them, milliseconds")


class ListedAccount(UserAccount):
    """An account in the list of accounts."""

    last_sign_in_at: Timestamp | None = Field(description="the last login; null: none is known")
    today: Activity


class UserPage(BaseModel):
    """A page of the list of accounts."""

    items: list[ListedAccount]
    next_cursor: NextCursor


class UserChange(BaseModel):
    """An admin's change of an account. Members that are left out stay unchanged."""

    model_config = request_config(role="admin")

    role: Annotated[Role | None, expected("user or admin")] = None
    disabled: Annotated[StrictBool | None, expected("true or false")] = None
    quota: OwnLimits = Field(default_factory=OwnLimits, description="members that are left out do not change")


class KeyRequest(BaseModel):
    """A request for an API key."""

    model_config = request_config(name="nightly report", scopes=["calculate"], expires_in=31536000)

    name: Annotated[
        str,
        Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$"),
        expected("1 to 100 characters, none of them a control character"),
    ]
    expires_in: Annotated[
        int | None,
        Field(ge=60, le=LONGEST_KEY_SECONDS, description="seconds until the key expires; null: never"),
        expected(
            f"a whole number of seconds from 60 to {LONGEST_KEY_SECONDS:,}, or null",
            given=lambda seconds: not isinstance(seconds, str),
        ),
    ] = None
    scopes: Annotated[
        list[KeyScope] | None,
        Field(
            min_length=1,
            max_length=len(KeyScope),
            description="what the key may do; null: everything but `admin:read`, which only an admin's key may have",
        ),
        expected(
            f"a list of different scopes, each one of {', '.join(KeyScope)}; or null",
            accepts=lambda scopes: scopes is None or len(set(scopes)) == len(scopes),
        ),
    ] = None
    allow_query: _Flag = Field(default_factory=bool, description="permits `?key=` in URLs; for scope `calculate` alone")
    limits: KeyLimits = Field(default_factory=KeyLimits)

    @field_validator("allow_query")
    @classmethod
    def _harmless(cls, value: bool, info: ValidationInfo) -> bool:
        if value and "scopes" in info.data and info.data["scopes"] != [KeyScope.CALCULATE]:
            raise ValueError('needs scopes to be ["calculate"], because others may see a URL')
        return value


class ApiKey(BaseModel):
    """An API key as its owner sees it."""

    id: Uuid
    name: str
    prefix: str = Field(description="how the key begins")
    created_at: Timestamp
    expires_at: Timestamp | None
    scopes: list[KeyScope] = Field(description="what the key may do")
    allow_query: bool = Field(description="whether the key may be sent in a URL, as `?key=`")
    limits: KeyLimits
    last_used_at: Timestamp | None = Field(description="to within two minutes")
    last_used_from: str | None = Field(description="the client's address then, for IPv6 its /64 network")


class CreatedApiKey(ApiKey):
    """A new API key with its secret text, which is shown only in this response."""

    key: str = Field(description="a bearer token, or the password of HTTP Basic with any user name")


class Session(BaseModel):
    """A new session."""

    access_token: str = Field(description="a JWT, to be sent as `Authorization: Bearer ...`")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # the scheme's name
    expires_in: int = Field(description="seconds until the access token expires")
    refresh_token: str | None = Field(None, description="POST /token/refresh exchanges it; absent with `cookie`")


class Refresh(BaseModel):
    """A refresh token to exchange for new tokens. With `cookie`, the token in the request's cookie is used."""

    model_config = request_config(refresh_token="pcr_AZqrEnwA...")  # noqa: S106  # an example

    cookie: _Flag = _IN_COOKIE
    refresh_token: str | None = Field(None, max_length=200, validate_default=True)

    @field_validator("refresh_token")
    @classmethod
    def _one_token(cls, value: str | None, info: ValidationInfo) -> str | None:
        in_cookie = info.data.get("cookie")
        if value is None and in_cookie is False:
            raise ValueError("is missing: send it, or cookie: true")
        if value is not None and in_cookie:
            raise ValueError("must be left out with cookie: true")
        return value


class OpenSession(BaseModel):
    """One of the user's open sessions. Its last use is the last login or refresh, not a request."""

    id: Uuid
    opened_at: Timestamp
    last_used_at: Timestamp
    address: str | None = Field(description="the network address of the last use")
    client: str | None = Field(description="the program of the last use, by its User-Agent")
    current: bool = Field(description="whether this request belongs to the session")


class PasswordChange(BaseModel):
    """A new password, and the current one as proof of identity."""

    model_config = request_config(current_password=_PASSWORD, new_password=_NEW_PASSWORD)

    current_password: PresentPassword
    new_password: Password


class AccountDeletion(BaseModel):
    """The current password, as proof of identity."""

    model_config = request_config(password=_PASSWORD)

    password: PresentPassword


class CreatedPasswordReset(BaseModel):
    """A one-time token that sets a new password. The token is shown only in this response."""

    token: str
    link: str = Field(description="a page that uses the token, relative to the service's address")
    expires_at: Timestamp


class PasswordReset(BaseModel):
    """A new password, and the token of a password reset as proof of identity."""

    model_config = request_config(token="pcp_AZqrEnwA...", new_password=_NEW_PASSWORD)  # noqa: S106  # an example

    token: str = Field(max_length=200)
    new_password: Password
