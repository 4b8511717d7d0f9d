"""Minutes of the week, and the files of a review on a ledger."""

from __future__ import annotations

from pathlib import Path

from countermark.ledger import open_ledger
from countermark.records.clock import iso
from countermark.records.review import Review
from countermark.review.signing import write_review
from tests.review.week import AS_OF

MINUTES = """\
review: 2026-W07
held: 2026-02-10
attendance: [Olga Owner, Vera Validator, Rik Risk]
absent: [Eli Engineer]
decisions:
  - {text: Version 2 stays off, by: Rik Risk, model: toy_pd}
actions:
  - text: Explain the drift of income
    owner: olga
    due: 2026-02-17
    model: toy_pd
  - {text: Read the proposal of cards, owner: Vera Validator, due: 2026-02-13}
done: [2026-W05-1]
notes: Short week.
"""


def put(made: Review, folder: Path, address: str) -> tuple[Path, ...]:
    """The files of a review, and their digests on a ledger."""
    with open_ledger(address, writer="review") as ledger:
        return write_review(made, folder, ledger, iso(AS_OF))
