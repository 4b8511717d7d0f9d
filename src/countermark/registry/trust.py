"""Who is trusted: the governance state, its keys, and when a date has passed."""

from __future__ import annotations

import re
import unicodedata
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
_ALIKE = str.maketrans("аеорсухіјѕһԁԛԝвкмнтοαρυνικβεζητχμ", "aeopcyxijshdqwbkmhtoapyvikbezhtxm")
"""Small letters of other scripts that look like Latin ones: a name of lookalikes is the name that it looks like."""
_ONE_SCRIPT = (frozenset({"CJK", "HIRAGANA", "KATAKANA"}), frozenset({"CJK", "HANGUL"}), frozenset({"CJK", "BOPOMOFO"}))
"""Scripts that are written together in one name."""


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
        return instant + timedelta(days=1) if len(text) == 10 else instant
    except (ValueError, OverflowError):
        raise RegistryError("this is no expiry", expected="a date such as 2027-05-22", got=f"'{text[:40]}'") from None


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
        wanted = name.strip().casefold()
        return next((p.person for p in self.body.principals if p.principal.casefold() == wanted), name)

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
    """Whether two names are one person's, however they are spelt."""
    return identity_of(one) == identity_of(other)


def identity_of(name: str) -> str:
    """What makes two spellings one person.

    Case, normal form, blanks, full stops, hyphens, apostrophes, characters that nobody sees and letters that look like
    others do not make another person; neither does a mail address behind the name.
    """
    text = unicodedata.normalize("NFKC", name.split("<")[0] if name.split("<")[0].strip() else name).casefold()
    seen = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc") or c.isspace())
    plain = unicodedata.normalize("NFKC", seen.translate(_ALIKE))
    words = "".join(" " if c in "-\u2010\u2011.'\u2019" else c for c in plain).split()
    return " ".join(words) or name.strip()


def names_in(text: str) -> tuple[str, ...]:
    """What a name of a developer may stand for: itself, and the address and account of ``Name <account@house>``."""
    address = text.partition("<")[2].partition(">")[0].strip() or text.strip()
    return tuple(dict.fromkeys((text, address, address.partition("@")[0])))


def check_names(body: GovernanceBody, known: Iterable[str] = ()) -> None:
    """Refuse names of persons that could be taken for other ones.

    Args:
        body: The governance state to be.
        known: Names that are in force already, and stay.

    Raises:
        RegistryError: Naming the person.
    """
    in_force = set(known)
    for p in body.principals:
        if p.person in in_force:
            continue
        strange = sorted({c for c in p.person if not (unicodedata.category(c)[0] in "LM" or c in " .-'\u2019")})
        scripts = {unicodedata.name(c, "?").split(" ")[0].split("-")[0] for c in p.person if c.isalpha()}
        mixed = len(scripts) > 1 and not any(scripts <= together for together in _ONE_SCRIPT)
        if strange or mixed or not scripts:
            raise RegistryError(
                f"the name of the person behind '{p.principal}' could be taken for another one",
                expected="letters of one script, blanks, full stops, hyphens and apostrophes",
                got=", ".join(f"U+{ord(c):04X}" for c in strange[:5]) or " and ".join(sorted(scripts)) or "no letter",
            )


_MOST_DAYS = 3660


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
    days = body.longest_approval_days
    if days is not None and not 1 <= days <= _MOST_DAYS:
        raise RegistryError(
            "the longest validity of an approval is no number of days",
            expected=f"from 1 to {_MOST_DAYS}",
            got=str(days),
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
