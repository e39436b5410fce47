"""Interview questions as data, and the functions that load them."""
