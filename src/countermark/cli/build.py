"""``countermark compile``, ``plan``, ``explain`` and ``build``."""

from __future__ import annotations

import time

import click

from countermark.cli.place import bank_root


@click.command("compile")
@click.option("--check", is_flag=True, help="Write nothing; fail if a generated file differs.")
def compile_command(check: bool) -> None:
    """Compose every model and write models/, sources/ and the root dvc.yaml."""
    from countermark.portfolio import compile as compiler
    from countermark.stages.narratives import check_narratives

    root = bank_root()
    compiled = compiler.compile_bank(root)
    check_narratives(root, compiled.models)
    if check:
        compiler.check(root, compiled)
        click.echo(f"{len(compiled.models)} models compiled; every generated file is up to date")
        return
    changed = compiler.write(root, compiled)
    click.echo(f"{len(compiled.models)} models compiled; {len(changed)} files written")
    for relative in changed:
        click.echo(f"  {relative}")


@click.command()
@click.argument("models", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="The whole bank, portfolio report included.")
@click.option("--force", is_flag=True, help="Run every stage even if nothing changed.")
def build(models: tuple[str, ...], everything: bool, force: bool) -> None:
    """Compile, then let DVC rebuild what is stale of MODELS (or --all)."""
    from countermark.errors import ConfigError
    from countermark.portfolio import compile as compiler
    from countermark.stages.dvc import repro
    from countermark.stages.narratives import check_narratives

    if bool(models) == everything:
        raise ConfigError("nothing to build", expected="model names, or --all", hint="countermark build --all")
    root = bank_root()
    compiled = compiler.compile_bank(root)
    unknown = [name for name in models if name not in compiled.models]
    if unknown:
        raise ConfigError(
            f"there is no model '{unknown[0]}'", expected="one of: " + ", ".join(compiled.models), got=unknown[0]
        )
    check_narratives(root, models or compiled.models)
    compiler.check_files(root, compiled, models or tuple(compiled.models))
    changed = compiler.write(root, compiled)
    click.echo(f"compiled {len(compiled.models)} models, {len(changed)} files written")
    start = time.monotonic()
    repro(root, tuple(f"models/{name}/dvc.yaml" for name in models), force=force)
    click.echo(f"built in {time.monotonic() - start:.0f} s")
    for name in models or compiled.models:
        click.echo(f"  reports/{name}/validation_pack.pdf")


@click.command()
@click.argument("models", nargs=-1)
def plan(models: tuple[str, ...]) -> None:
    """Show stages, minutes, change class and Not evaluated sections, before anything runs."""
    from countermark.portfolio.plan import plan_models, plan_text

    root = bank_root()
    click.echo(plan_text(plan_models(root, models)))


@click.command()
@click.argument("key")
def explain(key: str) -> None:
    """Say which file and line set KEY, e.g. credit_pd.learner.depth."""
    from countermark.portfolio.explain import explain_key

    click.echo(explain_key(bank_root(), key))


@click.command("freeze")
@click.argument("source")
def freeze_command(source: str) -> None:
    """Run the query of SQL SOURCE once and write its snapshot; builds read the snapshot."""
    from countermark.config.source import SqlSource
    from countermark.contracts.sql import freeze
    from countermark.errors import ConfigError
    from countermark.portfolio.compile import compile_bank, source_of

    root = bank_root()
    declared = source_of(compile_bank(root), source)
    if not isinstance(declared, SqlSource):
        raise ConfigError(f"source '{source}' is not frozen", expected="kind: sql", got=f"kind: {declared.kind}")
    frozen = freeze(declared, root)
    click.echo(f"{frozen.rows:,} rows in {declared.snapshot}")
    click.echo(f"put into conf/source/{source}.yaml:  sha256: {frozen.sha256}")
