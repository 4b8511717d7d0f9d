"""Releases, approvals and authorisations as a fold over a signed, append-only log."""
