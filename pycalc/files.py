"""Errors about the files and folders that settings name: each says the setting, the path and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def usable_folder(setting: str, folder: Path) -> Iterator[None]:
    """Return a context for work in a folder. It maps an OSError to one that names the setting and the folder."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # the error of an inner context
            raise
        detail = ""
        if error.filename not in (None, str(folder)):
            detail = f", at {error.filename}"
        elif isinstance(error, FileExistsError):
            detail = ", and it is not a folder"
        raise OSError(
            f"{setting}: the folder {folder} can't be used ({error.strerror}{detail}). Name a folder in which this "
            f"process (user {os.geteuid()}) can create and write files."
        ) from error


@contextmanager
def readable_file(option: str, path: str) -> Iterator[None]:
    """Return a context for reading a file. It maps an OSError to a ValueError with the option, path and remedy."""
    try:
        yield
    except OSError as error:
        advice = f"Name a file that this process (user {os.geteuid()}) can read."
        raise ValueError(f"{option}: {path} can't be read ({error.strerror}). {advice}") from None


def require_readable(option: str, path: str, *, or_folder: bool = False) -> None:
    """Raise ValueError unless ``path``, which ``option`` names, is a readable file, or with ``or_folder`` a folder."""
    with readable_file(option, path):
        if not (or_folder and os.path.isdir(path)):
            with open(path, "rb"):
                pass


def require_authorities(option: str, file: str) -> None:
    """Raise ValueError if a file of certificate authorities, which ``option`` names, can't be read or holds none."""
    require_readable(option, file)
    import ssl  # most starts do not need it

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        raise ValueError(f"{option}: {file} holds no certificate. Name a file of certificates in PEM form.") from None
