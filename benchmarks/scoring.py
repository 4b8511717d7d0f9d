"""The frozen scorer against CatBoost's own calls, in one run: 30 inputs, 300 trees, depth 6.

Run: ``python benchmarks/scoring.py [--rows 1000000]``. Both sides get one thread. Blocks of their calls and of ours
take turns, so that a busy machine slows both; times are medians, the ratio is CatBoost's time over ours (larger is
better), and the smallest ratio of any pair of blocks stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pandas as pd

from countermark.scoring.format import GradePart, InputPart, PlattCalibration, ScorerDocument
from countermark.scoring.from_catboost import trees_from_catboost
from countermark.scoring.frozen import FrozenScorer

LEVELS = ("a", "b", "c", "d", "e")
NUMERIC = tuple(f"x{k:02d}" for k in range(26))
TEXT = tuple(f"c{k}" for k in range(4))
TARGETS = {"one row, margin": 20.0, "one row, contributions": 500.0}


def frame(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(NUMERIC)))
    found = pd.DataFrame(np.where(rng.random(x.shape) < 0.03, np.nan, x), columns=list(NUMERIC))
    for name in TEXT:
        found[name] = rng.choice(LEVELS, n)
    return found


def fitted() -> tuple[Any, FrozenScorer]:
    data = frame(20_000, 1)
    signal = np.nan_to_num(data["x00"]) + np.nan_to_num(data["x01"] * data["x02"]) + (data["c0"] == "a")
    y = (np.random.default_rng(2).random(len(data)) < 1 / (1 + np.exp(-signal))).astype(int)
    pool = catboost.Pool(data, y, cat_features=list(TEXT))
    model = catboost.CatBoostClassifier(
        iterations=300, depth=6, one_hot_max_size=10, border_count=128, verbose=0, thread_count=1, random_seed=1,
        allow_writing_files=False,
    )  # fmt: skip
    model.fit(pool)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json", pool=pool)
        export = json.loads(path.read_text(encoding="utf-8"))
    inputs = (
        *(InputPart(name=name, type="numeric") for name in NUMERIC),
        *(InputPart(name=name, type="categorical", levels=LEVELS, unseen="accept") for name in TEXT),
    )
    document = ScorerDocument(
        inputs=inputs,
        model=trees_from_catboost(export, inputs),
        calibration=PlattCalibration(slope=0.9, intercept=-0.1),
        grades=tuple(GradePart(name=str(k), upper=u, pd=u / 2) for k, u in enumerate((0.1, 0.3, 0.6, 1.0))),
    )
    return model, FrozenScorer.from_bytes(FrozenScorer(document).to_bytes())


def per_call(call: Callable[[], object], calls: int) -> float:
    """Seconds per call, over one block of calls."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def compare(
    what: str, theirs: Callable[[], object], ours: Callable[[], object], calls: tuple[int, int], turns: int = 21
) -> None:
    """Print medians of blocks that take turns."""
    theirs()
    ours()
    pairs = [(per_call(theirs, calls[0]), per_call(ours, calls[1])) for _ in range(turns)]
    left, right = (statistics.median(side) for side in zip(*pairs, strict=True))
    least = min(a / b for a, b in pairs)
    target = f"   (aim {TARGETS[what]:.0f}x)" if what in TARGETS else ""
    print(
        f"{what:38s} CatBoost {left * 1e6:12.1f} us   frozen {right * 1e6:12.1f} us   {left / right:8.1f}x"
        f"   least {least:8.1f}x{target}"
    )


START = """
import os, sys, time
begin = time.perf_counter()
from countermark.scoring.frozen import FrozenScorer
imported = time.perf_counter()
scorer = FrozenScorer.from_bytes(open(sys.argv[1], "rb").read())
opened = time.perf_counter()
scorer.warm_up()
print(f"import {imported - begin:.2f} s, open {opened - imported:.2f} s, warm up {time.perf_counter() - opened:.2f} s")
"""


def starts(scorer: FrozenScorer) -> None:
    """Print what a new process pays before its first row: without a cache of kernels, then with one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scorer.json"
        path.write_bytes(scorer.to_bytes())
        environment = {**os.environ, "COUNTERMARK_CACHE_DIR": folder}
        environment.pop("NUMBA_CACHE_DIR", None)
        for what in ("kernels compiled", "kernels read from the cache"):
            done = subprocess.run(
                [sys.executable, "-c", START, str(path)], env=environment, capture_output=True, text=True, check=True
            )
            print(f"a new process, {what + ':':28s} {done.stdout.strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    start = time.perf_counter()
    model, scorer = fitted()
    print(f"fitted and frozen in {time.perf_counter() - start:.1f} s; file of {len(scorer.to_bytes()) / 1e3:.0f} kB")
    starts(scorer)
    one_row(model, scorer)
    batch(model, scorer, rows)


def one_row(model: Any, scorer: FrozenScorer) -> None:
    small = frame(1, 3).fillna(0.25)
    row: dict[str, Any] = {name: float(small[name][0]) for name in NUMERIC} | {n: str(small[n][0]) for n in TEXT}
    holed = row | {"x05": None}
    encoded = scorer.encode_row(row)
    values = list(row.values())
    one = catboost.Pool([values], cat_features=list(range(len(NUMERIC), len(values))))

    def list_call() -> object:
        return model.predict(values, prediction_type="RawFormulaVal", thread_count=1)

    def frame_call() -> object:
        return model.predict(small, prediction_type="RawFormulaVal", thread_count=1)

    def shap_call() -> object:
        return model.get_feature_importance(one, type="ShapValues", thread_count=1)

    compare("one row, margin", list_call, lambda: scorer.score_row(row), (100, 2000))
    compare("one row, one value missing", list_call, lambda: scorer.score_row(holed), (100, 2000))
    compare("one row, read before", list_call, lambda: scorer.score_encoded(encoded), (100, 2000))
    compare("one row by name (their data frame)", frame_call, lambda: scorer.score_row(row), (20, 2000))
    compare("one row, contributions", shap_call, lambda: scorer.score_row(row, contributions=True), (2, 2000))


def batch(model: Any, scorer: FrozenScorer, rows: int) -> None:
    data = frame(min(rows, 100_000), 5)
    data = pd.concat([data] * -(-rows // len(data)), ignore_index=True).iloc[:rows]
    columns: dict[str, Any] = {name: data[name].to_numpy(dtype=np.float64) for name in NUMERIC}
    columns |= {name: data[name].to_numpy(dtype=object) for name in TEXT}
    pool = catboost.Pool(data, cat_features=list(TEXT))
    raw = model.predict(pool, prediction_type="RawFormulaVal", thread_count=1)
    margins = scorer.margin(columns)
    same = margins.tobytes() == np.asarray(raw).tobytes()
    print(f"{rows} rows: scores bit-equal to CatBoost's: {same}")
    if not same:
        raise SystemExit("scores differ")

    def from_columns() -> object:
        return model.predict(
            catboost.Pool(data, cat_features=list(TEXT)), prediction_type="RawFormulaVal", thread_count=1
        )

    compare(f"{rows} rows, margin, from columns", from_columns, lambda: scorer.margin(columns), (1, 1), turns=3)
    fewer = {name: values[:20_000] for name, values in columns.items()}
    part = pool.slice(list(range(min(20_000, rows))))
    compare(
        f"{min(20_000, rows)} rows, contributions",
        lambda: model.get_feature_importance(part, type="ShapValues", thread_count=1),
        lambda: scorer.contributions(fewer),
        (1, 1),
        turns=3,
    )


if __name__ == "__main__":
    main()
