"""The scorer that uses language signals only: no language model, no network."""
