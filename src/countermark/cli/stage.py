"""``countermark stage``: one DVC stage in a pinned process environment."""

from __future__ import annotations

import os
import sys

import click

_PINNED = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
}


@click.command()
@click.argument("name")
@click.argument("model", required=False)
def stage(name: str, model: str | None) -> None:
    """Run stage NAME of MODEL. DVC calls this; use 'countermark build' instead."""
    if any(os.environ.get(key) != value for key, value in _PINNED.items()):
        # Hash order and BLAS threads are fixed when the interpreter starts, so start it again.
        os.execve(
            sys.executable,
            [sys.executable, *sys.argv],
            {**os.environ, **_PINNED},
        )
    from countermark.cli.place import bank_root
    from countermark.stages.run import run_stage

    run_stage(bank_root(), name, model, lambda text: click.echo(f"  {text}"))
