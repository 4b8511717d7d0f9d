"""Compile, plan, scaffold and explain the declared bank."""
