"""Secrets in the data folder: development keys, and the one-time token that registers the first admin."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from pycalc.db.base import UserStore
from pycalc.files import usable_folder

TOKEN_FILE = "bootstrap-token"  # noqa: S105  # a file's name
KEY_FILE = "secret-key"
PASSWORD_KEY_FILE = "password-key"  # noqa: S105  # a file's name

_SETTING = "PYCALC_DATA_DIR"


def write_private(file: Path, text: str) -> None:
    """Write a file in the data folder atomically, readable by its owner only."""
    with usable_folder(_SETTING, file.parent):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = file.with_name(file.name + ".part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(text + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        part.rename(file)


def development_key(file: Path) -> str:
    """Return the key in a file of the data folder; create a missing file. Raises ValueError if it holds no key."""
    with usable_folder(_SETTING, file.parent):
        if not file.exists():
            write_private(file, secrets.token_hex(32))
        content = file.read_bytes()
    try:
        key = content.decode().strip()
    except UnicodeDecodeError:
        key = ""
    if not key:
        raise ValueError(f"{_SETTING}: the file {file} holds no key. Restore it from a backup.")
    return key


def forget_bootstrap_token(data_dir: Path) -> None:
    """Remove the file of a bootstrap token that was used or is not wanted."""
    with usable_folder(_SETTING, data_dir):
        (data_dir / TOKEN_FILE).unlink(missing_ok=True)


async def offer_bootstrap_token(users: UserStore, data_dir: Path, *, wanted: bool, replace: bool) -> str | None:
    """Ensure that there is a valid bootstrap token. Return the token if it is new, else None.

    If no token is ``wanted`` or an enabled admin exists, only remove the token's file. Without ``replace``, keep a
    valid token whose file is not in ``data_dir``, because another instance may have made this token.
    """
    file = data_dir / TOKEN_FILE
    if not wanted or await users.has_admin():
        forget_bootstrap_token(data_dir)
        return None
    known = await users.bootstrap_hash()
    with usable_folder(_SETTING, data_dir), suppress(FileNotFoundError):
        if known == sha256(file.read_bytes().strip()).digest():
            return None
    token = secrets.token_urlsafe(32)
    if not await users.offer_bootstrap(sha256(token.encode()).digest(), replace=replace):
        return None
    write_private(file, token)
    return token
