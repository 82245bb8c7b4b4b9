"""``make check-api``: check the OpenAPI document by public tools, and a service by generated clients and requests.

A check whose tool is not installed is skipped, except in CI, where it fails.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

import httpx

from deploy.api.typescript import CLIENT, TYPES, generated
from deploy.check.processes import CACHE, lines, report, run
from tests.harness.accounts import new_admin, registration
from tests.harness.servers import pycalc

_HERE = Path(__file__).resolve().parent
_GENERATOR = "org.openapitools:openapi-generator-cli:7.25.0"
_GENERATOR_SHA256 = "41ce4f6b07f196676439d710759fa1ced7a08066d06ff1bf314681470289efae"
_PHASES = "examples,coverage,fuzzing,stateful"
# Operations that are tested with an API key, because they would end the session that the other operations need.
_LOGOUTS = ("logOut", "logOutAll", "endSession", "endSessions")
_LOGOUT_SECONDS = "5"
# Results are kept short, because long ones are tested elsewhere.
_MAX_DIGITS = "100000"
# Seconds. Schemathesis waits 10 s for an answer, and some of its numbers would take longer to factorize.
_COMPUTE_TIMEOUT = "2"


class _Clients:
    """Clients that are generated from a service's OpenAPI document, and the calls that they make to this service."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self.document = folder / "openapi.json"
        self.document.write_text(httpx.get(f"{url}/openapi.json").raise_for_status().text)

    def typescript(self) -> str:
        """Generate a TypeScript client, compile it strictly, and call the service with it."""
        run("openapi-typescript", str(self.document), "--output", str(self._folder / "schema.ts"))
        shutil.copy(_HERE / "calls.ts", self._folder)
        flags = ("--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck")
        run("tsc", *flags, "calls.ts", folder=self._folder)
        run("node", "calls.js", self._url, folder=self._folder)
        return "compiled and called"

    def python(self, interpreter: Path) -> str:
        """Generate a Python client without a warning, compile it, and call the service with it."""
        package = self._folder / "pycalc_api"
        config = str(_HERE / "python-client.yaml")
        flags = ("--meta", "none", "--fail-on-warning", "--config", config, "--output-path", str(package))
        run("openapi-python-client", "generate", "--path", str(self.document), *flags)
        run(str(interpreter), "-m", "compileall", "-q", str(package))
        environment = {**os.environ, "PYTHONPATH": str(self._folder)}
        run(str(interpreter), str(_HERE / "calls.py"), self._url, environment=environment)
        return "compiled and called"

    def go(self) -> str:
        """Generate a Go client, compile it, and call the service with it."""
        module = self._folder / "go"
        flags = ("-p", "packageName=pycalc", "--git-user-id", "pycalc", "--git-repo-id", "client")
        only = ("--global-property", "apiTests=false,modelTests=false,apiDocs=false,modelDocs=false")
        source = ("-g", "go", "-i", str(self.document), "-o", str(module))
        names = ("--parameter-name-mappings", "a=first")  # the generated methods name their receiver a
        run("java", "-jar", str(_generator()), "generate", *source, *flags, *only, *names)
        (module / "calls").mkdir()
        shutil.copy(_HERE / "calls.go", module / "calls" / "main.go")
        run("go", "mod", "tidy", folder=module)
        run("go", "build", "-o", "called", "./calls", folder=module)
        run(str(module / "called"), self._url)
        return "compiled and called"


def _our_client(folder: Path, tools: Path) -> str:
    """Build this repository's TypeScript client and run its tests; raises ValueError if its types are out of date."""
    if generated(tools) != TYPES.read_text():
        raise ValueError(f"{TYPES} is out of date: run make client-types")
    client = folder / "client"
    shutil.copytree(CLIENT, client, ignore=shutil.ignore_patterns("dist", "node_modules"))
    run("tsc", folder=client)
    with pycalc() as server:
        run("npm", "test", folder=client, environment={**os.environ, "PYCALC_URL": server.url})
    return "built and tested"


def _generator() -> Path:
    """Return the path of openapi-generator's jar, downloaded if it is missing; raises ValueError for a wrong digest."""
    _, name, version = _GENERATOR.split(":")
    jar = CACHE / f"{name}-{version}.jar"
    if not jar.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        run(
            "mvn",
            "--batch-mode",
            "--quiet",
            "dependency:copy",
            f"-Dartifact={_GENERATOR}",
            f"-DoutputDirectory={CACHE}",
        )
    if hashlib.sha256(jar.read_bytes()).hexdigest() != _GENERATOR_SHA256:
        raise ValueError(f"{jar} is not the file whose SHA-256 is pinned in {__file__}: delete it and try again")
    return jar


def _tokens(url: str, data: Path) -> tuple[str, str]:
    """Register an admin, and a user whom schemathesis.toml names. Return the admin's token and API key."""
    with httpx.Client(base_url=url) as client:
        admin = new_admin(client, data)
        client.post("/register", json=registration("another")).raise_for_status()
        made = client.post("/me/keys", json={"name": "schemathesis"}, headers=admin.headers)
        return admin.token, made.raise_for_status().json()["key"]


def _schemathesis(url: str, token: str, seconds: str, folder: Path, *selection: str) -> str:
    """Send generated requests to selected operations for at most ``seconds``; return the tool's summary."""
    config = ("--config-file", str(_HERE / "schemathesis.toml"))
    flags = ("--phases", _PHASES, "--max-time", seconds, "--no-color", "--header", f"Authorization: Bearer {token}")
    seed = ("--seed", "1") if os.environ.get("CI") else ()  # in CI, every run sends the same requests
    output = run("st", *config, "run", f"{url}/openapi.json", *flags, *seed, *selection, folder=folder)
    return next(line.strip() for line in output.splitlines() if "generated, " in line)


def _served(stack: ExitStack, data: Path) -> str:
    """Run a service on a new data folder until the stack closes, and return its URL."""
    data.mkdir()
    return stack.enter_context(pycalc(data=data, max_digits=_MAX_DIGITS, compute_timeout=_COMPUTE_TIMEOUT)).url


def _clients_and_linters(stack: ExitStack, folder: Path, tools: Path) -> dict[str, Callable[[], str]]:
    clients = _Clients(_served(stack, folder / "data-clients"), folder)
    document = str(clients.document)
    return {
        "redocly": lambda: lines("redocly", "lint", "--config", str(_HERE / "redocly.yaml"), document),
        "spectral": lambda: lines(
            "spectral", "lint", "--fail-severity", "hint", "--ruleset", str(_HERE / "spectral.yaml"), document
        ),
        "openapi-typescript": clients.typescript,
        "clients/typescript": lambda: _our_client(folder, tools),
        "openapi-python-client": lambda: clients.python(tools / "bin" / "python"),
        "openapi-generator, Go": clients.go,
    }


def _generated_requests(stack: ExitStack, folder: Path, seconds: str) -> dict[str, Callable[[], str]]:
    data = folder / "data-schemathesis"
    url = _served(stack, data)
    session, key = _tokens(url, data)
    without = [flag for name in _LOGOUTS for flag in ("--exclude-operation-id", name)]
    only = [flag for name in _LOGOUTS for flag in ("--include-operation-id", name)]
    return {
        # This runs first, because the other run may remove the key.
        "schemathesis, logout": lambda: _schemathesis(url, key, _LOGOUT_SECONDS, folder, *only),
        "schemathesis": lambda: _schemathesis(url, session, seconds, folder, "--exclude-path", "/events", *without),
    }


def main(tools: Path, seconds: str) -> int:
    """Run every check; print its outcome and its time; return 1 when one fails, else 0.

    Schemathesis runs at the same time as the other checks. It tests the logout operations in a separate short run,
    because they end the session. ``seconds`` limits its main run. ``tools`` is the virtual environment that holds the
    tools.
    """
    folders = (tools / "node_modules" / ".bin", tools / "bin")
    os.environ["PATH"] = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    with ExitStack() as stack:
        folder = Path(mkdtemp(dir=tools))  # beside node_modules, where Node.js looks for packages
        stack.callback(shutil.rmtree, folder)
        # Each group has a service of its own: schemathesis, as an admin, may change what the clients need.
        return report(_generated_requests(stack, folder, seconds), _clients_and_linters(stack, folder, tools))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2]))
