"""Compile pycalc, and the libraries that it imports, to bytecode, because a running container cannot store it."""

from __future__ import annotations

import compileall
from importlib import import_module
from pkgutil import walk_packages

import pycalc

# Alembic executes these files; they can't be imported as modules.
MIGRATIONS = "pycalc.db.migrations."

for module in walk_packages(pycalc.__path__, "pycalc."):
    if not module.name.startswith(MIGRATIONS):
        import_module(module.name)
if not compileall.compile_dir(pycalc.__path__[0], quiet=1):
    raise SystemExit("some modules of pycalc do not compile")
