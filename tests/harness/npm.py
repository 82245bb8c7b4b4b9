"""npm packages, installed once into the user's cache folder in the versions of their lock files."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import mkdtemp

from tests.harness.daemons import program

_INSTALL_SECONDS = 300


def npm_packages(folder: Path) -> Path:
    """Return a copy of a folder with its npm packages installed; the first call makes it.

    The folder contains package.json, package-lock.json and perhaps JavaScript modules. Raises Missing if npm is not
    installed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pycalc"
    files = sorted(folder.iterdir())
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    installed = cache / f"{folder.name.replace('_', '-')}-{digest[:12]}"
    if installed.exists():
        return installed
    npm = program("npm")
    cache.mkdir(parents=True, exist_ok=True)
    fetched = Path(mkdtemp(dir=cache))
    for file in files:
        shutil.copy(file, fetched)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=fetched, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"npm ci failed: {done.stderr[-2_000:]}")
    try:
        fetched.rename(installed)
    except OSError:  # another test run has filled the folder in the meantime
        shutil.rmtree(fetched)
    return installed
