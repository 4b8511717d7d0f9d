"""From readings to findings: what is open, worse, better or closed since the run before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from countermark.ledger.entry import Entry
from countermark.ledger.ledger import Damaged, Ledger
from countermark.records.decision import decode
from countermark.records.lights import Light
from countermark.records.watch import SHIFTS, LiveFinding, ModelWatch, Reading

NO_PLAN = "plan"
"""Check of a finding that a model is in production and nothing watches it."""

ODD_OUTCOMES = "odd_outcomes"
"""Check of a finding that outcomes were set aside, as they cannot be outcomes of the model."""

UNJUDGED = "unjudged"
"""Check of a finding that the release behind most decisions cannot be opened, so that nothing else is evaluated."""

_RANK = {Light.PASS: 0, Light.INFORMATION: 0, Light.WATCH: 1, Light.FAIL: 2}


@dataclass(frozen=True, slots=True)
class Unwatched:
    """A model in production that a monitoring run cannot speak of.

    Attributes:
        model: Name of the model.
        owner: Who acts on it.
        why: What is missing, in a sentence without a full stop.
    """

    model: str
    owner: str
    why: str


def standing_findings(
    ledger: Ledger,
    *,
    until: str | None = None,
    counts: Callable[[Entry], bool] | None = None,
    damaged: Damaged | None = None,
) -> dict[str, LiveFinding]:
    """The newest word on every finding of production, by id; closed ones included.

    Args:
        ledger: The ledger.
        until: ISO instant; later entries are left out.
        counts: Whether an entry is part of it at all, whatever its date; every one is otherwise.
        damaged: Told of every entry that was changed, which is then passed over.

    Raises:
        LedgerError: If the ledger cannot be read, or, without ``damaged``, an entry was changed after it was written.
    """
    found: dict[str, LiveFinding] = {}
    for entry in ledger.read(["finding"], damaged=damaged):
        if (until is None or entry.at <= until) and (counts is None or counts(entry)):
            finding = decode(entry.payload, LiveFinding)
            # A run as of the past may be written after a newer one.
            if finding.id not in found or found[finding.id].at <= finding.at:
                found[finding.id] = finding
    return found


def findings_of(watch: ModelWatch, before: Mapping[str, LiveFinding]) -> tuple[LiveFinding, ...]:
    """Findings of a run: new and standing ones, worst first, and those that have gone.

    A check that was not evaluated this time closes nothing: what was open stays open. A finding of a check that is no
    longer made (the plan has no limit for it, the release has no such input) is closed, and says why.

    Args:
        watch: The readings of the run.
        before: Findings as they stood.
    """
    made: list[LiveFinding] = []
    for reading in watch.readings:
        identity = f"{watch.model}/{reading.check}/{reading.subject}"
        earlier = before.get(identity)
        stood = earlier if earlier is not None and earlier.status != "closed" else None
        finding = _finding(identity, watch, reading, stood)
        if finding is not None:
            made.append(finding)
    made.extend(_unwatched(watch, before))
    weight = {f"{watch.model}/{r.check}/{r.subject}": r.weight for r in watch.readings}
    return tuple(sorted(made, key=lambda f: (-_RANK[f.light], -weight.get(f.id, 0.0), f.id)))


def _unwatched(watch: ModelWatch, before: Mapping[str, LiveFinding]) -> Iterator[LiveFinding]:
    """Open findings that no reading can speak of any more."""
    spoken = {(reading.check, reading.subject) for reading in watch.readings}
    judged = all(reading.check != UNJUDGED for reading in watch.readings)
    for finding in before.values():
        if finding.model != watch.model or finding.status == "closed" or (finding.check, finding.subject) in spoken:
            continue
        # Which groups there are depends on who came, and on whether the groups were at hand: silence closes nothing.
        if finding.check == "adverse_impact" and finding.check not in watch.off:
            continue
        # Where nothing could be judged, the inputs and groups are not named: what was open stays open.
        if not judged and finding.check not in (*watch.off, NO_PLAN, ODD_OUTCOMES, UNJUDGED):
            continue
        if finding.check == NO_PLAN:
            text = f"it is watched now: release {watch.release}, plan {watch.plan}"
        elif finding.check == ODD_OUTCOMES:
            text = "no outcome of the window is set aside any more"
        elif finding.check == UNJUDGED:
            text = f"{finding.subject} can be opened, or made most decisions of the window no longer"
        else:
            text = (
                f"{_NAMES[finding.check]} of {finding.subject} is no longer watched: release {watch.release}, "
                f"plan {watch.plan}"
            )
        yield _gone(finding, watch.as_of, text)


def _gone(finding: LiveFinding, at: str, text: str) -> LiveFinding:
    return msgspec.structs.replace(finding, light=Light.INFORMATION, status="closed", at=at, text=text)


def unwatched_findings(
    unwatched: Iterable[Unwatched], before: Mapping[str, LiveFinding], at: str
) -> tuple[LiveFinding, ...]:
    """A finding for every model in production that nothing watches; those of models that have left are closed.

    Args:
        unwatched: All models in production that no run can speak of.
        before: Findings as they stood, after the run on the other models.
        at: Instant of the run.
    """
    made = []
    for one in unwatched:
        identity = f"{one.model}/{NO_PLAN}/all"
        earlier = before.get(identity)
        since = at if earlier is None or earlier.status == "closed" else earlier.since
        made.append(
            LiveFinding(
                id=identity,
                model=one.model,
                check=NO_PLAN,
                subject="all",
                light=Light.FAIL,
                status="open",
                at=at,
                since=since,
                owner=one.owner,
                text=f"in production and not watched: {one.why}",
            )
        )
    spoken = {finding.id for finding in made}
    left = [f for f in before.values() if f.check == NO_PLAN and f.status != "closed" and f.id not in spoken]
    return (*made, *(_gone(f, at, "it is no longer in production") for f in left))


def _finding(identity: str, watch: ModelWatch, reading: Reading, stood: LiveFinding | None) -> LiveFinding | None:
    if reading.light is Light.NOT_EVALUATED:
        return None
    now, then = _RANK[reading.light], 0 if stood is None else _RANK[stood.light]
    if now == 0 and stood is None:
        return None
    if now == 0:
        status = "closed"
    elif stood is None:
        status = "open"
    else:
        status = "worse" if now > then else "better" if now < then else "open"
    return LiveFinding(
        id=identity,
        model=watch.model,
        check=reading.check,
        subject=reading.subject,
        light=reading.light,
        status=status,  # type: ignore[arg-type]
        at=watch.as_of,
        since=watch.as_of if stood is None else stood.since,
        owner=reading.owner,
        text=sentence(reading),
    )


def sentence(reading: Reading) -> str:
    """What a reading says, in a sentence."""
    value = "not known" if reading.value is None else f"{reading.value:.4g}"
    interval = "" if reading.low is None or reading.high is None else f" ({reading.low:.4g} to {reading.high:.4g})"
    then = ""
    if reading.reference is not None and reading.check in SHIFTS:
        then = f", from {reading.reference:.4g} in the reference"
    elif reading.reference is not None:
        then = f", {reading.reference:.4g} in the reference"
    if reading.check == UNJUDGED:
        then = ", as it cannot be opened"
    subject = "" if reading.subject in ("all", "score") else f" of {reading.subject}"
    return f"{_NAMES[reading.check]}{subject} is {value}{interval} on {reading.n} rows{then}; limit {reading.limit}"


_NAMES = {
    "daily_volume": "daily volume",
    "missing_shift": "change of the share missing",
    "unseen_share": "share of unseen levels",
    "expired_share": "share of decisions with an expired feature",
    "feature_psi": "drift (PSI)",
    "score_psi": "drift of the score (PSI)",
    "decision_shift": "shift of the favourable share",
    "auc": "realised AUC",
    "auc_drop": "drop of the AUC",
    "calibration": "p-value of calibration",
    "adverse_impact": "adverse impact ratio",
    ODD_OUTCOMES: "number of outcomes set aside as impossible",
    UNJUDGED: "number of unjudged decisions",
    "kpi": "KPI",
}


def worst_of(findings: Iterable[LiveFinding]) -> Light:
    """The worst light among open findings; Pass without one."""
    open_now = [finding.light for finding in findings if finding.status != "closed"]
    return max(open_now, key=lambda light: _RANK[light], default=Light.PASS)
