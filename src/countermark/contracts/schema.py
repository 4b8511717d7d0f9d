"""From a declared contract to a pandera schema."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import pandas as pd
import pandera.pandas as pandera

from countermark.config.contract import ColumnContract, CompareRule, Contract, RequiredIfRule, UniqueRule
from countermark.config.contract_check import contract_problems
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
        # One engine: a column of text may be held by one with another grammar than the one that compiled the pattern.
        whole = re.compile(promise.pattern).fullmatch
        checks.append(_check("pattern", lambda s: s.map(lambda text: whole(text) is not None).astype("boolean")))
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
    for problem in contract_problems(contract, source):
        raise ContractError(problem.what, expected=problem.expected, got=problem.got, hint=problem.hint, file=file)
