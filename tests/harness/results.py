"""Results of calculations, for tests of caches."""

from __future__ import annotations

import random
from hashlib import sha256

from pycalc.models.results import Facts, Result

_DIGIT_OF_BYTE = bytes(48 + byte % 10 for byte in range(256))


def digits(count: int, seed: int = 1) -> bytes:
    """Return random digits, which can't be compressed below 3.3 bits each."""
    return random.Random(seed).randbytes(count).translate(_DIGIT_OF_BYTE)  # noqa: S311  # not a secret


def result(text: bytes = b"55") -> Result:
    """Return a result with this text."""
    stored = text.decode() if len(text) <= 1_000 else None
    facts = Facts(stored, str(len(text)), True, text[:20].decode(), text[-20:].decode(), sha256(text).digest())
    return Result(text, facts, b'"operation":"fibonacci","result":', b',"cached":')
