"""HTTP of a service: app, errors, dependencies, client connections."""
