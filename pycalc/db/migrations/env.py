"""Alembic's entry: runs the revisions on the connection that it was given."""

from __future__ import annotations

from alembic import context

from pycalc.db.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
