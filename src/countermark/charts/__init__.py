"""Accessible figures, drawn from records."""
