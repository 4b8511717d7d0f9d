"""What a column's name says: an identifier for it, and whether it speaks of a person, a key, a date or an outcome."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_OUTCOME_WORDS = (
    "default", "default_flag", "target", "outcome", "label", "y", "bad", "is_bad", "bad_flag", "loan_status",
    "charged_off", "fraud", "is_fraud", "sar", "response", "responded", "converted", "churn",
)  # fmt: skip
_AMOUNT_WORDS = {
    "lgd": ("lgd", "loss_given_default", "loss_rate", "realised_lgd", "realized_lgd", "workout_lgd", "loss"),
    "ead": ("ead", "exposure_at_default", "ccf", "credit_conversion_factor", "realised_ead", "realized_ead"),
}
_PROTECTED = {
    "sex": "sex", "gender": "sex", "race": "race", "ethnicity": "ethnicity", "ethnic": "ethnicity", "age": "age",
    "birth": "age", "birthday": "age", "birthdate": "age", "dob": "age", "marital": "marital_status",
    "marriage": "marital_status", "married": "marital_status",
    "religion": "religion", "nationality": "nationality", "national_origin": "national_origin",
    "disability": "disability", "pregnant": "pregnancy", "colour": "race", "color": "race",
}  # fmt: skip
_PARTIES = (
    "customer|cust|client|account|acct|acc|borrower|obligor|card|household|member|applicant|person|party|user|"
    "counterparty"
)
_PARTY = re.compile(rf"(^|_)({_PARTIES})(_(id|key|no|nr|num|number|code|ref))?$")
_IDENTIFIER = re.compile(
    rf"(^|_)(id|key|uuid|guid|iban|bic|ssn|nino|ref|reference|zip|zipcode|postcode|plz|naics|sic|mcc|phone|mobile|fax)$"
    rf"|(^|_)({_PARTIES}|loan|contract|policy|phone|serial|branch|agency|application)_(no|nr|num|number)$"
    r"|(^|_)(post|postal|zip|area|branch|sort|industry|merchant|product|occupation|country|region|state|city)_code$"
)
_ROW_KEY = re.compile(r"(^|_)(id|key|no|number|nr)$")
_POSTAL = re.compile(r"(^|_)(zip|zipcode|postcode|plz|post_code|postal_code|zip_code)$")
_PERSONAL = re.compile(
    r"(^|_)(email|e_mail|mail|phone|telephone|mobile|fax|iban|ssn|nino|passport|tax_id|surname|first_name|last_name|"
    r"full_name|customer_name|client_name|borrower_name|applicant_name|address|street|ip)($|_(address|number|no|nr)$)"
)
_DATED = re.compile(
    r"(^|_)(date|dt|day|month|yearmonth|ym|yyyymm|yyyymmdd|period|quarter|qtr|vintage|cohort|snapshot|reporting|"
    r"opened|issued|booked|granted|asof|as_of)($|_)|_(at|on|d)$"
)
_OBSERVED = re.compile(
    r"(^|_)(application|applied|apply|orig|origination|originated|issue|issued|open|opened|opening|booking|booked|"
    r"granted|disbursed|disbursement|observation|obs|snapshot|reporting|report|asof|as_of|vintage|cohort|start)($|_)"
)
_LATER = re.compile(
    r"(^|_)(maturity|matures|end|ends|close|closed|closing|default|defaulted|charge|chargeoff|last|next|expiry|"
    r"expires|expiration|due|resolved|resolution|outcome|repaid|settled|paid|payment|until|to|updated)($|_)"
)

_AFTERMATH = re.compile(
    r"(^|_)(recover(y|ies|ed)?|collections?|collected|chargeoff|charge_off|charged_off|writeoff|write_off|written_off|"
    r"settle(d|ment)|repaid|pymnt|pymt|total_paid|paid_total|paid_to_date|closed|closing|loss|losses|foreclos(ure|ed)|"
    r"bankruptcy_filed|outcome|default(ed)?_(date|amount|amt|flag))($|_)"
)


def plain_name(text: str) -> str:
    """A lower-case identifier for an odd column name: letters, digits and single underscores."""
    ascii_text = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", ascii_text.lower()).strip("_")
    if not name:
        name = "column"
    return name if name[0].isalpha() else f"c_{name}"


def unique_names(columns: Sequence[str]) -> dict[str, str]:
    """Plain name of every column. Where several collide, one that is plain already keeps it, others get a number."""
    given = dict.fromkeys(column for column in columns if plain_name(column) == column)
    taken = set(given)
    names: dict[str, str] = {}
    for column in columns:
        name = base = plain_name(column)
        count = 2
        while column not in given and name in taken:
            name, count = f"{base}_{count}", count + 1
        taken.add(name)
        names[column] = name
    return names


def named_outcomes(columns: Sequence[str], kind: str) -> tuple[str, ...]:
    """Columns named like the outcome of a kind of model, the likeliest first."""
    by_name = {plain_name(column): column for column in columns}
    return tuple(by_name[word] for word in _AMOUNT_WORDS.get(kind, _OUTCOME_WORDS) if word in by_name)


def colliding_names(columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Columns whose plain name was another's, with the name that they got."""
    return tuple((c, name) for c, name in unique_names(columns).items() if name != plain_name(c))


def shown_name(column: str) -> str:
    """A column name for a message: on one line and not endless."""
    line = " ".join("".join(mark if mark.isprintable() else " " for mark in column).split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def protected_attribute(column: str) -> str | None:
    """The protected attribute that a column name speaks of, or None."""
    words = plain_name(column).split("_")
    return next((meaning for word, meaning in _PROTECTED.items() if word in words), None)


def says_identifier(column: str) -> bool:
    """Whether a name promises codes, whose digits are no quantity."""
    return _IDENTIFIER.search(plain_name(column)) is not None


def entity_rank(column: str) -> int | None:
    """How well a name fits a customer: 0 names one or an account, 1 is some id, None speaks of something else."""
    name = plain_name(column)
    if _PARTY.search(name):
        return 0
    return 1 if name == "id" or name.endswith("_id") else None


def says_row_key(column: str) -> bool:
    """Whether a name promises one value a row."""
    return _ROW_KEY.search(plain_name(column)) is not None or "#" in column


def says_postal_code(column: str) -> bool:
    """Whether a name promises a place so small that it may stand for who lives there."""
    return _POSTAL.search(plain_name(column)) is not None


def says_personal(column: str) -> bool:
    """Whether a name promises data by which a person is found."""
    return _PERSONAL.search(plain_name(column)) is not None


def says_aftermath(column: str) -> bool:
    """Whether a name speaks of what happens after the outcome, so that no decision can have known it."""
    return _AFTERMATH.search(plain_name(column)) is not None


def says_date(column: str) -> bool:
    """Whether a name promises a date or a period."""
    return _DATED.search(plain_name(column)) is not None


def observation_rank(column: str) -> int:
    """How well a name fits the date of observation: 0 well, 1 unknown, 2 a date known only later."""
    name = plain_name(column)
    if _LATER.search(name):
        return 2
    return 0 if _OBSERVED.search(name) else 1
