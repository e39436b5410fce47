"""Test support that several test suites import: fake servers, synthetic audio."""
