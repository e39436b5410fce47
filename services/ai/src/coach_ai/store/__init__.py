"""Every query of ai, by what it is about: a transaction and values in, domain objects out."""
