"""Countermark: declarative MLOps for bank models."""

__version__ = "0.1.0"
