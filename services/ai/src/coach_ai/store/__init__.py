"""The database queries of ai, by subject. They take a transaction and return domain objects."""
