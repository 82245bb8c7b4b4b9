"""Import rules: a layer imports only the layers below it, and importing a module has no side effects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in (ROOT / "pycalc").rglob("*.py")
    if "migrations" not in file.parts
)

IMPORTER = """
import importlib, sys, threading
watched = ("socket.bind", "socket.connect", "sqlite3.connect", "subprocess.Popen", "os.fork", "os.mkdir", "os.remove")
ipv6 = ("::1", 0)  # urllib3, which Google's libraries bring along, tries whether there is IPv6
faults = []

def hook(event, arguments):
    if event in watched and ipv6 not in arguments:
        faults.append(f"{event}{arguments}")
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        faults.append(f"{event}{arguments}")
    if event == "open" and str(arguments[0]).endswith(".env"):
        faults.append(f"{event}{arguments}")

sys.addaudithook(hook)
sys.dont_write_bytecode = True
for module in sys.argv[1:]:
    importlib.import_module(module)
    if threading.active_count() != 1:
        faults.append(f"{module} started {threading.enumerate()}")
sys.exit("\\n".join(faults) or 0)
"""


def test_importing_any_module_does_nothing(tmp_path: Path) -> None:
    """Importing a module starts no thread or process, opens no connection, writes no file, and reads no settings."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYCALC_PORT": "bogus", "PYCALC_ENV": "bogus"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTER, *MODULES],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_worker_process_imports_no_service() -> None:
    """The modules that run in worker processes import neither the web framework nor a database library."""
    heavy = {"alembic", "anyio", "asyncio", "fastapi", "granian", "prometheus_client", "pydantic", "pydantic_core"}
    heavy |= {"pydantic_settings", "sqlalchemy", "starlette", "structlog", "uvloop"}
    imported = "pycalc.services.calculations.planning, pycalc.services.compute.worker"
    code = f"import sys, {imported}; print(*({heavy!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []


def test_imports_run_downward() -> None:
    """No import breaks a contract of import-linter in pyproject.toml."""
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(command), "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
