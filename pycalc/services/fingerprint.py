"""Which arithmetic this is: results that another one made are not this one's to give."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

_MAKERS = ("services/operations", "services/math.py", "services/planning.py", "services/worker.py", "models/numbers.py")
"""The code that decides what stands in a result and what it is called."""


def arithmetic_version() -> str:
    """Return a name that changes with every change of the code that makes results."""
    package = Path(__file__).parent.parent
    hashed = sha256()
    for maker in _MAKERS:
        path = package / maker
        for file in sorted(path.glob("*.py")) if path.is_dir() else (path,):
            hashed.update(b"%b %b" % (file.name.encode(), sha256(file.read_bytes()).digest()))
    return hashed.hexdigest()[:12]
