"""The Alembic environment. coach_common.db.migrate passes the connection and the metadata."""

from alembic import context

config = context.config
connection = config.attributes["connection"]

context.configure(
    connection=connection,
    target_metadata=config.attributes.get("metadata"),
    render_as_batch=connection.dialect.name == "sqlite",
    # SQLite reports other type names, so every revision would contain changes of type.
    compare_type=False,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
