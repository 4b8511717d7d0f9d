"""Write the first spec, contract and narrative of a model from a file that nobody here has seen."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from countermark.config.policy import AMOUNT_KINDS
from countermark.errors import ConfigError
from countermark.features.groups import band_names
from countermark.portfolio.doubts import columns_left_out, file_questions, value_questions
from countermark.portfolio.names import protected_attribute, says_personal, shown_name, unique_names
from countermark.portfolio.profile import ColumnProfile, FileProfile, profile_file, protected_bands
from countermark.portfolio.target import Target, find_target
from countermark.portfolio.watching import maturity_question, monitor_plan
from countermark.portfolio.yaml_text import yaml_text
from countermark.records.digest import file_digest
from countermark.records.unanswered import UNANSWERED as _OPEN

_SMALL = 2000
_FEWEST_TO_TUNE = 60
_FEWEST_ROWS = 2
_WRITTEN = (
    ("model", ".yaml"), ("source", ".yaml"), ("contract", ".yaml"), ("decision", ".yaml"), ("monitor", ".yaml"),
    ("model", ".md"),
)  # fmt: skip


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
    """What the command was asked for.

    Attributes:
        events: Values of the outcome that are events; empty where the file has to tell.
    """

    name: str
    kind: str
    data: Path
    outcome: str | None
    as_of: str | None
    events: tuple[str, ...] = ()


def scaffold_model(root: Path, request: Request, narrative: Mapping[str, str]) -> Scaffold:
    """Look at the file and propose a working spec.

    Args:
        root: The bank's root.
        request: Name, kind, file and the outcome column if the caller knows it.
        narrative: Question by key, for conf/model/NAME.md.

    Raises:
        ConfigError: The model exists, the outcome or its events cannot be told, the as-of date is no date or lies
            before the newest observation, or no column is left as an input.
        SourceError: The file cannot be read.
    """
    for group, ending in _WRITTEN:
        relative = f"conf/{group}/{request.name}{ending}"
        if (root / relative).exists():
            raise ConfigError(
                f"'{relative}' exists already", expected="a new name", hint="choose another name", file=relative
            )
    profile = profile_file(request.data)
    if profile.rows < _FEWEST_ROWS:
        raise ConfigError(
            "the file has one row",
            expected="rows with an event and rows without, to develop on and to test with",
            got="1 row",
            hint="check that the extract is complete",
            file=request.data,
        )
    target = find_target(profile, request.kind, request.outcome, request.events, request.data)
    as_of = _as_of(profile, request)
    names = unique_names([c.name for c in profile.columns])
    unusable = _other_zones(profile) | _later_dates(profile, as_of)
    left_out = columns_left_out(profile, target, unusable)
    plan = _Plan(request, profile, target, names, as_of, unusable, left_out)
    if not plan.features():
        raise ConfigError(
            "no column is left as an input",
            expected="a column that is no key, outcome, date or protected attribute, and takes two values or more",
            got="; ".join(f"'{shown_name(name)}': {reason}" for name, reason in left_out.items())[:600] or "none",
            hint="look at the file, or say which column is the outcome: --outcome COLUMN",
            file=request.data,
        )
    files = _specs(plan, _data_path(root, request.data))
    files[f"conf/model/{request.name}.md"] = _narrative(request.name, narrative)
    return Scaffold(files, plan.questions())


def _specs(plan: _Plan, path: str) -> dict[str, str]:
    """Text of every YAML file, by path."""
    request = plan.request
    files = {
        f"conf/source/{request.name}.yaml": yaml_text(plan.source(path), "Where the data comes from."),
        f"conf/contract/{request.name}.yaml": yaml_text(
            plan.contract(), "What every column was seen to be: tighten it."
        ),
    }
    if not plan.is_amount:
        files[f"conf/decision/{request.name}.yaml"] = yaml_text(
            plan.decision(), "Cut-off and reason texts, versioned apart."
        )
        files[f"conf/monitor/{request.name}.yaml"] = yaml_text(
            monitor_plan(request.name, request.kind, _OPEN),
            "What is watched in production, and when a label is final.",
            (maturity_question(request.name, request.kind),),
        )
    files[f"conf/model/{request.name}.yaml"] = yaml_text(
        plan.model(), "The model. Answer every 'Unanswered'.", plan.questions()
    )
    return files


@dataclass(frozen=True, slots=True)
class _Plan:
    request: Request
    profile: FileProfile
    target: Target
    names: Mapping[str, str]
    as_of: str
    unusable: Mapping[str, str]
    left_out: Mapping[str, str]

    @property
    def is_amount(self) -> bool:
        return self.request.kind in AMOUNT_KINDS

    def source(self, path: str) -> dict[str, Any]:
        profile, name = self.profile, self.request.name
        document: dict[str, Any] = {
            "kind": profile.format,
            "name": name,
            "title": f"{_OPEN}: what is in {Path(path).name}?",
            "owner": _OPEN,
            "licence": _OPEN,
            "personal_data": _OPEN,
            "time_zone": "UTC",
            "currency": "none",
            "as_of": self.as_of,
            "path": path,
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
                **({"strip": True} if options.strip else {}),
            }
        dropped = [self.names[c.name] for c in profile.columns if self._dropped(c)]
        if dropped:
            document["drop_columns"] = dropped
        renamed = {old: new for old, new in self.names.items() if old != new}
        if renamed:
            document["rename"] = renamed
        return document

    def contract(self) -> dict[str, Any]:
        return {
            "name": self.request.name,
            "columns": {self.names[c.name]: _promise(c, self) for c in self.profile.columns if not self._dropped(c)},
            "rows_min": max(1, self.profile.rows // 2),
            "tolerance": 0.0,
        }

    def _dropped(self, column: ColumnProfile) -> bool:
        """Nothing in it, or dates that no contract can promise beside the others."""
        return column.missing == self.profile.rows or column.name in self.unusable

    def features(self) -> dict[str, ColumnProfile]:
        """Columns that can be inputs, by their new names."""
        profile = self.profile
        barred = {self.target.column, profile.row_key, profile.entity, profile.time, *profile.protected}
        return {
            self.names[column.name]: column
            for column in profile.columns
            if column.name not in barred and column.name not in self.left_out
        }

    def decision(self) -> dict[str, Any]:
        return {
            "name": self.request.name,
            "version": "1.0.0",
            "cutoff": self.target.rate,
            "cutoff_rationale": f"{_OPEN}: proposed at the outcome rate of the file",
            "reasons": {
                f"R{index:02d}": {"text": f"{_OPEN}: reason text for {name}", "features": [name]}
                for index, name in enumerate(self.features(), start=1)
            },
        }

    def model(self) -> dict[str, Any]:
        request, small = self.request, self.profile.rows < _SMALL
        document: dict[str, Any] = {
            "defaults": self._defaults(),
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
                "can_decline": not self.is_amount,
            },
            "data": self._data(),
            "outcome": self._outcome(),
            "split": self._split(),
            "learner": {"iterations": 100 if small else 200, "depth": 4},
        }
        if self._can_tune():
            document["tuning"] = self._tuning()
        if not self.is_amount:
            document["calibration"] = {"method": "platt"}
        document["grades"] = {"scale": {"kind": "quantile", "count": 5 if small else 7}}
        simple = "a ridge regression" if self.is_amount else "a points scorecard"
        document["challenger"] = {"why": f"The simplest acceptable model: {simple}."}
        document["features"] = {name: _feature(column) for name, column in self.features().items()}
        fairness = self._fairness()
        if fairness:
            document["fairness"] = fairness
        return document

    def _defaults(self) -> list[Any]:
        name = self.request.name
        return [
            {"/source@source": name},
            {"/contract@contract": name},
            *([] if self.is_amount else [{"/decision@decision": name}]),
            {"/policy@policy": "standard"},
            {"/learner@learner": "catboost"},
            {"/learner@challenger.learner": "logistic" if self.is_amount else "scorecard"},
            "_self_",
        ]

    def _can_tune(self) -> bool:
        """Whether every fold of the development sample gets some rows of both classes."""
        return (self.target.labelled if self.is_amount else self.target.rarer) >= _FEWEST_TO_TUNE

    def _tuning(self) -> dict[str, Any]:
        return {
            "trials": 5,
            "seed": 7,
            "folds": 3,
            "metric": "rmse" if self.is_amount else "auc",
            "space": {
                "depth": {"kind": "int", "low": 3, "high": 6},
                "learning_rate": {"kind": "float", "low": 0.02, "high": 0.2, "log": True},
            },
        }

    def questions(self) -> tuple[str, ...]:
        profile, inputs = self.profile, [column.name for column in self.features().values()]
        found = list(self.target.questions)
        if not self._can_tune():
            found.append("too few rows of a class to tune on: the learner's settings are not searched")
        found += self._protected_questions()
        if profile.entity is not None:
            told = shown_name(profile.entity)
            found.append(f"'{told}' repeats and is taken as the customer: all rows of one stay in one sample")
        if profile.time is None:
            dated = any(c.reading.type == "date" and c.name not in profile.protected for c in profile.columns)
            none = "no date of observation" if dated else "no date column"
            found.append(f"{none}: label maturity and out-of-time evidence will be Not evaluated")
            if self.request.as_of is None:
                found.append(f"as_of {self.as_of} is only the file's own date: when was the data taken? (--as-of)")
        found += file_questions(profile, self.left_out, inputs)
        found += value_questions(profile, self.target, inputs)
        if not self.is_amount:
            found.append(maturity_question(self.request.name, self.request.kind))
        found.append(f"owner, developer and purpose: every '{_OPEN}' in conf/*/{self.request.name}.yaml")
        return tuple(found)

    def _protected_questions(self) -> list[str]:
        profile = self.profile
        if not profile.protected:
            return ["no column looks protected. Which attribute can fairness be tested with?"]
        named = ", ".join(sorted(shown_name(name) for name in profile.protected))
        found = [f"protected by name and kept out of the model: {named}. Is any missing, or wrongly barred?"]
        dated = [f"'{shown_name(n)}'" for n in profile.protected if profile.column(n).reading.type == "date"]
        if dated:
            found.append(f"{', '.join(dated)}: a date has no groups. Derive an age in years to test fairness with")
        return found

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
        column = self.target.column
        return {
            "column": self.names[column],
            **self.target.declared(),
            "definition": f"{_OPEN}: what does {column} mean?",
            "maturity": {"basis": "none", "note": f"{_OPEN}: when is a label final?"},
        }

    def _split(self) -> dict[str, Any]:
        time, entity = self.profile.time, self.profile.entity
        whole: dict[str, Any] = {"kind": "stratified", "seed": 11}
        if entity is not None:
            whole = {"kind": "grouped", "group": self.names[entity], "seed": 11}
        if time is None:
            return whole
        dates = sorted(day.isoformat() for day in _days(self.profile, time).to_pylist() if day is not None)
        start = dates[int(0.75 * len(dates))]
        if start == dates[0]:
            return whole
        return {"kind": "out_of_time", "out_of_time_from": start, "seed": 11}

    def _fairness(self) -> dict[str, Any] | None:
        attributes: dict[str, Any] = {}
        for column_name, meaning in self.profile.protected.items():
            column = self.profile.column(column_name)
            if column.reading.type == "date" or self._dropped(column):
                continue
            attribute: dict[str, Any] = {"column": self.names[column_name], "provenance": f"{_OPEN}: who recorded it?"}
            if column.reading.is_number and column.distinct > 12:
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
    """The commonest value, in the words of the group that the build makes of it."""
    counted = pc.value_counts(profile.table.column(name).drop_null().cast(pa.string())).to_pylist()
    commonest: str = min(counted, key=lambda item: (-item["counts"], item["values"]))["values"]
    return commonest


def _feature(column: ColumnProfile) -> dict[str, Any]:
    document: dict[str, Any] = {"meaning": f"{_OPEN}: {column.name}"}
    if column.reading.type in ("text", "boolean"):
        document["type"] = "categorical"
    return document


def _promise(column: ColumnProfile, plan: _Plan) -> dict[str, Any]:
    reading, profile = column.reading, plan.profile
    promise: dict[str, Any] = {"type": reading.type}
    if reading.format is not None:
        promise["format"] = reading.format
    if reading.decimal is not None:
        promise["decimal"] = reading.decimal
    if reading.thousands is not None:
        promise["thousands"] = reading.thousands
    if reading.signs:
        promise["signs"] = list(reading.signs)
    if column.missing:
        promise["nullable"] = True
    names_somebody = column.name in (profile.row_key, profile.entity, *profile.identifiers) or says_personal(
        column.name
    )
    if column.name == profile.row_key:
        promise["unique"] = True
    if column.minimum is not None and column.minimum >= 0:
        promise["minimum"] = 0
    listed = column.levels and reading.type == "text" and "???" not in column.levels
    if listed and not names_somebody and column.distinct <= 0.5 * profile.rows:
        promise["allowed"] = list(column.levels)
    if names_somebody or protected_attribute(column.name) is not None:
        promise["personal"] = True
    return promise


def _as_of(profile: FileProfile, request: Request) -> str:
    newest = None if profile.time is None else pc.max(_days(profile, profile.time)).as_py().isoformat()
    if request.as_of is None:
        modified = dt.datetime.fromtimestamp(request.data.stat().st_mtime, tz=dt.UTC).date()
        return newest or modified.isoformat()
    try:
        asked = dt.date.fromisoformat(request.as_of).isoformat()
    except ValueError:
        asked = ""
    if asked != request.as_of:
        raise ConfigError("the as-of date is no date", expected="--as-of YYYY-MM-DD", got=f"'{request.as_of}'")
    if newest is not None and newest > asked:
        raise ConfigError(
            f"the as-of date lies before the newest date of '{shown_name(str(profile.time))}'",
            expected=f"--as-of {newest} or later",
            got=asked,
            hint="leave --as-of out to take the newest date",
            file=request.data,
        )
    return asked


def _days(profile: FileProfile, name: str) -> pa.ChunkedArray:
    return profile.table.column(name).cast(pa.date32(), safe=False)


def _later_dates(profile: FileProfile, as_of: str) -> dict[str, str]:
    """Date columns with days after the as-of date, such as a planned maturity: a contract takes them for mistakes."""
    dates = [c.name for c in profile.columns if c.reading.type == "date" and c.missing < profile.rows]
    later = [name for name in dates if pc.max(_days(profile, name)).as_py().isoformat() > as_of]
    return dict.fromkeys(later, "dates after the as-of date, dropped from the table")


def _other_zones(profile: FileProfile) -> dict[str, str]:
    """Timestamps in another time zone than the date of observation: one model reads one zone."""
    zones = profile.zones
    if not zones:
        return {}
    kept = zones.get(profile.time or "", next(iter(zones.values())))
    told = f"clock times in another zone than {kept or 'the others, which name none'}, dropped from the table"
    return {name: told for name, zone in zones.items() if zone != kept}


def _data_path(root: Path, data: Path) -> str:
    full = data.resolve()
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else full.as_posix()


def _narrative(name: str, questions: Mapping[str, str]) -> str:
    lines = [f"# {name}", ""]
    for key, question in questions.items():
        lines += [f"## {key}", "", f"? {question}", ""]
    return "\n".join(lines).rstrip() + "\n"
