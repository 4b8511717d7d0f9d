"""The toy bank with everything a mistake can be planted in: two tables, a view, dates, fairness, tuning, limits."""

from __future__ import annotations

from pathlib import Path

from tests.bank import edit, make_bank

_MODEL = """\
tuning:
  trials: 2
  seed: 1
  metric: auc
  space:
    depth: {kind: int, low: 2, high: 4}
    learning_rate: {kind: float, low: 0.01, high: 0.2, log: true}
    class_weights: {kind: choice, values: [none, balanced]}
fairness:
  criterion: parity
  attributes:
    gender: {column: sex, provenance: self-reported, groups: {female: [f], male: [m]}, reference: male}
    age: {column: age, provenance: recorded, bands: [18, 30, 60], reference: 30-59}
limitations:
  - {text: Short history, effect: Stability is unknown, control: Watched monthly, owner: Risk, expires: 2025-12-31,
     tests: [stab.psi]}
"""
_LIMITS = """\
  assumptions:
    - {text: Risk falls with income, test: feature.sign}
  limits:
    - {text: Debt of customers, measure: debt, minimum: 0, maximum: 1000}
    - {text: Approved, measure: approval_rate, minimum: 0.4}
"""
_SOURCE = """\
rename: {income_eur: income}
drop_columns: [bill_1, bill_2, comment]
reconcile: {rows: 600, debt: 12000}
estimated_vintage:
  column: vintage
  note: The file is in order of application.
  blocks:
    - {first_row: 0, last_row: 299, first_month: 2024-01, last_month: 2024-03}
    - {first_row: 300, last_row: 599, first_month: 2024-04, last_month: 2024-06}
unpivot:
  - {table: bills, key: id, period_column: month, periods: [2024-05-31, 2024-06-30], columns: {bill: [bill_1, bill_2]}}
"""
_CONTRACT = """\
rules:
  - {kind: compare, name: debt_below_income, left: debt, operator: "<=", right: income}
  - {kind: required_if, name: region_of_women, column: region, when: sex, equals: f}
rows_min: 10
rows_max: 1000
freshness: {column: seen, max_age_days: 400}
"""
_BILLS = """\
name: bills
table: bills
columns:
  id: {type: integer}
  month: {type: date}
  bill: {type: number, unit: EUR}
"""
_VIEW = """\
name: bills
table: bills
entity: id
event_time: month
clock: day
features:
  bill_sum: {kind: window, column: bill, function: sum, days: 61}
"""


def rich_bank(folder: Path) -> Path:
    """The files of a bank that compiles (no data, no git, no DVC)."""
    bank = make_bank(folder, rows=20)
    model, contract = bank / "conf/model/toy.yaml", bank / "conf/contract/toy.yaml"
    edit(
        model,
        "  - /decision@",
        "  - /contract@table_contracts.bills: bills\n  - /feature_view@feature_views.bills: bills\n  - /decision@",
    )
    edit(model, "  can_decline: true\n", "  can_decline: true\n" + _LIMITS)
    edit(model, "data: {observed_at: 2024-06-30}", "data: {time: seen, segments: [region], leaks: [comment]}")
    edit(
        model,
        "outcome: {column: default, definition: Missed payment, maturity: {basis: none, note: no dates}}",
        "outcome: {column: default, definition: Missed payment, horizon_months: 3, maturity: {basis: dates}}",
    )
    edit(
        model,
        "  region: {meaning",
        "  bill_sum: {source: bills.bill_sum, meaning: Bills of two months}\n  region: {meaning",
    )
    edit(
        model, "split: {kind: stratified, seed: 3}", "split: {kind: out_of_time, out_of_time_from: 2024-05-01, seed: 3}"
    )
    edit(
        model,
        "grades: {scale: {kind: quantile, count: 4}}",
        "grades: {scale: {kind: fixed, upper: [0.1, 0.3, 1]}, names: [A, B, C]}",
    )
    model.write_text(model.read_text() + _MODEL)
    source = bank / "conf/source/toy.yaml"
    edit(source, "currency: none", "currency: EUR")
    source.write_text(source.read_text() + _SOURCE)
    edit(
        contract,
        "  default:",
        "  age: {type: integer}\n  seen: {type: date, minimum: 2024-01-01}\n  vintage: {type: date}\n  default:",
    )
    edit(contract, "debt: {type: number", "debt: {type: number, unit: EUR")
    contract.write_text(contract.read_text() + _CONTRACT)
    (bank / "conf/contract/bills.yaml").write_text(_BILLS)
    (bank / "conf/feature_view").mkdir()
    (bank / "conf/feature_view/bills.yaml").write_text(_VIEW)
    edit(bank / "conf/decision/toy.yaml", "features: [debt]", "features: [debt, bill_sum]")
    return bank
