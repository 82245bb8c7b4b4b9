"""The version of the arithmetic, so that a shared cache never returns results that another version computed."""

from __future__ import annotations

from hashlib import sha256
from importlib.metadata import version as distribution_version
from pathlib import Path

from gmpy2 import mp_version, mpc_version, mpfr_version, version

# The code that determines the content of a result and its cache key.
_HASHED_CODE = (
    "services/operations",
    "services/calculations/calculator.py",
    "services/calculations/planning.py",
    "services/calculations/result_finder.py",
    "services/compute/worker.py",
    "models/json_text.py",
    "models/results.py",
)


def arithmetic_version() -> str:
    """Return 12 hexadecimal digits that change with the code and the libraries that compute results."""
    package = Path(__file__).parents[2]
    libraries = (version(), mp_version(), mpfr_version(), mpc_version(), distribution_version("python-flint"))
    hashed = sha256("\n".join(libraries).encode())
    for name in _HASHED_CODE:
        path = package / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else (path,):
            hashed.update(b"%b %b" % (str(file.relative_to(package)).encode(), sha256(file.read_bytes()).digest()))
    return hashed.hexdigest()[:12]
