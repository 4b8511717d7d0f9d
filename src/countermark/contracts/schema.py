"""From a declared contract to a pandera schema."""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import pandas as pd
import pandera.pandas as pandera

from countermark.config.contract import ColumnContract, CompareRule, Contract, RequiredIfRule, UniqueRule
from countermark.config.source import Source
from countermark.contracts.instants import zone_of
from countermark.errors import ContractError

Mask: TypeAlias = "pd.Series[bool]"

KEY_UNIQUE = "key_unique"
FUTURE = "future"
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}
_DTYPES = {"integer": "Int64", "number": "float64", "text": "string", "boolean": "boolean"}


def pandera_schema(contract: Contract, source: Source) -> pandera.DataFrameSchema:
    """The contract as a pandera schema over typed columns.

    Every check carries the rule's name as its error text, so that failures can be told apart.

    Args:
        contract: Declared contract; :func:`refuse_contradictions` has passed.
        source: Its source: the key, the zone of dates, the as-of date.
    """
    zone = zone_of(source.time_zone)
    columns = {}
    for name, promise in contract.columns.items():
        checks = _column_checks(promise, source, zone)
        if name == source.row_key and contract.table == "main":
            checks.append(_check(KEY_UNIQUE, lambda s: ~s.duplicated(keep=False)))
        columns[name] = pandera.Column(
            _DTYPES.get(promise.type), checks=checks, nullable=promise.nullable, required=True, coerce=False
        )
    rules = [_row_check(rule, contract, zone) for rule in contract.rules]
    return pandera.DataFrameSchema(columns, checks=rules, strict=False)


def _check(name: str, test: Callable[[Any], Any]) -> pandera.Check:
    return pandera.Check(test, error=name, ignore_na=True)


def _column_checks(promise: ColumnContract, source: Source, zone: ZoneInfo) -> list[pandera.Check]:
    checks: list[pandera.Check] = []
    dated = promise.type == "date"

    def seen(series: Any) -> Any:
        return days(series, zone) if dated else series

    if promise.minimum is not None:
        low = _bound(promise, promise.minimum)
        checks.append(_check("minimum", lambda s: seen(s) >= low))
    if promise.maximum is not None:
        high = _bound(promise, promise.maximum)
        checks.append(_check("maximum", lambda s: seen(s) <= high))
    if promise.allowed is not None:
        listed = [pd.Timestamp(str(v)) for v in promise.allowed] if dated else list(promise.allowed)
        checks.append(_check("allowed", lambda s: seen(s).isin(listed)))
    if promise.pattern is not None:
        pattern = promise.pattern
        checks.append(_check("pattern", lambda s: s.str.fullmatch(pattern)))
    if promise.unique:
        checks.append(_check("unique", lambda s: ~s.duplicated(keep=False)))
    if dated and source.as_of is not None:
        as_of = pd.Timestamp(source.as_of)
        checks.append(_check(FUTURE, lambda s: seen(s) <= as_of))
    return checks


def days(series: Any, zone: ZoneInfo) -> Any:
    """Calendar days of a date column, or of UTC instants in the source's zone."""
    if getattr(series.dt, "tz", None) is not None:
        return series.dt.tz_convert(zone).dt.tz_localize(None).dt.normalize()
    return series


def _bound(promise: ColumnContract, value: float | str) -> Any:
    return pd.Timestamp(str(value)) if promise.type == "date" else float(value)


def _row_check(rule: CompareRule | RequiredIfRule | UniqueRule, contract: Contract, zone: ZoneInfo) -> pandera.Check:
    match rule:
        case CompareRule():
            return pandera.Check(_compare(rule, contract, zone), error=rule.name, ignore_na=False)
        case RequiredIfRule():
            return pandera.Check(_required_if(rule, contract, zone), error=rule.name, ignore_na=False)
        case UniqueRule():
            names = list(rule.columns)
            return pandera.Check(lambda f: ~f.duplicated(names, keep=False), error=rule.name, ignore_na=False)


def _compare(rule: CompareRule, contract: Contract, zone: ZoneInfo) -> Callable[[pd.DataFrame], Mask]:
    compare = _COMPARE[rule.operator]
    dated = contract.columns[rule.left].type == "date"

    def test(frame: pd.DataFrame) -> Mask:
        left: Any = frame[rule.left]
        right: Any = frame[rule.right] if isinstance(rule.right, str) else rule.right
        missing = left.isna()
        if isinstance(rule.right, str):
            missing = missing | right.isna()
        if dated and str(left.dtype) != str(right.dtype):
            left, right = days(left, zone), days(right, zone)
        outcome = compare(left, right)
        passed: Mask = outcome.fillna(False).astype(bool) | missing
        return passed

    return test


def _required_if(rule: RequiredIfRule, contract: Contract, zone: ZoneInfo) -> Callable[[pd.DataFrame], Mask]:
    dated = contract.columns[rule.when].type == "date"
    equals: Any = pd.Timestamp(str(rule.equals)) if dated else rule.equals

    def test(frame: pd.DataFrame) -> Mask:
        when = days(frame[rule.when], zone) if dated else frame[rule.when]
        asked = (when == equals).fillna(False).astype(bool)
        passed: Mask = ~(asked & frame[rule.column].isna())
        return passed

    return test


def refuse_contradictions(contract: Contract, source: Source, *, file: str | None = None) -> None:
    """Refuse a contract that no table could be judged by.

    Raises:
        ContractError: A bound, list or pattern that does not fit its type, an unknown column in a rule, freshness
            without an as-of date, or two rules of one name.
    """

    def refuse(what: str, *, expected: str | None = None, got: str | None = None, hint: str | None = None) -> None:
        raise ContractError(f"contract '{contract.name}': {what}", expected=expected, got=got, hint=hint, file=file)

    for name, promise in contract.columns.items():
        problem = _unfit(promise)
        if problem is not None:
            refuse(f"column '{name}' of type {promise.type} {problem}", hint="correct the column's promise")
    named = [rule.name for rule in contract.rules]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        refuse("two rules have one name", got=", ".join(twice))
    for rule in contract.rules:
        unknown = [name for name in _columns_of(rule) if name not in contract.columns]
        if unknown:
            refuse(
                f"rule '{rule.name}' names columns that the contract does not have",
                expected="one of: " + ", ".join(contract.columns),
                got=", ".join(f"'{name}'" for name in unknown),
            )
        if isinstance(rule, CompareRule):
            left = _family(contract.columns[rule.left].type)
            right = _family(contract.columns[rule.right].type) if isinstance(rule.right, str) else "number"
            if left != right or (left in ("text", "boolean") and rule.operator not in ("==", "!=")):
                refuse(
                    f"rule '{rule.name}' compares {left} with {right} by '{rule.operator}'",
                    hint="compare like with like",
                )
    if contract.freshness is not None:
        promise_of = contract.columns.get(contract.freshness.column)
        if promise_of is None or promise_of.type != "date":
            refuse(f"'freshness' needs a date column, and '{contract.freshness.column}' is none")
        if source.as_of is None:
            refuse("'freshness' needs 'as_of' in the source", expected="a date", got="none")


def _unfit(promise: ColumnContract) -> str | None:
    bounds = [bound for bound in (promise.minimum, promise.maximum) if bound is not None]
    if bounds and promise.type not in ("integer", "number", "date"):
        return "has a minimum or maximum"
    for bound in bounds:
        if (promise.type == "date") != isinstance(bound, str) or (promise.type == "date" and not _is_date(str(bound))):
            return "has a bound that is not of its type"
    if len(bounds) == 2 and _bound(promise, bounds[0]) > _bound(promise, bounds[1]):
        return "has its minimum above its maximum"
    if promise.allowed is not None and not all(_fits(promise.type, value) for value in promise.allowed):
        return "allows values that are not of its type"
    if promise.pattern is not None:
        if promise.type != "text":
            return "has a pattern"
        try:
            re.compile(promise.pattern)
        except re.error:
            return "has a pattern that is no regular expression"
    return None


def _fits(kind: str, value: object) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "date":
            return isinstance(value, str) and _is_date(value)
        case _:
            return isinstance(value, int | float) and not isinstance(value, bool)


def _is_date(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _family(kind: str) -> str:
    return "number" if kind in ("integer", "number") else kind


def _columns_of(rule: CompareRule | RequiredIfRule | UniqueRule) -> tuple[str, ...]:
    match rule:
        case CompareRule():
            return (rule.left, rule.right) if isinstance(rule.right, str) else (rule.left,)
        case RequiredIfRule():
            return (rule.column, rule.when)
        case UniqueRule():
            return rule.columns
