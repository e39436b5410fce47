"""The one door: identity, routes, sockets."""
