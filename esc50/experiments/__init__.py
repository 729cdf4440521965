"""The study: how each result is made."""
