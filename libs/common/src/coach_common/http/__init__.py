"""The HTTP side of a service: the app, its errors, its caller."""
