"""On-demand expressions: typed, closed, and one evaluator for a row and for a table.

An expression is parsed by Python's own parser and every part that is not on the list below is refused. Nothing is ever
executed as code. A table is evaluated by evaluating its rows, so that a row and a table give the same bits.

Arithmetic is IEEE 754 double precision, and every operation and function on the list is exactly rounded or exact:
there is no logarithm and no exponential, whose last bit depends on the processor. Null is contagious: an operation on
null is null, except for ``coalesce``, ``is_null`` and the three-valued ``and``, ``or``, ``not``. Division by zero and a
result that is no finite number are null.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from countermark.config.problems import nearest, one_of
from countermark.errors import ConfigError
from countermark.features.times import HOUR, local_microseconds

ValueType: TypeAlias = Literal["number", "boolean", "text", "time"]
Value: TypeAlias = float | bool | str | int | None
"""A number is a float, a time is an int: microseconds since 1970 in UTC."""
Evaluate: TypeAlias = Callable[[Sequence[Any]], Any]

_DEEPEST = 60
_DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression.

    Attributes:
        text: As written.
        type: Type of the result.
        names: What it reads, in the order of first use: ``request.FIELD``, ``FEATURE`` or ``VIEW.FEATURE``.
    """

    text: str
    type: ValueType
    names: tuple[str, ...]
    _types: tuple[ValueType, ...]
    _evaluate: Evaluate

    def row(self, values: Mapping[str, Any]) -> Value:
        """Evaluate for one row.

        Args:
            values: Number, text, truth, time (microseconds) or None by name; NaN is null.
        """
        return self.at([values[name] for name in self.names])

    def table(self, columns: Mapping[str, Sequence[Any]]) -> list[Value]:
        """Evaluate for every row of a table; null is None.

        Args:
            columns: Values by name, as :meth:`row` takes them, all of one length. At least one name must be read.
        """
        return [self.at(list(values)) for values in zip(*(columns[name] for name in self.names), strict=True)]

    def at(self, values: list[Any]) -> Value:
        """Evaluate for values in the order of ``names``; the list is the evaluator's own from now on."""
        for k, kind in enumerate(self._types):
            if kind == "number" and values[k] is not None:
                number = float(values[k])
                values[k] = number if number == number else None
        result: Value = self._evaluate(values)
        if self.type == "number" and result is not None:
            return result + 0.0 if math.isfinite(result) else None  # type: ignore[operator,arg-type]
        return result


def compile_expression(text: str, types: Mapping[str, ValueType], *, time_zone: str = "UTC") -> Expression:
    """Compile an expression.

    Args:
        text: The expression.
        types: Type of every name it may read.
        time_zone: Zone in which ``hour``, ``weekday`` and ``day`` read the clock.

    Raises:
        ConfigError: If it cannot be parsed, uses what is not on the list, reads an unknown name, mixes types, or reads
            nothing at all.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refused(text, "cannot be read", got=getattr(error, "msg", None)) from None
    compiler = _Compiler(text, types, ZoneInfo(time_zone))
    evaluate, kind = compiler.visit(tree.body, 0)
    if not compiler.names:
        raise _refused(text, "reads nothing", expected="at least one of: " + ", ".join(list(types)[:40]))
    names = tuple(compiler.names)
    return Expression(text, kind, names, tuple(types[name] for name in names), evaluate)


def names_read(text: str) -> tuple[str, ...]:
    """Names that an expression reads, in the order of the text, without judging it; none where it cannot be parsed."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inside = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found[f"{node.value.id}.{node.attr}"] = None
        elif isinstance(node, ast.Name) and id(node) not in called and id(node) not in inside:
            found[node.id] = None
    return tuple(found)


def _refused(
    text: str, what: str, *, expected: str | None = None, got: str | None = None, hint: str | None = None
) -> ConfigError:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return ConfigError(f"expression '{shown}' {what}", expected=expected, got=got, hint=hint)


def _null_if_any(function: Callable[..., Any], parts: Sequence[Evaluate]) -> Evaluate:
    if len(parts) == 1:
        (only,) = parts

        def unary(row: Sequence[Any]) -> Any:
            a = only(row)
            return None if a is None else function(a)

        return unary
    if len(parts) == 2:
        left, right = parts

        def binary(row: Sequence[Any]) -> Any:
            a = left(row)
            if a is None:
                return None
            b = right(row)
            return None if b is None else function(a, b)

        return binary

    def many(row: Sequence[Any]) -> Any:
        values = [part(row) for part in parts]
        return None if None in values else function(*values)

    return many


def _divide(a: float, b: float) -> float | None:
    return None if b == 0.0 else a / b


def _finite_whole(rounding: Callable[[float], int]) -> Callable[[float], float | None]:
    return lambda a: float(rounding(a)) if math.isfinite(a) else None


def _square_root(a: float) -> float | None:
    return None if a < 0.0 else math.sqrt(a)


_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float | None]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: _divide,
}
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: lambda a, b: bool(a < b),
    ast.LtE: lambda a, b: bool(a <= b),
    ast.Gt: lambda a, b: bool(a > b),
    ast.GtE: lambda a, b: bool(a >= b),
}
_EQUAL: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: lambda a, b: bool(a == b),
    ast.NotEq: lambda a, b: bool(a != b),
}
_NUMBER_FUNCTIONS: dict[str, tuple[Callable[..., float | None], int, int | None]] = {
    "abs": (abs, 1, 1),
    "sqrt": (_square_root, 1, 1),
    "floor": (_finite_whole(math.floor), 1, 1),
    "ceil": (_finite_whole(math.ceil), 1, 1),
    "min": (min, 2, None),
    "max": (max, 2, None),
}
_CLOCK: dict[str, Callable[[int], float]] = {
    "hour": lambda local: float(local % _DAY // HOUR),
    "weekday": lambda local: float((local // _DAY + 3) % 7 + 1),
}
FUNCTIONS = (*_NUMBER_FUNCTIONS, *_CLOCK, "seconds_between", "coalesce", "is_null", "number")
"""Every function that an expression may call."""


class _Compiler:
    def __init__(self, text: str, types: Mapping[str, ValueType], zone: ZoneInfo) -> None:
        self.text = text
        self.types = types
        self.zone = zone
        self.names: dict[str, int] = {}

    def visit(self, node: ast.expr, depth: int) -> tuple[Evaluate, ValueType]:
        if depth > _DEEPEST:
            raise _refused(self.text, "is nested too deeply", expected=f"at most {_DEEPEST} levels")
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name() | ast.Attribute():
                return self._name(node)
            case ast.UnaryOp():
                return self._unary(node, depth)
            case ast.BinOp():
                return self._binary(node, depth)
            case ast.BoolOp():
                return self._logic(node, depth)
            case ast.Compare():
                return self._compare(node, depth)
            case ast.IfExp():
                return self._choose(node, depth)
            case ast.Call():
                return self._call(node, depth)
        raise _refused(
            self.text,
            "uses what an expression cannot",
            expected="numbers, text, names, + - * /, comparisons, in, and, or, not, A if C else B, "
            + ", ".join(FUNCTIONS),
            got=type(node).__name__,
        )

    def _constant(self, node: ast.Constant) -> tuple[Evaluate, ValueType]:
        value = node.value
        if isinstance(value, bool):
            return (lambda _row: value), "boolean"
        if isinstance(value, int | float) and math.isfinite(number := _as_float(value)):
            return (lambda _row: number), "number"
        if isinstance(value, str):
            return (lambda _row: value), "text"
        raise _refused(self.text, "holds a constant of no known type", expected="a number, a text, True or False")

    def _name(self, node: ast.Name | ast.Attribute) -> tuple[Evaluate, ValueType]:
        if isinstance(node, ast.Name):
            name = node.id
        elif isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
        else:
            raise _refused(self.text, "has a name of more than two parts", expected="NAME, request.FIELD, VIEW.FEATURE")
        if name not in self.types:
            raise _refused(
                self.text,
                f"reads '{name}', which is not there",
                expected=one_of(self.types),
                got=f"'{name}'",
                hint=nearest(name, self.types),
            )
        place = self.names.setdefault(name, len(self.names))
        return (lambda row: row[place]), self.types[name]

    def _typed(self, node: ast.expr, wanted: ValueType, depth: int, where: str) -> Evaluate:
        evaluate, kind = self.visit(node, depth + 1)
        if kind != wanted:
            raise _refused(self.text, f"gives {where} a {kind}", expected=f"a {wanted}", got=f"a {kind}")
        return evaluate

    def _unary(self, node: ast.UnaryOp, depth: int) -> tuple[Evaluate, ValueType]:
        match node.op:
            case ast.Not():
                inner = self._typed(node.operand, "boolean", depth, "'not'")
                return _null_if_any(lambda a: not a, (inner,)), "boolean"
            case ast.USub():
                inner = self._typed(node.operand, "number", depth, "'-'")
                return _null_if_any(lambda a: -a, (inner,)), "number"
            case ast.UAdd():
                return self._typed(node.operand, "number", depth, "'+'"), "number"
        raise _refused(self.text, "uses an operator that is not on the list", expected="+, -, *, /, not")

    def _binary(self, node: ast.BinOp, depth: int) -> tuple[Evaluate, ValueType]:
        function = _ARITHMETIC.get(type(node.op))
        if function is None:
            raise _refused(
                self.text,
                "uses an operator that is not on the list",
                expected="+, -, *, /",
                got=type(node.op).__name__,
            )
        parts = [self._typed(side, "number", depth, "arithmetic") for side in (node.left, node.right)]
        return _null_if_any(function, parts), "number"

    def _logic(self, node: ast.BoolOp, depth: int) -> tuple[Evaluate, ValueType]:
        decisive = isinstance(node.op, ast.Or)
        word = "'or'" if decisive else "'and'"
        parts = [self._typed(part, "boolean", depth, word) for part in node.values]

        def kleene(row: Sequence[Any]) -> bool | None:
            unknown = False
            for part in parts:
                value: bool | None = part(row)
                if value is decisive:
                    return decisive
                unknown |= value is None
            return None if unknown else not decisive

        return kleene, "boolean"

    def _compare(self, node: ast.Compare, depth: int) -> tuple[Evaluate, ValueType]:
        if len(node.ops) != 1:
            raise _refused(self.text, "chains comparisons", hint="join them by 'and'")
        operation, right_node = node.ops[0], node.comparators[0]
        left, kind = self.visit(node.left, depth + 1)
        if isinstance(operation, ast.In | ast.NotIn):
            listed = frozenset(self._listed(right_node, kind))
            inside = isinstance(operation, ast.In)
            return _null_if_any(lambda a: (a in listed) is inside, (left,)), "boolean"
        function = _EQUAL.get(type(operation)) or _ORDER.get(type(operation))
        if function is None or (type(operation) in _ORDER and kind not in ("number", "time")):
            raise _refused(self.text, f"compares a {kind} by what cannot compare it", got=type(operation).__name__)
        right = self._typed(right_node, kind, depth, "a comparison")
        return _null_if_any(function, (left, right)), "boolean"

    def _listed(self, node: ast.expr, kind: ValueType) -> list[Any]:
        parts = node.elts if isinstance(node, ast.Tuple | ast.List) else []
        values = []
        for part in parts:
            if not isinstance(part, ast.Constant):
                break
            evaluate, found = self._constant(part)
            if found != kind:
                raise _refused(self.text, f"looks for a {kind} among {found}s", expected=f"{kind}s", got=f"a {found}")
            values.append(evaluate(()))
        if not values or len(values) != len(parts):
            raise _refused(self.text, "has 'in' without a list", expected="constants in brackets: ('A', 'B')")
        return values

    def _choose(self, node: ast.IfExp, depth: int) -> tuple[Evaluate, ValueType]:
        test = self._typed(node.test, "boolean", depth, "'if'")
        body, kind = self.visit(node.body, depth + 1)
        other = self._typed(node.orelse, kind, depth, "'else'")

        def choose(row: Sequence[Any]) -> Any:
            chosen = test(row)
            if chosen is None:
                return None
            return body(row) if chosen else other(row)

        return choose, kind

    def _call(self, node: ast.Call, depth: int) -> tuple[Evaluate, ValueType]:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS or node.keywords or any(isinstance(part, ast.Starred) for part in node.args):
            raise _refused(
                self.text,
                "calls what is not on the list",
                expected=one_of(FUNCTIONS),
                got=f"'{name}'" if name else None,
                hint=nearest(name, FUNCTIONS),
            )
        self._count(name, node.args)
        if name in _NUMBER_FUNCTIONS:
            parts = [self._typed(part, "number", depth, f"'{name}'") for part in node.args]
            return _null_if_any(_NUMBER_FUNCTIONS[name][0], parts), "number"
        if name in _CLOCK:
            clock, zone = _CLOCK[name], self.zone
            moment = self._typed(node.args[0], "time", depth, f"'{name}'")
            return _null_if_any(lambda at: clock(local_microseconds(at, zone)), (moment,)), "number"
        if name == "seconds_between":
            parts = [self._typed(part, "time", depth, f"'{name}'") for part in node.args]
            return _null_if_any(lambda a, b: (b - a) / 1_000_000, parts), "number"
        if name == "number":
            return _null_if_any(float, (self._typed(node.args[0], "boolean", depth, "'number'"),)), "number"
        first, kind = self.visit(node.args[0], depth + 1)
        if name == "is_null":
            return (lambda row: first(row) is None), "boolean"
        return _first_value([first, *(self._typed(part, kind, depth, "'coalesce'") for part in node.args[1:])]), kind

    def _count(self, name: str, args: Sequence[ast.expr]) -> None:
        low, high = 1, 1
        if name in _NUMBER_FUNCTIONS:
            _, low, most = _NUMBER_FUNCTIONS[name]
            high = len(args) if most is None else most
        elif name == "seconds_between":
            low = high = 2
        elif name == "coalesce":
            low, high = 2, len(args)
        if not low <= len(args) <= max(low, high):
            expected = f"{low}" if high == low else f"{low} or more"
            raise _refused(self.text, f"gives '{name}' {len(args)} values", expected=expected)


def _first_value(parts: Iterable[Evaluate]) -> Evaluate:
    listed = tuple(parts)

    def first(row: Sequence[Any]) -> Any:
        for part in listed:
            value = part(row)
            if value is not None:
                return value
        return None

    return first


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
