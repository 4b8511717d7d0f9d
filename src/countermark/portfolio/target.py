"""The outcome of a stranger's file: which column, which of its values are events, and what that leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from countermark.config.policy import AMOUNT_KINDS
from countermark.errors import ConfigError
from countermark.features.outcome import MOST_LGD
from countermark.portfolio.names import named_outcomes, plain_name, shown_name
from countermark.portfolio.profile import FileProfile, guess_outcome, outcome_values, value_counts

_BAD = frozenset((
    "default", "defaulted", "bad", "charged off", "charge off", "written off", "write off", "foreclosed", "bankrupt",
    "fraud", "fraudulent", "chargeback", "sar", "sar filed", "does not meet the credit policy. status:charged off",
))  # fmt: skip
_GOOD = frozenset((
    "good", "paid", "fully paid", "paid off", "paid in full", "repaid", "settled in full", "performing", "no default",
    "non default", "genuine", "legitimate", "dismissed", "does not meet the credit policy. status:fully paid",
))  # fmt: skip
_SHOWN_VALUES = 20
_FEW_EVENTS = 50


@dataclass(frozen=True, slots=True)
class Target:
    """The outcome as the spec will declare it.

    Attributes:
        column: Its name in the file.
        positive: Values that are events; empty for an amount.
        negative: Values that are none; empty for an amount.
        unresolved: Values of rows to leave out; None stands for a missing one.
        events: Rows with an event.
        labelled: Rows with an outcome.
        questions: What a person has to confirm.
    """

    column: str
    positive: tuple[Any, ...]
    negative: tuple[Any, ...]
    unresolved: tuple[Any, ...]
    events: int
    labelled: int
    questions: tuple[str, ...]

    @property
    def rate(self) -> float:
        """Share of events, kept inside (0, 1) so that it can be a cut-off."""
        return float(min(max(round(self.events / max(1, self.labelled), 3), 0.001), 0.999))

    @property
    def rarer(self) -> int:
        """Rows of the rarer class."""
        return min(self.events, self.labelled - self.events)

    def declared(self) -> dict[str, Any]:
        """Keys of ``outcome`` in the spec, but for its column and texts."""
        document: dict[str, Any] = {}
        if self.positive:
            document |= {"positive": _one(self.positive), "negative": _one(self.negative)}
        if self.unresolved:
            document["unresolved"] = list(self.unresolved)
        return document


def find_target(profile: FileProfile, kind: str, asked: str | None, events: Sequence[str], file: Path) -> Target:
    """Find the outcome and say which of its values are events.

    Args:
        profile: The file.
        kind: Kind of model.
        asked: Column that the caller named, or None.
        events: Values that the caller calls events; empty where the file has to tell.
        file: Name printed in errors.

    Raises:
        ConfigError: No such column, none that varies, more values than anybody can tell events from, or a value
            that does not occur.
    """
    column = _column(profile, kind, asked, file)
    if kind in AMOUNT_KINDS:
        return _amount(profile, kind, column, events, file)
    counts = value_counts(profile, column)
    positive, negative, unresolved, told = _classes(profile, kind, column, events, file)
    missing = profile.column(column).missing
    hits, others = sum(counts[v] for v in positive), sum(counts[v] for v in negative)
    said = _listed(positive)
    questions = [
        f"is '{shown_name(column)}' the outcome, and is {said} the event ({_share(hits, hits + others)})?{told}"
    ]
    if unresolved:
        left = sum(counts[v] for v in unresolved)
        questions.append(
            f"{_listed(unresolved)} of '{shown_name(column)}' ({_share(left, profile.rows)}) is taken as not resolved: "
            "such rows are left out and counted (outcome.unresolved). Is that right?"
        )
    if missing:
        questions.append(_missing(column, missing, profile.rows))
    if min(hits, others) < _FEW_EVENTS:
        rarer = "rows with an event" if hits <= others else "rows without an event"
        questions.append(f"only {min(hits, others)} {rarer}: most tests will be Not evaluated. Is there more data?")
    if hits > others:
        questions.append("most rows are events: is the event the right way round?")
    return Target(
        column, positive, negative, (*((None,) if missing else ()), *unresolved), hits, hits + others, tuple(questions)
    )


def _column(profile: FileProfile, kind: str, asked: str | None, file: Path) -> str:
    names = [column.name for column in profile.columns]
    shown = ", ".join(shown_name(name) for name in names[:60])
    if asked is not None:
        match = [n for n in names if n == asked] or [n for n in names if plain_name(n) == asked]
        if not match:
            raise ConfigError(
                f"the file has no column '{asked}'", expected=f"one of: {shown}", got=f"'{asked}'", file=file
            )
        found: str | None = match[0]
    else:
        named = named_outcomes(names, kind)
        found = guess_outcome(profile, kind) or (named[0] if named else None)
    if found is None:
        words = "'lgd'" if kind == "lgd" else "'ead'" if kind == "ead" else "'default', 'target', 'outcome' or 'label'"
        raise ConfigError(
            "no column looks like the outcome",
            expected=f"a column named like {words} with at least two values",
            got=shown,
            hint="say which it is: --outcome COLUMN",
            file=file,
        )
    column = profile.column(found)
    if column.distinct < 2:
        empty = f", {column.missing} of them empty" if column.missing else ""
        blank = "; if an empty cell means that nothing happened, write that into the file" if column.missing else ""
        raise ConfigError(
            f"the outcome '{shown_name(found)}' does not vary",
            expected="at least two values",
            got=f"{column.distinct or 'no'} value in {profile.rows} rows{empty}",
            hint=f"say which column is the outcome: --outcome COLUMN{blank}",
            file=file,
        )
    return found


def _classes(
    profile: FileProfile, kind: str, column: str, events: Sequence[str], file: Path
) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...], str]:
    """Events, non-events, unresolved values, and a word on how they were told apart."""
    counts = value_counts(profile, column)
    values = tuple(sorted(counts, key=lambda value: (-counts[value], str(value))))
    if events:
        positive = _asked(column, values, events, file)
        negative = tuple(value for value in values if value not in positive)
        if not negative:
            raise ConfigError(
                "every value of the outcome is called an event",
                expected="at least one value that is none",
                got=f"--event for all of {len(values)} values",
                file=file,
            )
        told = f" Every other value ({_listed(negative)}) is taken as none." if len(negative) > 1 else ""
        return positive, negative, (), told
    folded: dict[str, list[Any]] = {}
    for value in values:
        folded.setdefault(" ".join(str(value).split()).casefold(), []).append(value)
    if len(values) == 2:
        pair = outcome_values(profile, column)
        assert pair is not None
        return (pair[0],), (pair[1],), (), _reason(folded)
    if len(folded) == 2:
        return *_spellings(folded, counts), (), " Values that differ only in case or blanks are taken as one."
    bad = tuple(value for key in folded if key.replace("_", " ").replace("-", " ") in _BAD for value in folded[key])
    good = tuple(value for key in folded if key.replace("_", " ").replace("-", " ") in _GOOD for value in folded[key])
    if bad and good:
        return bad, good, tuple(v for v in values if v not in (*bad, *good)), f" No event is {_listed(good)}."
    raise _too_many(kind, column, profile, values, file)


def _too_many(kind: str, column: str, profile: FileProfile, values: tuple[Any, ...], file: Path) -> ConfigError:
    number = profile.column(column).reading.is_number
    if len(values) > _SHOWN_VALUES:
        got = f"{len(values)} different {'numbers' if number else 'values'} in {profile.rows} rows"
        hint = "choose a column with two values: --outcome COLUMN" + ("; amounts are of kind lgd or ead" * number)
    else:
        got = f"{len(values)} values: {_listed(values)}"
        hint = "name each value that is an event, such as: --event " + f"{str(values[-1])!r}"
    return ConfigError(
        f"the outcome '{shown_name(column)}' has more than two values, and none says that it is the event",
        expected=f"two values for a model of kind {kind}, or --event VALUE",
        got=got,
        hint=hint,
        file=file,
    )


def _asked(column: str, values: tuple[Any, ...], events: Sequence[str], file: Path) -> tuple[Any, ...]:
    by_text = {str(value).lower() if isinstance(value, bool) else str(value): value for value in values}
    unknown = [event for event in events if event not in by_text]
    if unknown:
        shown = _listed(values) if len(values) <= _SHOWN_VALUES else f"one of {len(values)} values"
        raise ConfigError(
            f"the outcome '{shown_name(column)}' never has the value '{unknown[0]}'",
            expected=shown,
            got=f"--event '{unknown[0]}'",
            file=file,
        )
    return tuple(by_text[event] for event in dict.fromkeys(events))


def _spellings(folded: Mapping[str, list[Any]], counts: Mapping[Any, int]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    pairs = {frozenset(pair): pair for pair in (("yes", "no"), ("true", "false"), ("bad", "good"), ("y", "n"))}
    known = pairs.get(frozenset(folded))
    rows = {key: sum(counts[value] for value in values) for key, values in folded.items()}
    first, second = known or sorted(folded, key=lambda key: (rows[key], key))
    return tuple(folded[first]), tuple(folded[second])


def _reason(folded: Mapping[str, list[Any]]) -> str:
    known = ({"1", "0"}, {"yes", "no"}, {"true", "false"}, {"bad", "good"}, {"y", "n"}, {"t", "f"}, {"1", "-1"})
    return "" if set(folded) in known else " The rarer value was taken."


def _amount(profile: FileProfile, kind: str, column: str, events: Sequence[str], file: Path) -> Target:
    found = profile.column(column)
    if events:
        raise ConfigError(
            f"a model of kind '{kind}' has no event",
            expected="no --event: its outcome is an amount",
            got=f"--event '{events[0]}'",
            file=file,
        )
    if not found.reading.is_number:
        raise ConfigError(
            f"the outcome '{shown_name(column)}' is no number",
            expected=f"an amount or a share for a model of kind {kind}",
            got=f"a column of type {found.reading.type}",
            hint="say which column is the outcome: --outcome COLUMN",
            file=file,
        )
    size = pc.mean(pc.abs(profile.table.column(column))).as_py()
    if kind == "lgd" and size > MOST_LGD:
        raise ConfigError(
            f"the outcome '{shown_name(column)}' is no share of the exposure",
            expected="losses as shares, 0.35 for 35 %; single values below 0 and above 1 are kept",
            got=f"a mean size above {MOST_LGD:g}",
            hint="divide per cent by 100, or amounts by the exposure, where the data is made",
            file=file,
        )
    what = "a loss as a share of the exposure" if kind == "lgd" else "an exposure at default or a conversion factor"
    questions = [f"is '{shown_name(column)}' the outcome, {what}, and are its signs and units right?"]
    if found.distinct == 2:
        questions.append(f"'{shown_name(column)}' takes two values only: is it an event, for a model of another kind?")
    if found.missing:
        questions.append(_missing(column, found.missing, profile.rows))
    unresolved = (None,) if found.missing else ()
    return Target(column, (), (), unresolved, 0, profile.rows - found.missing, tuple(questions))


def _missing(column: str, missing: int, rows: int) -> str:
    return (
        f"'{shown_name(column)}' has no value in {_share(missing, rows)}: such rows are left out and counted "
        "(outcome.unresolved). Why have they no outcome?"
    )


def _listed(values: tuple[Any, ...]) -> str:
    shown = ", ".join(f"'{shown_name(str(value))}'" for value in values[:_SHOWN_VALUES])
    return shown if len(values) <= _SHOWN_VALUES else f"{shown} and {len(values) - _SHOWN_VALUES} more"


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} rows, {100 * part / max(1, whole):.3g} %"


def _one(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values)
