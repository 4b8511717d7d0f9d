"""The bank's own sources, contracts and feature view fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from countermark.config.contract import Contract
from countermark.config.feature_view import FeatureView
from countermark.config.source import Source
from countermark.contracts.currency import check_currency
from countermark.contracts.reshape import estimated_months
from countermark.contracts.schema import refuse_contradictions

CONF = Path(__file__).parents[2] / "conf"
SOURCES: TypeAdapter[Source] = TypeAdapter(Source)
PAIRS = [
    ("lending_club", "lending_club"),
    ("taiwan_credit", "taiwan_clients"),
    ("taiwan_credit", "taiwan_statements"),
]


def read(group: str, name: str) -> Any:
    return yaml.safe_load((CONF / group / f"{name}.yaml").read_text("utf-8"))


@pytest.mark.parametrize(("source", "contract"), PAIRS)
def test_contracts_fit_their_sources(source: str, contract: str) -> None:
    declared, promised = (
        SOURCES.validate_python(read("source", source)),
        Contract.model_validate(read("contract", contract)),
    )
    refuse_contradictions(promised, declared)
    check_currency(promised, declared)
    assert promised.table == "main" or promised.table in {plan.table for plan in declared.unpivot}
    assert all(column.meaning for column in promised.columns.values())


def test_the_estimated_vintage_covers_every_loan_by_year() -> None:
    declared = SOURCES.validate_python(read("source", "lending_club"))
    assert declared.estimated_vintage is not None
    months = estimated_months(declared.estimated_vintage, int(declared.reconcile["rows"])).to_pylist()
    years = [month.year for month in months]
    assert {year: years.count(year) for year in (2012, 2013, 2014)} == {2012: 49226, 2013: 71573, 2014: 68694}
    assert (min(months).isoformat(), max(months).isoformat()) == ("2007-06-01", "2014-12-01")
    # The two facts that the note and docs/data.md tell.
    assert (months[27978].isoformat(), months[17977].isoformat()) == ("2010-04-01", "2011-02-01")


def test_the_statement_view_reads_promised_columns() -> None:
    view = FeatureView.model_validate(read("feature_view", "card_statements"))
    promised = Contract.model_validate(read("contract", "taiwan_statements"))
    columns = {view.entity, view.event_time} | {feature.column for feature in view.features.values()}
    assert view.table == promised.table
    assert columns <= set(promised.columns)
