"""Which arithmetic this is: results that another one made are not this one's to give."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from gmpy2 import mp_version, mpc_version, mpfr_version, version

_MAKERS = (
    "services/operations",
    "services/calculations/calculator.py",
    "services/calculations/planning.py",
    "services/compute/worker.py",
    "models/history.py",
    "models/numbers.py",
    "models/results.py",
)
"""The code that decides what stands in a result and what it is called."""


def arithmetic_version() -> str:
    """Return a name that changes with every change of the code, and the libraries, that make results."""
    package = Path(__file__).parents[2]
    libraries = (version(), mp_version(), mpfr_version(), mpc_version())
    hashed = sha256("\n".join(libraries).encode())
    for maker in _MAKERS:
        path = package / maker
        for file in sorted(path.rglob("*.py")) if path.is_dir() else (path,):
            hashed.update(b"%b %b" % (str(file.relative_to(package)).encode(), sha256(file.read_bytes()).digest()))
    return hashed.hexdigest()[:12]
