"""Alembic's entry: run the versions on the connection that `events/migrate.py` hands over."""

from alembic import context

from events import schema

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=schema.metadata, transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
