"""Tables, transactions and migrations over SQLAlchemy Core."""
