"""The one Alembic environment: a connection and metadata handed over by coach_common.db.migrate."""

from alembic import context

config = context.config
connection = config.attributes["connection"]

context.configure(
    connection=connection,
    target_metadata=config.attributes.get("metadata"),
    render_as_batch=connection.dialect.name == "sqlite",
    # SQLite reports our column types by other names: every revision would "change" them all.
    compare_type=False,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
