"""Rows of a small model on velocity windows, as a build leaves them, and customers drawn from them."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from countermark.config.spec import ModelSpec
from countermark.features.dataset import assemble
from countermark.simulation.drift import read_drifts
from countermark.simulation.resample import ModelRows, Names, Resampler
from tests.features.specs import contracted, text_table
from tests.serving.releases import fraud_spec

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TRANSACTIONS, CARDS = 300, 40


def fraud_model(version: str = "1.0.0") -> ModelSpec:
    """The toy fraud model, whose data end with 2026 and whose file ends earlier."""
    made = fraud_spec(version=version)
    column = made.contract.columns["at"].model_copy(update={"maximum": "2026-04-30"})
    contract = made.contract.model_copy(update={"columns": {**made.contract.columns, "at": column}})
    ends = {"as_of": "2026-12-31"}
    return made.model_copy(update={**ends, "source": made.source.model_copy(update=ends), "contract": contract})


@functools.cache
def fraud_rows() -> ModelRows:
    """Transactions of a few cards over four months, labelled by chance; the last month is out of time."""
    rng, model = np.random.default_rng(3), fraud_model()
    seconds = np.sort(rng.integers(0, 119 * 86400, TRANSACTIONS))
    when = [BEGIN + timedelta(seconds=int(s)) for s in seconds]
    rows: list[dict[str, Any]] = [
        {
            "id": f"t{k}",
            "card": f"card{rng.integers(CARDS)}",
            "y": str(int(rng.random() < 0.3)),
            "at": when[k].isoformat(),
            "amount": f"{rng.gamma(2, 40) + 0.01:.2f}",
        }
        for k in range(TRANSACTIONS)
    ]
    tables, document = contracted(model, text_table(rows))
    made = assemble(model, tables, contract=document)
    samples = ["out_of_time" if at >= BEGIN + timedelta(days=90) else "development" for at in when]
    dataset = made.dataset.append_column("_sample", pa.array(samples))
    groups = pa.array(["f" if k % 2 else None for k in range(TRANSACTIONS)], pa.string())
    return ModelRows(model, tables, dataset, made.protected.append_column("sex", groups))


def customers(
    *, seed: int = 1, drifts: tuple[str, ...] = (), label_days: float | None = None, names: Names | None = None
) -> Resampler:
    """Customers of the toy fraud model."""
    rows = fraud_rows()
    planted = read_drifts(drifts, rows.spec)
    return Resampler(rows, seed=seed, drifts=planted, label_days=label_days, names=names)
