"""The events: their envelope and their catalogue."""
