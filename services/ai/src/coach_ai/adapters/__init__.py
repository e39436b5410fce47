"""The providers behind the ports: local and openai."""
