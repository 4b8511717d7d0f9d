"""Mistakes in YAML that a stage would meet minutes later are told by ``compile``: file, line, expected, got, hint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from countermark.config.load import model_names
from countermark.errors import BuildError, ConfigError, CountermarkError, GuardError
from countermark.portfolio.checked import load_checked
from countermark.portfolio.compile import check_files, check_model, compile_bank, write
from tests.bank import edit
from tests.portfolio.rich import rich_bank


@contextmanager
def ordinary_user(*owned: Path) -> Iterator[None]:
    """File modes bind no administrator: give those rights up, and let the user own what is given, while the test looks."""
    if os.geteuid() != 0:
        yield
        return
    for folder in owned:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534)
        for parent in folder.parents:
            if not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


MODEL, SOURCE, CONTRACT, DECISION = "model/toy", "source/toy", "contract/toy", "decision/toy"
POLICY, VIEW, BILLS = "policy/standard", "feature_view/bills", "contract/bills"
_UNPIVOT = "{table: bills, key: id, period_column: month, periods: [2024-05-31, 2024-06-30], columns: {bill: [bill_1, bill_2]}}"

MISTAKES: dict[str, tuple[str, str, str, str, str, str]] = {
    # sentence: file, old, new, what the message says, what else it holds, text on the line that it names
    # --- policy
    "a limit nobody knows": (POLICY, "  cal.jeffreys: {kind: p_value", "  cal.jefreys: {kind: p_value", "sets a limit that no test is judged by: 'cal.jefreys'", "did you mean 'cal.jeffreys'", "cal.jefreys"),
    "a limit that is not set": (POLICY, "  stab.hhi: {kind: p_value, watch: 0.05, fail: 0.01", "  # stab.hhi: {kind: p_value, watch: 0.05, fail: 0.01", "does not set every limit", "no 'stab.hhi'", "limits:"),
    "a limit of a kind that does not fit": (POLICY, "cal.spiegelhalter: {kind: p_value,", "cal.spiegelhalter: {kind: upper, watch: 0.01, fail: 0.05, source: x} # {", "of a kind that does not fit its number", "'kind: p_value'", "cal.spiegelhalter"),
    "a gating rule of no test": (POLICY, "  disc.grade_order: {kinds", "  disc.grade_ordr: {kinds", "gates a test that does not exist: 'disc.grade_ordr'", "did you mean 'disc.grade_order'", "disc.grade_ordr"),
    "a gating rule of a limit's name": (POLICY, "  bench.gain: {kinds", "  disc.auc_chance: {kinds", "gates a test that does not exist: 'disc.auc_chance'", "hint:", "disc.auc_chance: {kinds"),
    # --- contract
    "text for a bound of a number": (CONTRACT, "debt: {type: number, unit: EUR, minimum: 0", "debt: {type: number, unit: EUR, minimum: abc", "has a bound that is not of its type", "'abc'", "debt:"),
    "a date for a bound of a number": (CONTRACT, "debt: {type: number, unit: EUR, minimum: 0", "debt: {type: number, unit: EUR, minimum: 2024-01-01", "has a bound that is not of its type", "a number", "debt:"),
    "a number for a bound of a date": (CONTRACT, "minimum: 2024-01-01", "minimum: 5", "has a bound that is not of its type", "YYYY-MM-DD", "seen:"),
    "a day that no calendar has": (CONTRACT, "minimum: 2024-01-01", "minimum: 2024-02-30", "has a bound that is not of its type", "2024-02-30", "seen:"),
    "a minimum above its maximum": (CONTRACT, "debt: {type: number, unit: EUR, minimum: 0", "debt: {type: number, unit: EUR, minimum: 9, maximum: 1", "minimum above its maximum", "9 .. 1", "debt:"),
    "a bound of text": (CONTRACT, "region: {type: text,", "region: {type: text, maximum: 3,", "has a minimum or maximum", "got: 3", "region:"),
    "allowed values of another type": (CONTRACT, "region: {type: text,", "region: {type: text, allowed: [North, 3],", "allows values that are not of its type", "got: 3", "region:"),
    "a truth for text": (CONTRACT, "region: {type: text,", "region: {type: text, allowed: [no, yes],", "allows values that are not of its type", "got: False", "region:"),
    "nothing allowed": (CONTRACT, "region: {type: text,", "region: {type: text, allowed: [],", "allows no value", "an empty list", "region:"),
    "a pattern that is none": (CONTRACT, "region: {type: text,", "region: {type: text, pattern: '(',", "no regular expression", "got:", "region:"),
    "a rule over no column": (CONTRACT, "left: debt", "left: dept", "names columns that the contract does not have", "did you mean 'debt'", "debt_below_income"),
    "apples compared with pears": (CONTRACT, "right: income}", "right: region}", "compares number with text", "like with like", "debt_below_income"),
    "a condition that is never met": (CONTRACT, "equals: f}", "equals: 3}", "compares column 'sex' with a value that is not of its type", "got: 3", "region_of_women"),
    "fewer rows at most than at least": (CONTRACT, "rows_max: 1000", "rows_max: 5", "'rows_max' is below 'rows_min'", "at least 10", "rows_max"),
    "freshness by a number": (CONTRACT, "freshness: {column: seen", "freshness: {column: debt", "needs a date column", "'debt'", "freshness"),
    "a promise of a dropped column": (CONTRACT, "  default:", "  comment: {type: text}\n  default:", "which source 'toy' drops", "drop_columns", "comment:"),
    "a promise of a renamed column": (CONTRACT, "  income: {type", "  income_eur: {type: number}\n  income: {type", "which source 'toy' renames", "'income', its new name", "income_eur:"),
    "the estimated vintage forgotten": (CONTRACT, "  vintage: {type: date}\n", "", "the source's estimated vintage", "vintage: {type: date}", "columns:"),
    "the estimated vintage as text": (CONTRACT, "vintage: {type: date}", "vintage: {type: text}", "is the source's estimated vintage, a date", "type: text", "vintage:"),
    "a contract of no table": (BILLS, "table: bills", "table: bils", "is of table 'bils', which source 'toy' has not", "did you mean 'bills'", "table: bils"),
    "a contract that forgot its table": (BILLS, "table: bills\n", "", "two contracts are of table 'main'", "'toy' and 'bills'", "name: bills"),
    "a promise that the unpivot does not keep": (BILLS, "  month: {type: date}", "  mnth: {type: date}", "promises column 'mnth'", "did you mean 'month'", "mnth:"),
    # --- source
    "a time zone that does not exist": (SOURCE, "time_zone: UTC", "time_zone: Europe/Pari", "'Europe/Pari' is no time zone", "did you mean 'Europe/Paris'", "time_zone"),
    "a currency that does not exist": (SOURCE, "currency: EUR", "currency: EUX", "'EUX' is no currency", "ISO 4217", "currency"),
    "a unit of another currency": (SOURCE, "currency: EUR", "currency: USD", "is in EUR, and source 'toy' in another currency", "USD", "unit: EUR"),
    "one mark for two things": (SOURCE, "path: toy.csv", "path: toy.csv\ncsv: {decimal: ','}", "two marks of source 'toy' are the same", "delimiter ','", "csv:"),
    "a path of nothing": (SOURCE, "path: toy.csv", "path: ''", "'path' of source 'toy' names no file", "a path of one file", "path"),
    "a path of many files": (SOURCE, "path: toy.csv", "path: data/*.csv", "'path' of source 'toy' names no file", "a path of one file", "path"),
    "a path from home": (SOURCE, "path: toy.csv", "path: ~/toy.csv", "'path' of source 'toy' names no file", "absolute path with its 'sha256'", "path"),
    "a path with backslashes": (SOURCE, "path: toy.csv", "path: data\\toy.csv", "'path' of source 'toy' names no file", "'data/toy.csv'", "path"),
    "two columns renamed to one": (SOURCE, "rename: {income_eur: income}", "rename: {income_eur: income, pay: income}", "gives two columns one name", "'income'", "rename:"),
    "a month that does not exist": (SOURCE, "first_month: 2024-01", "first_month: 2024-13", "'2024-13' is no month", "01 to 12", "2024-13"),
    "blocks with a gap": (SOURCE, "first_row: 300", "first_row: 301", "do not cover every row once", "row 300", "first_row: 301"),
    "a block that runs backwards": (SOURCE, "last_row: 599", "last_row: 5", "do not cover every row once", "rows 300 to 5", "first_row: 300"),
    "another number of columns than periods": (SOURCE, "{bill: [bill_1, bill_2]}", "{bill: [bill_1]}", "another number of columns than periods", "got: 1", "table: bills"),
    "a period that is no date": (SOURCE, "2024-06-30]", "2024-06-31]", "has a period that is no date", "2024-06-31", "2024-06-31"),
    "two tables of one name": (SOURCE, "  - " + _UNPIVOT, f"  - {_UNPIVOT}\n  - {_UNPIVOT.replace('month', 'period')}", "two tables of source 'toy' are called 'bills'", "'main' is taken", "period_column: period"),
    "a control total of no column": (SOURCE, "reconcile: {rows: 600, debt: 12000}", "reconcile: {rows: 600, dept: 12000}", "sums column 'dept'", "did you mean 'debt'", "reconcile"),
    "a key that no contract knows": (SOURCE, "row_key: id", "row_key: ident", "'row_key' of the source names column 'ident'", "one of: id", "row_key"),
    "an as-of date that no calendar has": (SOURCE, "as_of: 2024-12-31", "as_of: 2024-11-31", "'source.as_of' is not right", "a day of the calendar", "as_of"),
    # --- columns of the model
    "an outcome of no column": (MODEL, "outcome: {column: default", "outcome: {column: defalt", "the outcome names column 'defalt'", "did you mean 'default'", "outcome:"),
    "an outcome value that is never met": (MODEL, "outcome: {column: default", "outcome: {column: default, positive: bad", "'positive' of the outcome is a value that column 'default' never has", "allowed values: 0, 1", "outcome:"),
    "an outcome that is both": (MODEL, "outcome: {column: default", "outcome: {column: default, negative: true", "'positive' and 'negative' of the outcome are the same", "two different values", "outcome:"),
    "a date of no column": (MODEL, "data: {time: seen", "data: {time: seem", "'data.time' names column 'seem'", "did you mean 'seen'", "data:"),
    "a date that is text": (MODEL, "data: {time: seen", "data: {time: sex", "names 'sex', which is no date", "type: text", "data:"),
    "an entity of no column": (MODEL, "data: {time: seen", "data: {entity: customer, time: seen", "'data.entity' names column 'customer'", "one of:", "data:"),
    "a leak of no column": (MODEL, "leaks: [comment]", "leaks: [coment]", "'data.leaks' names column 'coment'", "hint:", "data:"),
    "a group of no column": (MODEL, "split: {kind: out_of_time, out_of_time_from: 2024-05-01,", "split: {kind: grouped, group: regon,", "'split.group' names column 'regon'", "did you mean 'region'", "split:"),
    "a table that nobody contracted": (MODEL, "data: {time: seen", "data: {table: bils, time: seen", "'data.table' names 'bils'", "did you mean 'bills'", "data:"),
    "an input of no column": (MODEL, "debt: {meaning: Debt", "debt: {source: dept, meaning: Debt", "feature 'debt' names column 'dept'", "did you mean 'debt'", "debt:"),
    "text as a number": (MODEL, "debt: {meaning: Debt", "debt: {source: sex, meaning: Debt", "numeric feature 'debt' comes from a column of type text", "type: categorical", "debt:"),
    "a number as a category": (MODEL, "region: {meaning: Region, type: categorical}", "region: {source: age_band, meaning: Region, type: categorical}", "names column 'age_band'", "hint:", "region:"),
    "an amount as a category": (MODEL, "debt: {meaning: Debt, expected: increasing}", "debt: {meaning: Debt, type: categorical}", "categorical feature 'debt' comes from a column of type number", "integer or boolean", "debt:"),
    "a level twice": (MODEL, "region: {meaning: Region, type: categorical}", "region: {meaning: Region, levels: [North, South, North]}", "lists a level twice", "North, South, North", "region:"),
    "a reserved name of an input": (MODEL, "  debt: {meaning", "  _y: {source: debt, meaning: Debt}\n  debt: {meaning", "feature '_y' starts with '_'", "not reserved", "_y:"),
    "a view that is misspelt": (MODEL, "source: bills.bill_sum", "source: bils.bill_sum", "names column 'bils.bill_sum'", "did you mean 'bills.bill_sum'", "bill_sum:"),
    "a view's feature that is misspelt": (MODEL, "source: bills.bill_sum", "source: bills.bil_sum", "asks view 'bills' for 'bil_sum'", "did you mean 'bill_sum'", "bill_sum:"),
    "a view of no table": (VIEW, "table: bills", "table: bils", "reads table 'bils'", "did you mean 'bills'", "table: bils"),
    "a view of no time": (VIEW, "event_time: month", "event_time: bill", "takes 'bill' for a time", "got: number", "event_time"),
    "a view of no entity": (VIEW, "entity: id", "entity: idd", "names columns that table 'bills' does not have", "did you mean 'id'", "entity: idd"),
    "a sum of no column": (VIEW, "column: bill", "column: bil", "names columns that table 'bills' does not have", "did you mean 'bill'", "column: bil,"),
    "a sum of dates": (VIEW, "column: bill", "column: month", "takes the sum of a column that is no number", "got: date", "column: month"),
    "an expression over no field": (VIEW, "features:\n", "features:\n  ratio: {kind: on_demand, expression: request.dept / 12}\n", "expression 'request.dept / 12' reads", "did you mean 'request.debt'", "ratio:"),
    "a view asked by another type": (BILLS, "id: {type: integer}", "id: {type: text}", "is asked by another type of entity", "integer, as 'id' of table 'main'", "entity: id"),
    # --- guards
    "the outcome among the inputs": (MODEL, "debt: {meaning: Debt", "debt: {source: default, meaning: Debt", "comes from 'default', the outcome", "remove the feature", "debt:"),
    "a leak among the inputs": (MODEL, "leaks: [comment]", "leaks: [debt]", "comes from 'debt', a declared leak", "known only after", "debt:"),
    "a protected attribute among the inputs": (MODEL, "  debt: {meaning: Debt", "  debt: {source: age, meaning: Debt", "comes from 'age', a protected attribute", "remove", "debt:"),
    "the key among the inputs": (MODEL, "  debt: {meaning: Debt", "  debt: {source: id, meaning: Debt", "comes from 'id', an identifier", "keys identify", "debt:"),
    "a restricted input": (MODEL, "  debt: {meaning: Debt", "  debt: {restricted: true, meaning: Debt", "is declared restricted", "policy's owner", "debt:"),
    # --- dates and split
    "two observation dates": (MODEL, "data: {time: seen", "data: {time: seen, observed_at: 2024-06-30", "data has both 'time' and 'observed_at'", "not both", "data:"),
    "no dates and labels judged by them": (MODEL, "horizon_months: 3, ", "", "'basis: dates' and no dates to judge by", "missing: outcome.horizon_months", "outcome:"),
    "dates and labels not judged by them": (MODEL, "maturity: {basis: dates}", "maturity: {basis: none}", "'basis: none', but the data has dates", "basis: dates", "outcome:"),
    "a decision before its data": (MODEL, "as_of: 2024-12-31", "as_of: 2024-12-31\ndecide_by: 2024-01-31", "due before the data were taken", "2024-12-31", "decide_by"),
    "shares that leave nothing": (MODEL, "2024-05-01, seed: 3}", "2024-05-01, seed: 3, calibration: 0.5, holdout: 0.5}", "leaves nothing to develop on", "0.5 + 0.5", "split:"),
    "a share of more than all": (MODEL, "2024-05-01, seed: 3}", "2024-05-01, seed: 3, holdout: 1.2}", "'split.holdout' is not right", "less than 1", "split:"),
    "a share of nothing": (MODEL, "2024-05-01, seed: 3}", "2024-05-01, seed: 3, calibration: 0}", "'split.calibration' is not right", "greater than 0", "split:"),
    "an out-of-time date that no calendar has": (MODEL, "2024-05-01", "2024-05-32", "'split.out_of_time_from' is not right", "a day of the calendar", "split:"),
    "an out-of-time date after the data": (MODEL, "2024-05-01", "2025-05-01", "would begin after the source's as-of date", "2024-12-31", "split:"),
    "out of time without time": (MODEL, "data: {time: seen", "data: {observed_at: 2024-06-30", "needs an observation date in every row", "no 'data.time'", "split:"),
    # --- learner, tuning, grades
    "a tuned setting that is misspelt": (MODEL, "    depth: {kind: int", "    dept: {kind: int", "which learner 'catboost' does not have", "did you mean 'depth'", "dept:"),
    "a tuned setting that pins the result": (MODEL, "    depth: {kind: int, low: 2, high: 4}", "    threads: {kind: int, low: 2, high: 4}", "names 'threads', which is not searched", "set 'learner.threads'", "threads:"),
    "a range that runs backwards": (MODEL, "low: 2, high: 4", "low: 5, high: 4", "'tuning.space.depth' is not a range", "5 .. 4", "depth:"),
    "a log scale from zero": (MODEL, "low: 0.01, high: 0.2, log: true", "low: 0, high: 0.2, log: true", "'tuning.space.learning_rate' is not a range", "above 0", "learning_rate:"),
    "a range beyond the learner": (MODEL, "low: 2, high: 4", "low: 2, high: 40", "offers a value that learner 'catboost' refuses", "narrow", "depth:"),
    "a choice that the learner refuses": (MODEL, "values: [none, balanced]", "values: [none, balance]", "offers a value that learner 'catboost' refuses", "got: balance", "class_weights:"),
    "a metric of amounts": (MODEL, "metric: auc", "metric: rmse", "metric 'rmse' does not fit kind 'pd'", "'auc' or 'log_loss'", "metric:"),
    "a weight below zero": (MODEL, "threads: 1}", "threads: 1, class_weights: [1, -2]}", "a class weight is not above 0", "1, -2", "learner:"),
    "a weight of nothing": (MODEL, "challenger: {why", "challenger: {learner: {class_weights: [0, 1]}, why", "a class weight is not above 0", "0, 1", "challenger:"),
    "bounds that do not ascend": (MODEL, "upper: [0.1, 0.3, 1]", "upper: [0.3, 0.1, 1]", "'grades.scale.upper' is not a scale", "0.3, 0.1, 1", "grades:"),
    "bounds that end before one": (MODEL, "upper: [0.1, 0.3, 1]", "upper: [0.1, 0.3, 0.9]", "'grades.scale.upper' is not a scale", "the last one 1", "grades:"),
    "bounds in per cent": (MODEL, "upper: [0.1, 0.3, 1]", "upper: [10, 30, 100]", "'grades.scale.upper' is not a scale", "10, 30, 100", "grades:"),
    "a PD outside its grade": (MODEL, "upper: [0.1, 0.3, 1]", "upper: [0.1, 0.3, 1], pd: [0.2, 0.2, 0.5]", "'grades.scale.pd' does not fit its bounds", "inside its grade", "grades:"),
    "too few names of grades": (MODEL, "names: [A, B, C]", "names: [A, B]", "'grades.names' does not fit the scale", "3 different names", "grades:"),
    # --- use, tests, fairness
    "a use limit of no input": (MODEL, "measure: debt", "measure: dept", "measures 'dept', which is no numeric input", "did you mean 'debt'", "measure: dept"),
    "a use limit of a category": (MODEL, "measure: debt", "measure: region", "measures 'region', which is no numeric input", "approval_rate", "measure: region"),
    "a use limit without bounds": (MODEL, "measure: approval_rate, minimum: 0.4", "measure: approval_rate", "has no bound", "neither", "approval_rate"),
    "a use limit upside down": (MODEL, "minimum: 0, maximum: 1000}", "minimum: 2000, maximum: 1000}", "has its minimum above its maximum", "2000 .. 1000", "measure: debt"),
    "an assumption held by no test": (MODEL, "test: feature.sign", "test: feature.sing", "assumption 1 names the unknown test 'feature.sing'", "did you mean 'feature.sign'", "feature.sing"),
    "a limitation of no test": (MODEL, "tests: [stab.psi]", "tests: [stab.ps]", "limitation 1 names the unknown test 'stab.ps'", "did you mean 'stab.psi'", "stab.ps]"),
    "a compensation without end": (MODEL, "owner: Risk, expires: 2025-12-31,", "owner: Risk,", "compensates tests without an end", "'expires'", "tests: [stab.psi]"),
    "a reference of no group": (MODEL, "reference: male", "reference: men", "is none of its groups", "female, male", "gender:"),
    "a reference of no band": (MODEL, "reference: 30-59", "reference: 30-60", "is none of its bands", "did you mean '30-59'", "age:"),
    "bands that do not ascend": (MODEL, "bands: [18, 30, 60]", "bands: [18, 60, 30]", "do not ascend", "18, 60, 30", "age:"),
    "bands of text": (MODEL, "age: {column: age", "age: {column: sex", "has bands and is no number", "type: text", "age:"),
    "groups and bands": (MODEL, "bands: [18, 30, 60]", "groups: {young: [18]}, bands: [18, 30, 60]", "has both 'groups' and 'bands'", "one of them", "age:"),
    "a value in two groups": (MODEL, "groups: {female: [f], male: [m]}", "groups: {female: [f], male: [m, f]}", "puts a value into two groups", "'f'", "gender:"),
    "a protected attribute of no column": (MODEL, "gender: {column: sex", "gender: {column: gender", "protected attribute 'gender' names column 'gender'", "one of:", "gender:"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rich_bank(tmp_path_factory.mktemp("mistakes") / "bank")


@pytest.fixture
def bank(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "bank"))


def test_the_sound_bank_compiles(bank: Path) -> None:
    write(bank, compile_bank(bank))
    check_model(bank, "toy")


@pytest.mark.parametrize("sentence", MISTAKES, ids=list(MISTAKES))
def test_a_mistake_is_told_when_conf_is_compiled(bank: Path, sentence: str) -> None:
    file, old, new, what, rest, line = MISTAKES[sentence]
    path = bank / "conf" / f"{file}.yaml"
    edit(path, old, new)
    with pytest.raises(CountermarkError) as caught:
        load_checked(bank, "toy")
    error = caught.value
    told = str(error)
    assert isinstance(error, ConfigError | GuardError)
    assert what in told.splitlines()[0], told
    assert rest in told, told
    assert error.expected is not None, told
    assert error.got is not None, told
    assert error.file is not None, told
    assert error.line is not None, told
    assert line in (bank / error.file).read_text(encoding="utf-8").splitlines()[error.line - 1], told


def test_a_mistake_leaves_the_generated_files_alone(bank: Path) -> None:
    write(bank, compile_bank(bank))
    before = {path: path.read_bytes() for path in bank.rglob("*") if path.is_file() and "conf" not in path.parts}
    edit(bank / "conf/model/toy.yaml", "upper: [0.1, 0.3, 1]", "upper: [0.3, 0.1, 1]")
    with pytest.raises(ConfigError):
        compile_bank(bank)
    assert {path: path.read_bytes() for path in before} == before


def test_every_mistake_of_a_spec_is_listed(bank: Path) -> None:
    edit(bank / "conf/model/toy.yaml", "upper: [0.1, 0.3, 1]", "upper: [0.3, 0.1, 1]")
    edit(bank / "conf/source/toy.yaml", "time_zone: UTC", "time_zone: UTK")
    edit(bank / "conf/policy/standard.yaml", "  cal.slope: {kind", "  cal.slop: {kind")
    with pytest.raises(ConfigError) as caught:
        load_checked(bank, "toy")
    told = str(caught.value)
    assert "'UTK' is no time zone" in told.splitlines()[0]
    assert "model 'toy' has 3 more mistakes" in told
    assert "conf/model/toy.yaml:" in told
    assert "'cal.slop'" in told


STRAYS: dict[str, tuple[str, str, str]] = {
    "a model that would not be read": ("model/other.yml", "a file that ends in '.yml' is not read", "'other.yaml'"),
    "a contract that would not be read": ("contract/other.yml", "a file that ends in '.yml' is not read", "rename it"),
    "a narrative of no model": ("model/tou.md", "the narrative 'tou.md' is of no model", "did you mean 'toy.md'"),
}


@pytest.mark.parametrize("sentence", STRAYS, ids=list(STRAYS))
def test_a_file_that_nothing_would_read_is_refused(bank: Path, sentence: str) -> None:
    file, what, rest = STRAYS[sentence]
    (bank / "conf/model/toy.md").unlink()
    (bank / "conf" / file).write_text("name: other\n")
    with pytest.raises(ConfigError, match=what) as caught:
        compile_bank(bank)
    assert rest in str(caught.value)
    assert caught.value.file == f"conf/{file}"


def test_a_narrative_that_a_removed_model_left_is_let_be(bank: Path) -> None:
    (bank / "conf/model/gone.md").write_text("# Gone\n")
    compile_bank(bank)


def test_a_folder_of_models_that_cannot_be_read_is_no_empty_bank(bank: Path) -> None:
    (bank / "conf/model").chmod(0)
    try:
        with ordinary_user(bank), pytest.raises(PermissionError):
            model_names(bank)
    finally:
        (bank / "conf/model").chmod(0o755)


@pytest.mark.parametrize("place", ["toy.csv", "models/toy/dvc.yaml", "models/toy", "data/sources/toy", "dvc.yaml"])
def test_what_a_build_may_not_read_is_told_before_it_starts(bank: Path, place: str) -> None:
    compiled = compile_bank(bank)
    write(bank, compiled)
    (bank / "data/sources/toy").mkdir(parents=True)
    check_files(bank, compiled, ("toy",))
    path = bank / place
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        with ordinary_user(bank), pytest.raises(BuildError, match="no permission to read") as caught:
            check_files(bank, compiled, ("toy",))
    finally:
        path.chmod(mode)
    assert caught.value.file == place
    assert "mode 0" in str(caught.value.got)
    assert "chmod" in str(caught.value.hint)
