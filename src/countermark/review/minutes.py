"""Minutes as people write them (YAML), checked line by line against the review and the people of the bank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from countermark.config.base import Declared, IsoDate
from countermark.config.problems import nearest, one_of
from countermark.config.schema_errors import validate
from countermark.config.yamlfile import KeyPath, YamlFile, read_yaml
from countermark.errors import ConfigError, ReviewError
from countermark.records.clock import iso
from countermark.records.review import Minutes, MinutesAction, MinutesDecision, PreparedReview, Review
from countermark.registry.state import RegistryState
from countermark.registry.trust import identity_of, same_person


class DeclaredDecision(Declared):
    """A decision that was taken."""

    text: str = Field(min_length=1)
    by: str = Field(min_length=1)
    model: str | None = None


class DeclaredAction(Declared):
    """Something to be done."""

    text: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    due: IsoDate
    model: str | None = None


class DeclaredMinutes(Declared):
    """The minutes of a review."""

    review: str
    held: IsoDate
    attendance: tuple[str, ...] = Field(min_length=1)
    absent: tuple[str, ...] = ()
    decisions: tuple[DeclaredDecision, ...] = ()
    actions: tuple[DeclaredAction, ...] = ()
    done: tuple[str, ...] = Field(default=(), description="Ids of earlier actions that are done.")
    notes: str = ""


def read_minutes(path: Path, review: Review, prepared: PreparedReview, state: RegistryState) -> Minutes:
    """Read minutes.

    Args:
        path: The YAML file.
        review: The review that was held.
        prepared: What the ledger says of its files.
        state: The fold of the release log: who the people are, which actions are open, and what day it is.

    Raises:
        ReviewError: With file and line, if a key is unknown or missing, a date is none, the meeting was before the
            instant of the review or is to come, somebody who was there, was absent, decided or has to act is unknown
            to the governance state or stands there twice, a text is blank, an action is due before the meeting, or
            an action that is said to be done is not open or is said so twice.
    """
    try:
        file = read_yaml(path, str(path))
        made = validate(DeclaredMinutes, file.data, lambda key: _place(file, key), what=str(path))
    except ConfigError as error:
        raise ReviewError(
            error.what, expected=error.expected, got=error.got, hint=error.hint, file=error.file, line=error.line
        ) from None
    _check(file, made, review, state)
    return Minutes(
        review=review.id,
        digest=prepared.digest,
        pages=prepared.pages,
        held=str(made.held),
        attendance=tuple(_person(name, state) or name for name in made.attendance),
        absent=tuple(_person(name, state) or name for name in made.absent),
        decisions=tuple(
            MinutesDecision(text=d.text, by=_person(d.by, state) or d.by, model=d.model) for d in made.decisions
        ),
        actions=tuple(
            MinutesAction(text=a.text, owner=_person(a.owner, state) or a.owner, due=str(a.due), model=a.model)
            for a in made.actions
        ),
        done=made.done,
        notes=made.notes,
        checkpoint=None if review.checkpoint is None else review.checkpoint.digest,
    )


def template(review: Review) -> str:
    """Minutes to fill in: the decisions that are needed stand in comments."""
    lines = [
        f"review: {review.id}",
        f"held: {review.as_of[:10]}",
        "attendance: []",
        "absent: []",
        "# Needed:",
        *(f"#   {n.subject}: {' '.join(n.text.split())}" for n in review.needed),
        "decisions: []",
        "#  - text: What was decided",
        "#    by: A principal or a person of the bank",
        "#    model: credit_pd",
        "actions: []",
        "#  - text: What is to be done",
        "#    owner: A principal or a person of the bank",
        f"#    due: {review.as_of[:10]}",
        "# Earlier actions, to be moved into 'done' where they are:",
        *(f"#   {a.id}: {' '.join(a.text.split())} ({a.owner}, {a.due})" for a in review.actions if a.status != "done"),
        "done: []",
        'notes: ""',
    ]
    return "\n".join(lines) + "\n"


def _check(file: YamlFile, made: DeclaredMinutes, review: Review, state: RegistryState) -> None:
    if made.review != review.id:
        raise _wrong(file, ("review",), "these are the minutes of another review", expected=review.id, got=made.review)
    people = sorted(p.principal for p in state.governance.body.principals)
    models = [model.model for model in review.models]
    _check_date(file, str(made.held), review, state)
    _check_people(file, made, state, people)
    for k, action in enumerate(made.actions):
        where = ("actions", str(k))
        if _person(action.owner, state) is None:
            raise _wrong(
                file,
                (*where, "owner"),
                f"the governance state knows no '{action.owner}'",
                expected=one_of(people),
                hint=nearest(action.owner, people),
            )
        if str(action.due) < str(made.held):
            raise _wrong(
                file,
                (*where, "due"),
                "an action is due before the meeting",
                expected=f"{made.held} or later",
                got=str(action.due),
            )
    named: tuple[tuple[str, Sequence[DeclaredDecision | DeclaredAction]], ...] = (
        ("decisions", made.decisions),
        ("actions", made.actions),
    )
    for group, items in named:
        for k, item in enumerate(items):
            if not item.text.strip():
                raise _wrong(file, (group, str(k), "text"), "a text is blank", expected="what was decided, or is to be")
            if item.model is not None and item.model not in models:
                raise _wrong(
                    file,
                    (group, str(k), "model"),
                    f"the review has no model '{item.model}'",
                    expected=one_of(models) if models else "no model",
                    hint=nearest(item.model, models),
                )
    _check_done(file, made, review)


def _check_done(file: YamlFile, made: DeclaredMinutes, review: Review) -> None:
    waiting = [action.id for action in review.actions if action.status != "done"]
    for k, name in enumerate(made.done):
        if name not in waiting:
            raise _wrong(
                file,
                ("done", str(k)),
                f"there is no open action '{name}'",
                expected=one_of(waiting) if waiting else "no action: none is open",
                hint=nearest(name, waiting),
            )
        if name in made.done[:k]:
            raise _wrong(file, ("done", str(k)), f"action '{name}' stands twice under 'done'", expected="once")


def _check_date(file: YamlFile, held: str, review: Review, state: RegistryState) -> None:
    """A meeting looks at what was prepared for it, and has taken place; days are those of UTC, as everywhere."""
    first, last = review.as_of[:10], iso(state.now)[:10]
    if held < first:
        what, expected = "the meeting was before the instant of its review", f"{first} or later"
    elif held > last:
        what, expected = "the meeting is to come", f"up to {last} (UTC)"
    else:
        return
    raise _wrong(file, ("held",), what, expected=expected, got=held)


def _check_people(file: YamlFile, made: DeclaredMinutes, state: RegistryState, people: Sequence[str]) -> None:
    """Whoever was there, was not, or decided is one of the bank's people: minutes are evidence of who knew what."""
    named: list[tuple[KeyPath, str]] = [(("attendance", str(k)), name) for k, name in enumerate(made.attendance)]
    named += [(("absent", str(k)), name) for k, name in enumerate(made.absent)]
    named += [(("decisions", str(k), "by"), decision.by) for k, decision in enumerate(made.decisions)]
    near = [*people, *sorted({p.person for p in state.governance.body.principals})]
    for where, name in named:
        if _person(name, state) is None:
            raise _wrong(
                file,
                where,
                f"the governance state knows no '{name}'",
                expected=one_of(people),
                hint=nearest(name, near),
            )
    seen: dict[str, str] = {}
    for where, name in named:
        if where[0] == "decisions":
            continue
        person = identity_of(_person(name, state) or name)
        if person in seen:
            twice = seen[person] == where[0]
            what = f"'{name}' stands twice under '{where[0]}'" if twice else f"'{name}' was there and was absent"
            raise _wrong(file, where, what, expected="every person once")
        seen[person] = where[0]


def _person(name: str, state: RegistryState) -> str | None:
    for p in state.governance.body.principals:
        if name == p.principal or same_person(name, p.person):
            return p.person
    return None


def _place(file: YamlFile, key: KeyPath) -> tuple[str, int | None]:
    """File and line of a key, or of the nearest key above it."""
    for end in range(len(key), 0, -1):
        if key[:end] in file.lines:
            return file.shown, file.lines[key[:end]]
    return file.shown, 1


def _wrong(
    file: YamlFile,
    key: KeyPath,
    what: str,
    *,
    expected: str | None = None,
    got: str | None = None,
    hint: str | None = None,
) -> ReviewError:
    shown, line = _place(file, key)
    return ReviewError(what, expected=expected, got=got, hint=hint, file=shown, line=line)
