"""Running the tools."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_OWN = Path(sys.executable).parent
_WHERE = {
    "npm": "apt-get install npm",
    "promtool": "apt-get install prometheus",
    "shellcheck": "apt-get install shellcheck",
    "terraform": "go install github.com/hashicorp/terraform@v1.11.4",
}


class Missing(Exception):
    """A tool is not installed."""


def run(tool: str, *arguments: str, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Return what a tool prints; raises Missing, or ValueError with its output when it finds something."""
    program = _OWN / tool if (_OWN / tool).exists() else shutil.which(tool)
    if program is None:
        raise Missing(f"{tool} is not installed: {_WHERE.get(tool, 'make check-deploy installs it')}")
    done = subprocess.run(  # noqa: S603  # our own tools on our own files
        [str(program), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ValueError(f"{done.stdout}{done.stderr}".strip())
    return done.stdout.strip()
