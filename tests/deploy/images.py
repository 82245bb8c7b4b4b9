"""Image builds without Docker: buildah runs the Dockerfile's steps on a base made by debootstrap.

The base replaces the official Python image, so that no image registry is needed. Like that image, it is Debian trixie
with Python 3.13 as ``python``. But this Python is Debian's own, and the packages and the size of the base differ.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_PROGRAMS = ("apt-get", "buildah", "chroot", "debootstrap", "mount", "setpriv", "unshare")
_SUITE = "trixie"
_PACKAGES = "ca-certificates,python3,python3-venv"
_BASE = "localhost/pycalc-base"
_IMAGE = "localhost/pycalc"
# The host's pip configuration and certificates, mounted during the build and not part of the image.
_FROM_THE_HOST = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")


def missing() -> str | None:
    """Return why no image can be built here, or None if one can be built."""
    if os.geteuid() != 0:
        return "building an image in a chroot needs root"
    absent = [program for program in _PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return None if _mirror() else "apt knows no Debian mirror"


def _mirror() -> str | None:
    """Return the mirror that apt is configured to use, or None."""
    fields = "$(LABEL) $(REPO_URI)"
    targets = _output("apt-get", "indextargets", "--format", fields, "Identifier: Packages").splitlines()
    return next((uri for label, _, uri in (line.partition(" ") for line in targets) if label == "Debian"), None)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pycalc"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _bootstrapped() -> Path:
    """Return the folder of a Debian system with Python 3.13; it is cached, because it takes a minute to make."""
    system = _cache() / f"image-base-{_SUITE}"
    if not system.exists():
        part = system.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        _output("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(part), _mirror() or "")
        (part / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        part.rename(system)
    return system


@dataclass(frozen=True, slots=True)
class Image:
    """A built and mounted image."""

    # The root of the image's file system.
    root: Path
    # The configuration in the format of the OCI image specification.
    config: Mapping[str, Any]
    healthcheck: Mapping[str, Any]
    # The unpacked size of the layers that the Dockerfile adds to its base.
    added_bytes: int

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables that the image gives to the processes of its containers."""
        return dict(entry.split("=", 1) for entry in self.config["Env"])


class _Buildah:
    """Buildah with its own store of images."""

    def __init__(self, store: Path) -> None:
        self._store = store

    def __call__(self, command: str, *arguments: str) -> str:
        """Run a command and return its output; raise CalledProcessError if it fails."""
        places = (f"--root={self._store}/root", f"--runroot={self._store}/run", "--storage-driver=vfs")
        return _output("buildah", *places, command, *arguments).strip()

    def size(self, image: str) -> int:
        """Return the unpacked size of an image in bytes."""
        root = Path(self("mount", self("from", "--pull-never", image)))
        size = _output("du", "--summarize", "--bytes", str(root)).split()[0]
        return int(size)


@contextmanager
def image(store: Path) -> Iterator[Image]:
    """Build the image from the working tree and mount it; ``store`` is an empty folder for buildah."""
    buildah = _Buildah(store)
    base = buildah("from", "scratch")
    buildah("add", "--quiet", base, str(_bootstrapped()), "/")
    buildah("config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", base)
    buildah("commit", "--quiet", "--rm", base, _BASE)
    mounts = [f"--volume={file}:{file}:ro" for file in _FROM_THE_HOST if Path(file).exists()]
    options = ("--isolation=chroot", "--format=docker", "--network=host", "--pull-never", f"--from={_BASE}")
    buildah("bud", *options, *mounts, f"--tag={_IMAGE}", str(ROOT))
    try:
        described = json.loads(buildah("inspect", "--type=image", _IMAGE))
        yield Image(
            root=Path(buildah("mount", buildah("from", "--pull-never", _IMAGE))),
            config=described["OCIv1"]["config"],
            healthcheck=described["Docker"]["config"]["Healthcheck"],
            added_bytes=buildah.size(_IMAGE) - buildah.size(_BASE),
        )
    finally:
        buildah("rm", "--all")
        buildah("rmi", "--all", "--force")
