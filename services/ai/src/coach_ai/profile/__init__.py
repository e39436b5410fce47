"""Documents of a profile, and what they show."""
