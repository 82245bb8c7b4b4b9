"""Alembic's entry point, which runs the revisions on the given connection."""

from __future__ import annotations

from alembic import context

from pycalc.db.tables import metadata

# The metadata names the keys, unique columns and indexes that the revisions create.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
