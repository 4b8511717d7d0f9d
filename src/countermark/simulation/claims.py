"""What a simulated life claims, and whether it held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from countermark.errors import SimulationError


@dataclass
class Claims:
    """Claims, each told as it is judged.

    Attributes:
        say: Called with each line.
        failed: Claims that did not hold.
        held: How many held.
    """

    say: Callable[[str], None]
    failed: list[str] = field(default_factory=list)
    held: int = 0

    def hold(self, claim: str, truth: bool, shown: str = "") -> None:
        """Note a claim."""
        self.held += truth
        if not truth:
            self.failed.append(claim)
        self.say(f"{'✓' if truth else '✗'} {claim}" + (f": {shown}" if shown else ""))

    def close(self, seconds: float) -> None:
        """Count them, and end with an error if one did not hold or none was made.

        Raises:
            SimulationError: Naming the claims that did not hold.
        """
        self.say(f"\n{self.held} claims held, {len(self.failed)} failed; {seconds:.0f} s")
        if self.failed or not self.held:
            raise SimulationError("the life did not go as claimed", got="; ".join(self.failed) or "nothing was claimed")
