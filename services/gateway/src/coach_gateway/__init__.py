"""The API gateway: authentication, routing, rate limits and WebSockets."""
