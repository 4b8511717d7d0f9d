"""Can a table be judged by this contract at all?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from countermark.config.base import is_date
from countermark.config.contract import ColumnContract, CompareRule, Contract, RequiredIfRule, UniqueRule
from countermark.config.problems import Problem, nearest, one_of
from countermark.config.source import CsvSource, Source, WheelSource


def contract_problems(contract: Contract, source: Source) -> Iterator[Problem]:
    """Bounds, lists and patterns that do not fit their type, rules on no column, freshness without dates.

    Args:
        contract: The contract; paths are relative to it.
        source: Its source, for the as-of date.
    """
    name = f"contract '{contract.name}'"
    for column, promise in contract.columns.items():
        found = _unfit(promise)
        if found is not None:
            key, problem, expected, got = found
            yield Problem(
                ("columns", column, key),
                f"{name}: column '{column}' of type {promise.type} {problem}",
                expected=expected,
                got=got,
                hint="correct the column's promise",
            )
        mark = source.csv.decimal if isinstance(source, CsvSource | WheelSource) else "."
        if promise.thousands is not None and promise.thousands == (promise.decimal or mark):
            yield Problem(
                ("columns", column, "thousands"),
                f"{name}: column '{column}' has one sign for thousands and for decimals",
                expected=f"another sign than '{promise.thousands}', the decimal mark here",
                got=f"'{promise.thousands}'",
                hint="correct 'thousands', 'decimal', or 'csv: {decimal: ...}' of the source",
            )
    if contract.rows_max is not None and contract.rows_max < contract.rows_min:
        yield Problem(
            ("rows_max",),
            f"{name}: 'rows_max' is below 'rows_min'",
            expected=f"at least {contract.rows_min}",
            got=str(contract.rows_max),
        )
    yield from _rule_problems(contract, name)
    yield from _freshness_problems(contract, source, name)


def _rule_problems(contract: Contract, name: str) -> Iterator[Problem]:
    named = [rule.name for rule in contract.rules]
    twice = sorted({rule for rule in named if named.count(rule) > 1})
    if twice:
        yield Problem(
            ("rules",),
            f"{name}: two rules have one name",
            expected="a name of its own for each rule",
            got=", ".join(f"'{rule}'" for rule in twice),
        )
    for index, rule in enumerate(contract.rules):
        unknown = [column for column in _columns_of(rule) if column not in contract.columns]
        if unknown:
            yield Problem(
                ("rules", str(index)),
                f"{name}: rule '{rule.name}' names columns that the contract does not have",
                expected=one_of(contract.columns),
                got=", ".join(f"'{column}'" for column in unknown),
                hint=nearest(unknown[0], contract.columns),
            )
        elif isinstance(rule, CompareRule):
            left = family(contract.columns[rule.left].type)
            right = family(contract.columns[rule.right].type) if isinstance(rule.right, str) else "number"
            if left != right or (left in ("text", "boolean") and rule.operator not in ("==", "!=")):
                yield Problem(
                    ("rules", str(index)),
                    f"{name}: rule '{rule.name}' compares {left} with {right} by '{rule.operator}'",
                    expected="two numbers, two dates, or '==' and '!=' of one type",
                    got=f"{left} {rule.operator} {right}",
                    hint="compare like with like",
                )
        elif isinstance(rule, RequiredIfRule) and not _fits(contract.columns[rule.when].type, rule.equals):
            yield Problem(
                ("rules", str(index), "equals"),
                f"{name}: rule '{rule.name}' compares column '{rule.when}' with a value that is not of its type",
                expected=f"a value of type {contract.columns[rule.when].type}",
                got=repr(rule.equals),
            )


def _freshness_problems(contract: Contract, source: Source, name: str) -> Iterator[Problem]:
    if contract.freshness is None:
        return
    column = contract.freshness.column
    promise = contract.columns.get(column)
    if promise is None or promise.type != "date":
        yield Problem(
            ("freshness", "column"),
            f"{name}: 'freshness' needs a date column, and '{column}' is none",
            expected=one_of(n for n, p in contract.columns.items() if p.type == "date"),
            got=f"'{column}'",
        )
    if source.as_of is None:
        yield Problem(("freshness",), f"{name}: 'freshness' needs 'as_of' in the source", expected="a date", got="none")


def _unfit(promise: ColumnContract) -> tuple[str, str, str, str] | None:
    """Key, what, expected and got of the first part of a promise that does not fit its type."""
    bounds = {key: b for key, b in (("minimum", promise.minimum), ("maximum", promise.maximum)) if b is not None}
    wanted = {"date": "a date, YYYY-MM-DD", "text": "text", "boolean": "true or false"}.get(promise.type, "a number")
    for key, bound in bounds.items():
        if promise.type not in ("integer", "number", "date"):
            return key, "has a minimum or maximum", "bounds of a number or a date only", _told(bound)
        if not _fits(promise.type, bound):
            return key, "has a bound that is not of its type", wanted, _told(bound)
    if len(bounds) == 2 and _above(bounds["minimum"], bounds["maximum"]):
        got = f"{_told(bounds['minimum'])} .. {_told(bounds['maximum'])}"
        return "minimum", "has its minimum above its maximum", "minimum <= maximum", got
    for value in promise.allowed or ():
        if not _fits(promise.type, value):
            return "allowed", "allows values that are not of its type", wanted, repr(value)
    if promise.allowed is not None and not promise.allowed:
        return "allowed", "allows no value", "at least one value", "an empty list"
    if promise.pattern is not None:
        if promise.type != "text":
            return "pattern", "has a pattern", "a pattern of text only", repr(promise.pattern)
        try:
            re.compile(promise.pattern)
        except re.error as error:
            return "pattern", "has a pattern that is no regular expression", "a regular expression", str(error)
    return None


def _told(bound: float | str) -> str:
    return f"'{bound}'" if isinstance(bound, str) else f"{bound:.10g}"


def _above(low: float | str, high: float | str) -> bool:
    if isinstance(low, str) or isinstance(high, str):
        return str(low) > str(high)
    return low > high


def _fits(kind: str, value: object) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "date":
            return isinstance(value, str) and is_date(value)
        case _:
            return isinstance(value, int | float) and not isinstance(value, bool)


def family(kind: str) -> str:
    """Types that compare with one another: integers are numbers."""
    return "number" if kind in ("integer", "number") else kind


def _columns_of(rule: CompareRule | RequiredIfRule | UniqueRule) -> tuple[str, ...]:
    match rule:
        case CompareRule():
            return (rule.left, rule.right) if isinstance(rule.right, str) else (rule.left,)
        case RequiredIfRule():
            return (rule.column, rule.when)
        case UniqueRule():
            return rule.columns
