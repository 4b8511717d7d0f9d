"""Who is trusted: the governance state, its keys, and when a date has passed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from countermark.errors import RegistryError
from countermark.records.clock import parse_instant
from countermark.registry.bodies import GovernanceBody, Role
from countermark.registry.sshsig import parse_public

LINES_OF_CONTROL: frozenset[str] = frozenset({"validator", "risk", "auditor"})
"""Second and third line: only their persons can change who is trusted."""
_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+@-]*(\.[A-Za-z0-9_+@-]+)*")
_NEVER = datetime.max.replace(tzinfo=UTC)


def lapse(text: str | None) -> datetime:
    """The instant from which something with this expiry counts no more.

    Args:
        text: ISO instant; a bare date counts to its end, in UTC; None never lapses.

    Raises:
        RegistryError: If the text is neither.
    """
    if text is None:
        return _NEVER
    try:
        instant = parse_instant(text)
    except ValueError:
        raise RegistryError("this is no expiry", expected="a date such as 2027-05-22", got=f"'{text[:40]}'") from None
    return instant + timedelta(days=1) if len(text) == 10 else instant


@dataclass(frozen=True, slots=True)
class Author:
    """The person behind a key at some position of the log.

    Attributes:
        principal: The name that the key speaks for.
        person: The human being; two principals or two keys may be one person.
        roles: What the principal may act as.
        key: The public key.
        expires: When the key lapses.
    """

    principal: str
    person: str
    roles: frozenset[Role]
    key: str
    expires: datetime

    @property
    def identity(self) -> str:
        """The person, however the name is spelt: what four eyes are counted by."""
        return identity_of(self.person)


@dataclass(frozen=True, slots=True)
class Governance:
    """A governance state in force.

    Attributes:
        body: As signed.
        position: Position of the entry from which it is in force.
        authors: Author by public key.
    """

    body: GovernanceBody
    position: int
    authors: Mapping[str, Author]

    @classmethod
    def of(cls, body: GovernanceBody, position: int) -> Governance:
        """The state that a body declares.

        Raises:
            RegistryError: If it could not keep its promises.
        """
        check_governance(body)
        authors: dict[str, Author] = {}
        for p in body.principals:
            for key in p.keys:
                public = parse_public(key.public)[0]
                authors[public] = Author(p.principal, p.person, frozenset(p.roles), public, lapse(key.expires))
        return cls(body, position, authors)

    @property
    def persons(self) -> frozenset[str]:
        """Identity of every person named."""
        return frozenset(identity_of(p.person) for p in self.body.principals)

    def author(self, key: str) -> Author | None:
        """The person behind a key, or None if the key is not trusted."""
        return self.authors.get(key)

    def roles_for(self, tier: int) -> tuple[Role, ...]:
        """Roles that must approve a release of this tier; empty if the tier has no quorum, so that none can be met."""
        return tuple(self.body.quorum.get(str(tier), ()))

    def holders(self, role: str) -> tuple[str, ...]:
        """Principals with a role, sorted."""
        return tuple(sorted(p.principal for p in self.body.principals if role in p.roles))

    def person_of(self, name: str) -> str:
        """The person of a principal; the name itself if it is no principal."""
        return next((p.person for p in self.body.principals if p.principal == name), name)

    def in_conflict(self, person: str, others: Iterable[str]) -> str | None:
        """The other person or model that this person must not judge, or None."""
        rivals = {identity_of(name) for name in others}
        for one, two in self.body.conflicts:
            pair = {identity_of(one), identity_of(two)}
            if identity_of(person) in pair:
                rest = pair - {identity_of(person)}
                hit = rest & rivals
                if hit:
                    return two if identity_of(two) in hit else one
        return None


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person's: case and surrounding or doubled blanks do not make another person."""
    return identity_of(one) == identity_of(other)


def identity_of(name: str) -> str:
    """What makes two spellings one person."""
    return " ".join(name.split()).casefold()


def check_governance(body: GovernanceBody) -> None:
    """Refuse a governance state that could not keep its promises.

    Raises:
        RegistryError: Naming what is missing.
    """
    names = [p.principal for p in body.principals]
    keys = [parse_public(key.public)[0] for p in body.principals for key in p.keys]
    for what, found in (("principal", names), ("key", keys)):
        twice = sorted({item for item in found if found.count(item) > 1})
        if twice:
            raise RegistryError(f"a {what} stands twice in the governance state", got=twice[0])
    for p in body.principals:
        if _PRINCIPAL.fullmatch(p.principal) is None or p.principal.endswith(".lock"):
            raise RegistryError(
                "a principal's name becomes part of a tag's",
                expected="letters, digits and '_', '-', '+', '@', single dots inside",
                got=f"'{p.principal[:40]}'",
            )
        if not p.keys or not p.roles or not p.person.strip():
            raise RegistryError(
                f"principal '{p.principal}' is not complete", expected="a name, a person, a role and a key"
            )
        for key in p.keys:
            lapse(key.expires)
    control = {identity_of(p.person) for p in body.principals if LINES_OF_CONTROL & set(p.roles)}
    if not 2 <= body.amendment_quorum <= len(control):
        raise RegistryError(
            "the amendment quorum cannot be met by four eyes",
            expected=f"from 2 to {len(control)}, the number of persons with role validator, risk or auditor",
            got=str(body.amendment_quorum),
        )
    held = {role for p in body.principals for role in p.roles}
    for tier, roles in body.quorum.items():
        if tier not in ("1", "2", "3") or not roles or len(set(roles)) != len(roles) or "developer" in roles:
            raise RegistryError(
                f"the quorum of tier '{tier}' is no quorum",
                expected="for tiers 1, 2 and 3 at least one role, each once, never 'developer'",
                got=", ".join(roles) or "no role",
            )
        missing = [role for role in roles if role not in held]
        if missing:
            raise RegistryError(f"nobody holds role '{missing[0]}', which tier {tier} asks for")
    if set(body.quorum) != {"1", "2", "3"}:
        raise RegistryError("a tier has no quorum", expected="1, 2 and 3", got=", ".join(sorted(body.quorum)))
