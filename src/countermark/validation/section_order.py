"""Sections of a pack in the order of the standard, and those that are written from others rather than computed.

Kept apart from the registry of what computes them, so that a pack can be verified without the training stack.
"""

from __future__ import annotations

ORDER: tuple[str, ...] = (
    "A1", "A2", "A3", "B1", "B2", "B3", "B4", "C1", "C2", "C3", "C4", "D1", "D2", "D3", "E1", "E2", "E3", "E4", "E5",
    "E6", "E7", "F1", "F2", "F3", "F4", "F5", "F6", "G1", "G2", "G3", "G4", "H1", "H2", "H3", "H4", "I1", "I2", "I3",
    "J1", "J2", "J3", "J4", "J5", "J6", "J7",
)  # fmt: skip
WRITTEN: frozenset[str] = frozenset(
    {"A1", "A2", "A3", "B1", "B3", "B4", "I1", "I2", "I3", "J1", "J2", "J3", "J4", "J5", "J6"}
)
"""Their rows follow from the spec and from other rows, so the evidence digest leaves them out."""
