"""The library of all services. It imports none of them."""
