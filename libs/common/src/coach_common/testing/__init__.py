"""Support for the tests of all services. Services must not import it."""
