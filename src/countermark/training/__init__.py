"""Learners, tuning, splits: fits one candidate and freezes it."""
