"""The OpenAI adapters. The only package that imports `openai`."""
