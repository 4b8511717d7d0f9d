"""Write the first spec, contract and narrative of a model from a file that nobody here has seen."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from countermark.errors import ConfigError
from countermark.features.groups import band_names
from countermark.portfolio.dag import refuse_kind
from countermark.portfolio.profile import (
    ColumnProfile,
    FileProfile,
    guess_outcome,
    outcome_values,
    plain_name,
    profile_file,
    protected_attribute,
    protected_bands,
    unique_names,
)
from countermark.records.digest import file_digest

_SMALL = 2000
_WRITTEN = (("model", ".yaml"), ("source", ".yaml"), ("contract", ".yaml"), ("decision", ".yaml"), ("model", ".md"))
_OPEN = "Unanswered"


@dataclass(frozen=True, slots=True)
class Scaffold:
    """Files of a new model and what a person still has to say.

    Attributes:
        files: Text by path relative to the bank's root.
        questions: Open questions, in the order in which they matter.
    """

    files: Mapping[str, str]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What the command was asked for."""

    name: str
    kind: str
    data: Path
    outcome: str | None
    as_of: str | None


def scaffold_model(root: Path, request: Request, narrative: Mapping[str, str]) -> Scaffold:
    """Look at the file and propose a working spec.

    Args:
        root: The bank's root.
        request: Name, kind, file and the outcome column if the caller knows it.
        narrative: Question by key, for conf/model/NAME.md.

    Raises:
        ConfigError: The model exists, or the outcome cannot be told.
        SourceError: The file cannot be read.
    """
    for group, ending in _WRITTEN:
        relative = f"conf/{group}/{request.name}{ending}"
        if (root / relative).exists():
            raise ConfigError(
                f"'{relative}' exists already", expected="a new name", hint="choose another name", file=relative
            )
    refuse_kind(request.kind)
    profile = profile_file(request.data)
    outcome = _outcome(profile, request)
    as_of = request.as_of or _as_of(profile, request.data)
    names = unique_names([c.name for c in profile.columns])
    plan = _Plan(request, profile, outcome, names, as_of, _data_path(root, request.data))
    files = {
        f"conf/source/{request.name}.yaml": _text(plan.source(), "Where the data comes from."),
        f"conf/contract/{request.name}.yaml": _text(plan.contract(), "What every column was seen to be: tighten it."),
        f"conf/decision/{request.name}.yaml": _text(plan.decision(), "Cut-off and reason texts, versioned apart."),
        f"conf/model/{request.name}.yaml": _text(plan.model(), "The model. Answer every 'Unanswered'."),
        f"conf/model/{request.name}.md": _narrative(request.name, narrative),
    }
    return Scaffold(files, plan.questions())


@dataclass(frozen=True, slots=True)
class _Plan:
    request: Request
    profile: FileProfile
    outcome: str
    names: Mapping[str, str]
    as_of: str
    path: str

    def source(self) -> dict[str, Any]:
        profile, name = self.profile, self.request.name
        document: dict[str, Any] = {
            "kind": profile.format,
            "name": name,
            "title": f"{_OPEN}: what is in {Path(self.path).name}?",
            "owner": _OPEN,
            "licence": _OPEN,
            "personal_data": _OPEN,
            "time_zone": "UTC",
            "currency": "none",
            "as_of": self.as_of,
            "path": self.path,
            "sha256": file_digest(self.request.data),
        }
        if profile.row_key is not None:
            document["row_key"] = self.names[profile.row_key]
        if profile.format == "csv":
            options = profile.csv
            document["csv"] = {
                "delimiter": options.delimiter,
                "encoding": options.encoding,
                "null_values": list(profile.null_values),
                **({"decimal": ","} if options.decimal == "," else {}),
            }
        empty = [self.names[c.name] for c in profile.columns if c.missing == profile.rows]
        if empty:
            document["drop_columns"] = empty
        renamed = {old: new for old, new in self.names.items() if old != new}
        if renamed:
            document["rename"] = renamed
        return document

    def contract(self) -> dict[str, Any]:
        return {
            "name": self.request.name,
            "columns": {
                self.names[c.name]: _promise(c, self) for c in self.profile.columns if c.missing < self.profile.rows
            },
            "rows_min": max(1, self.profile.rows // 2),
            "tolerance": 0.0,
        }

    def features(self) -> dict[str, ColumnProfile]:
        """Columns that can be inputs: not key, outcome, date, protected, constant, or free text."""
        profile = self.profile
        barred = {self.outcome, profile.row_key, profile.entity, *profile.protected}
        found: dict[str, ColumnProfile] = {}
        for column in profile.columns:
            free_text = column.type == "text" and (not column.levels or column.distinct > 0.5 * profile.rows)
            if column.name in barred or column.type == "date" or column.distinct < 2 or free_text:
                continue
            found[self.names[column.name]] = column
        return found

    def decision(self) -> dict[str, Any]:
        return {
            "name": self.request.name,
            "version": "1.0.0",
            "cutoff": self._event_rate(),
            "cutoff_rationale": f"{_OPEN}: proposed at the outcome rate of the file",
            "reasons": {
                f"R{index:02d}": {"text": f"{_OPEN}: reason text for {name}", "features": [name]}
                for index, name in enumerate(self.features(), start=1)
            },
        }

    def model(self) -> dict[str, Any]:
        request, profile = self.request, self.profile
        small = profile.rows < _SMALL
        document: dict[str, Any] = {
            "defaults": [
                {"/source@source": request.name},
                {"/contract@contract": request.name},
                {"/decision@decision": request.name},
                {"/policy@policy": "standard"},
                {"/learner@learner": "catboost"},
                {"/learner@challenger.learner": "scorecard"},
                "_self_",
            ],
            "name": request.name,
            "title": f"{_OPEN}: title of {request.name}",
            "kind": request.kind,
            "version": "1.0.0",
            "as_of": self.as_of,
            "identity": {"owner": _OPEN, "developer": _OPEN},
            "tiering": {
                "is_model": f"{_OPEN}: why is this a model?",
                **dict.fromkeys(("exposure", "purpose", "complexity", "interconnection", "data_quality"), "medium"),
            },
            "purpose": {
                "decision": f"{_OPEN}: which decision does it support?",
                "population": f"{_OPEN}: who is scored?",
                "permitted": [_OPEN],
                "prohibited": [_OPEN],
                "affected": f"{_OPEN}: who is affected?",
                "automated": False,
                "natural_persons": True,
                "can_decline": True,
            },
            "data": self._data(),
            "outcome": self._outcome(),
            "split": self._split(),
            "learner": {"iterations": 100 if small else 200, "depth": 4},
            "tuning": {
                "trials": 5,
                "seed": 7,
                "folds": 3,
                "metric": "auc",
                "space": {
                    "depth": {"kind": "int", "low": 3, "high": 6},
                    "learning_rate": {"kind": "float", "low": 0.02, "high": 0.2, "log": True},
                },
            },
            "calibration": {"method": "platt"},
            "grades": {"scale": {"kind": "quantile", "count": 5 if small else 7}},
            "challenger": {"why": "The simplest acceptable model: a points scorecard."},
        }
        document["features"] = {name: _feature(column) for name, column in self.features().items()}
        fairness = self._fairness()
        if fairness:
            document["fairness"] = fairness
        return document

    def questions(self) -> tuple[str, ...]:
        request, profile = self.request, self.profile
        found = [f"is '{self.outcome}' the outcome, and is its positive value right?"]
        if profile.protected:
            named = ", ".join(sorted(profile.protected))
            found.append(f"protected by name and kept out of the model: {named}. Is any missing, or wrongly barred?")
        else:
            found.append("no column looks protected. Which attribute can fairness be tested with?")
        if profile.entity is not None:
            found.append(f"'{profile.entity}' repeats and is taken as the customer: all rows of one stay in one sample")
        if profile.time is None:
            found.append("no date column: label maturity and out-of-time evidence will be Not evaluated")
            if self.request.as_of is None:
                found.append(f"as_of {self.as_of} is only the file's own date: when was the data taken? (--as-of)")
        left_out = [
            c.name
            for c in profile.columns
            if self.names[c.name] not in self.features()
            and c.name not in (self.outcome, profile.row_key, profile.entity, profile.time, *profile.protected)
        ]
        if left_out:
            found.append(f"left out as constant, empty, dates or free text: {', '.join(left_out)}")
        found.append("is any input known only after the outcome? List it under data.leaks")
        found.append(f"owner, developer, purpose and cut-off: every '{_OPEN}' in conf/*/{request.name}.yaml")
        return tuple(found)

    def _event_rate(self) -> float:
        values = outcome_values(self.profile, self.outcome)
        if values is None:
            return 0.5
        column = self.profile.table.column(self.outcome).to_pylist()
        positive = str(values[0]).lower().removesuffix(".0")
        hits = sum(1 for v in column if v is not None and str(v).lower().removesuffix(".0") == positive)
        return float(min(max(round(hits / max(1, len(column)), 3), 0.001), 0.999))

    def _data(self) -> dict[str, Any]:
        profile = self.profile
        document: dict[str, Any] = {}
        if profile.entity is not None:
            document["entity"] = self.names[profile.entity]
        if profile.time is not None:
            document["time"] = self.names[profile.time]
        else:
            document["observed_at"] = self.as_of
        return document

    def _outcome(self) -> dict[str, Any]:
        document: dict[str, Any] = {"column": self.names[self.outcome]}
        values = outcome_values(self.profile, self.outcome)
        if values is not None:
            document |= {"positive": values[0], "negative": values[1]}
        document["definition"] = f"{_OPEN}: what does {self.outcome} mean?"
        document["maturity"] = {"basis": "none", "note": f"{_OPEN}: when is a label final?"}
        return document

    def _split(self) -> dict[str, Any]:
        time, entity = self.profile.time, self.profile.entity
        whole: dict[str, Any] = {"kind": "stratified", "seed": 11}
        if entity is not None:
            whole = {"kind": "grouped", "group": self.names[entity], "seed": 11}
        if time is None:
            return whole
        dates = sorted(str(v)[:10] for v in self.profile.table.column(time).to_pylist() if v is not None)
        start = dates[int(0.75 * len(dates))]
        if start == dates[0]:
            return whole
        return {"kind": "out_of_time", "out_of_time_from": start, "seed": 11}

    def _fairness(self) -> dict[str, Any] | None:
        attributes: dict[str, Any] = {}
        for column_name, meaning in self.profile.protected.items():
            column = self.profile.column(column_name)
            attribute: dict[str, Any] = {"column": self.names[column_name], "provenance": f"{_OPEN}: who recorded it?"}
            if column.type in ("integer", "number") and column.distinct > 12:
                edges = protected_bands(self.profile, column_name)
                attribute |= {"bands": list(edges), "reference": band_names(edges)[len(edges) // 2]}
            else:
                attribute["reference"] = _commonest(self.profile, column_name)
            key, count = meaning, 2
            while key in attributes:
                key, count = f"{meaning}_{count}", count + 1
            attributes[key] = attribute
        if not attributes:
            return None
        return {"attributes": attributes, "criterion": f"{_OPEN}: which criterion, and why?"}


def _commonest(profile: FileProfile, name: str) -> str:
    counts: dict[str, int] = {}
    for value in profile.table.column(name).to_pylist():
        if value is not None:
            text = str(value)
            counts[text] = counts.get(text, 0) + 1
    return min(counts, key=lambda text: (-counts[text], text))


def _feature(column: ColumnProfile) -> dict[str, Any]:
    document: dict[str, Any] = {"meaning": f"{_OPEN}: {column.name}"}
    if column.type in ("text", "boolean"):
        document["type"] = "categorical"
    return document


def _promise(column: ColumnProfile, plan: _Plan) -> dict[str, Any]:
    promise: dict[str, Any] = {"type": column.type}
    if column.missing:
        promise["nullable"] = True
    if column.name == plan.profile.row_key:
        promise |= {"unique": True, "personal": True}
    if column.minimum is not None and column.minimum >= 0:
        promise["minimum"] = 0
    if column.levels and column.type == "text":
        promise["allowed"] = list(column.levels)
    if protected_attribute(column.name) is not None:
        promise["personal"] = True
    return promise


def _outcome(profile: FileProfile, request: Request) -> str:
    names = [column.name for column in profile.columns]
    if request.outcome is not None:
        match = [n for n in names if n == request.outcome or plain_name(n) == request.outcome]
        if not match:
            raise ConfigError(
                f"the file has no column '{request.outcome}'",
                expected="one of: " + ", ".join(names[:60]),
                got=f"'{request.outcome}'",
                file=request.data,
            )
        distinct = profile.column(match[0]).distinct
        if distinct < 2:
            raise ConfigError(
                f"the outcome '{match[0]}' does not vary",
                expected="at least two values",
                got=f"{distinct} in {profile.rows} rows",
                hint="say which column is the outcome: --outcome COLUMN",
                file=request.data,
            )
        return match[0]
    found = guess_outcome(profile)
    if found is None:
        raise ConfigError(
            "no column looks like the outcome",
            expected="a column named like 'default', 'target', 'outcome' or 'label' with at least two values",
            got=", ".join(names[:60]),
            hint="say which it is: --outcome COLUMN",
            file=request.data,
        )
    return found


def _as_of(profile: FileProfile, data: Path) -> str:
    if profile.time is not None:
        return max(str(v)[:10] for v in profile.table.column(profile.time).to_pylist() if v is not None)
    return dt.datetime.fromtimestamp(data.stat().st_mtime, tz=dt.UTC).date().isoformat()


def _data_path(root: Path, data: Path) -> str:
    full = data.resolve()
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else full.as_posix()


def _narrative(name: str, questions: Mapping[str, str]) -> str:
    lines = [f"# {name}", ""]
    for key, question in questions.items():
        lines += [f"## {key}", "", f"? {question}", ""]
    return "\n".join(lines).rstrip() + "\n"


class _Compact(yaml.SafeDumper):
    """Inner mappings of plain values on one line, so that a contract is a line a column."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        node = super().represent_mapping(tag, mapping, flow_style)
        plain = all(isinstance(v, yaml.ScalarNode) or v.flow_style for _, v in node.value)
        if plain and len(json.dumps(str(mapping))) < 150:
            node.flow_style = True
        return node

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        node = super().represent_sequence(tag, sequence, flow_style)
        if all(isinstance(v, yaml.ScalarNode) for v in node.value):
            node.flow_style = True
        return node


def _escaped(value: Any) -> Any:
    """Text values with ``${`` escaped: composition would take it for a reference. Keys are not looked at."""
    match value:
        case str():
            return value.replace("${", "\\${")
        case dict():
            return {key: _escaped(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_escaped(inner) for inner in value]
        case _:
            return value


def _text(document: Mapping[str, Any], title: str) -> str:
    body = ""
    for key, value in _escaped(dict(document)).items():
        chunk = yaml.dump({key: value}, Dumper=_Compact, sort_keys=False, width=160, allow_unicode=True)
        if chunk.startswith("{"):
            inner = yaml.dump(value, Dumper=_Compact, sort_keys=False, width=160, allow_unicode=True)
            one_line = " ".join(inner.removesuffix("...\n").split("\n")).strip()
            chunk = f"{key}: {one_line}\n"
        body += chunk
    return f"# {title}\n{body}"
