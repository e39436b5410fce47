"""The dimensions that the local scorer scores, one module each."""
