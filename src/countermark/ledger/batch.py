"""What of a batch is new, and which reference answers each of its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from countermark.ledger.entry import GOES_WITH, ONCE, EntryRef, Item, Row

Name: TypeAlias = tuple[str, str]
"""Kind and key."""


def names_of(items: Sequence[Item], kinds: Sequence[str] = ONCE) -> set[Name]:
    """Kind and key of the items that may be stored once only."""
    return {(item[0], item[1]) for item in items if item[0] in kinds}


class Batch:
    """Items of one transaction without the decisions and events that are stored already or come twice, and without the
    shadows that come with such a decision: they were stored with it.

    Args:
        items: Items in order.
        stored: References of those that the ledger holds, by kind and key.
    """

    def __init__(self, items: Sequence[Item], stored: Mapping[Name, EntryRef]) -> None:
        self.fresh: list[Item] = []
        # By item: the stored reference, or the place of its fresh item and whether it is a repeat of that one.
        self._answers: list[EntryRef | tuple[int, bool]] = []
        first: dict[Name, int] = {}
        repeated: dict[Name, EntryRef | tuple[int, bool]] = {}
        for item in items:
            name = item[0], item[1]
            if item[0] in ONCE:
                place = first.setdefault(name, len(self.fresh))
                known = stored.get(name)
                if known is not None or place != len(self.fresh):
                    repeated[name] = known or (place, True)
                    self._answers.append(repeated[name])
                    continue
            elif (head := (GOES_WITH.get(item[0], ""), item[1])) in repeated:
                self._answers.append(repeated[head])
                continue
            self._answers.append((len(self.fresh), False))
            self.fresh.append(item)

    def refs(self, chain: str, rows: Sequence[Row]) -> list[EntryRef]:
        """One reference for each item, once the rows of the fresh ones are stored."""
        refs = [EntryRef(chain, row[0], row[6].hex()) for row in rows]
        if len(refs) == len(self._answers):
            return refs
        return [
            answer if isinstance(answer, EntryRef) else _again(refs[answer[0]]) if answer[1] else refs[answer[0]]
            for answer in self._answers
        ]


def _again(ref: EntryRef) -> EntryRef:
    return EntryRef(ref.chain, ref.seq, ref.hash, True)
