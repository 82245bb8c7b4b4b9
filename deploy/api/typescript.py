"""``make client-types``: generate the types of the TypeScript client from the schemas of the OpenAPI document.

The generated file names the digest of its sources. A test without Node.js can therefore tell whether it is out of date.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deploy.check.processes import run
from pycalc.main import create_app
from pycalc.routers.http.problem_types import STATUS
from pycalc.settings import Settings

CLIENT = Path(__file__).resolve().parents[2] / "clients" / "typescript"
TYPES = CLIENT / "src" / "schema.ts"
_GENERATOR = Path("node_modules", ".bin", "openapi-typescript")


def header() -> str:
    """Return the first lines of the generated file: the digest of its sources, and the codes of the problem types."""
    codes = " | ".join(f'"{code}"' for code in STATUS)
    digest = sha256(json.dumps([_schemas(), [*STATUS]], sort_keys=True).encode()).hexdigest()
    return (
        f"// Made by `make client-types` of schemas with the SHA-256 {digest}\n\nexport type ProblemCode = {codes};\n\n"
    )


def generated(tools: Path) -> str:
    """Return the content of the generated file, made by the generator that is installed in the folder ``tools``."""
    # Paths are left out: the client names them itself, and they would make the file seven times as long.
    document = {"openapi": "3.1.0", "info": {"title": "pycalc", "version": "1"}, "paths": {}}
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "openapi.json"), Path(folder, "schema.ts")
        source.write_text(json.dumps({**document, "components": {"schemas": _schemas()}}))
        run(str(tools / _GENERATOR), str(source), "--output", str(target))
        return header() + target.read_text()


def _schemas() -> Any:
    return create_app(Settings(_env_file=None)).openapi()["components"]["schemas"]


if __name__ == "__main__":
    TYPES.write_text(generated(Path(sys.argv[1]).resolve()))
