"""``countermark serve``: the decision service; ``countermark serve-key``: who may call it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.place import bank_root, ledger_address, ledger_option

if TYPE_CHECKING:
    from countermark.serving.keys import ApiKey

_TRUST_VARIABLE = "COUNTERMARK_TRUST_ROOT"
_PATH = click.Path(path_type=Path)
_keys = click.option(
    "--keys",
    type=_PATH,
    envvar="COUNTERMARK_KEYS",
    help="Key file; serve-keys.json of the bank otherwise.",
)


@click.command()
@click.option("--releases", type=_PATH, help="Serving directory; releases/ of the bank otherwise.")
@ledger_option
@click.option("--features", envvar="COUNTERMARK_FEATURES", help="Online feature store: sqlite:///PATH or redis://...")
@_keys
@click.option("--insecure", is_flag=True, help="Serve without keys, on a loopback address only.")
@click.option(
    "--trust-root",
    envvar=_TRUST_VARIABLE,
    metavar="DIGEST",
    help="Digest of the genesis; git's countermark.trustRoot otherwise.",
)
@click.option("--environment", default="prod", show_default=True, help="Environment whose authorisations count.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--groups",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Protected groups by entity (CSV), for the rollouts' guard of group approval.",
)
@click.option("--no-rollouts", is_flag=True, help="Leave leading rollouts to other servers of the same ledger.")
def serve(
    releases: Path | None,
    address: str | None,
    features: str | None,
    keys: Path | None,
    insecure: bool,
    trust_root: str | None,
    environment: str,
    host: str,
    port: int,
    workers: int,
    groups: Path | None,
    no_rollouts: bool,
) -> None:
    """Answer decision requests over HTTP until SIGTERM.

    Serves every authorised release whose signatures, approvals and bundle verify; refuses the others by name in the
    log. Every answer is on the ledger before it leaves.
    """
    from countermark.records.groups import read_groups
    from countermark.serving.server import ONE_THREAD, require_free, run
    from countermark.serving.settings import Settings

    directory = (releases or bank_root() / "releases").absolute()
    settings = Settings(
        directory=str(directory),
        trust_root=trusted(trust_root, directory),
        ledger=absolute(ledger_address(address)),
        store=features,
        keys=_key_file(keys, insecure, host),
        environment=environment,
        rollouts=not no_rollouts,
        groups=None if groups is None else str(groups.absolute()),
    )
    if groups is not None:
        read_groups(groups)
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    _look_first(settings.directory, settings.trust_root, environment)
    require_free(host, port)
    click.echo(f"listening on http://{host}:{port}, {workers} worker{'s' if workers > 1 else ''}", err=True)
    run(settings, host=host, port=port, workers=workers)


def _key_file(keys: Path | None, insecure: bool, host: str) -> str | None:
    from countermark.errors import ServingError
    from countermark.serving.keys import read_keys
    from countermark.serving.server import is_loopback

    if insecure:
        if not is_loopback(host):
            raise ServingError(
                "without keys the service listens on this machine only",
                expected="--host 127.0.0.1",
                got=host,
                hint="countermark serve-key add NAME --scope decide",
            )
        return None
    path = (keys or _default_keys()).absolute()
    read_keys(path)
    return str(path)


def _default_keys() -> Path:
    return bank_root() / "serve-keys.json"


def trusted(given: str | None, directory: Path) -> str:
    """The pinned trust root: what was given, or git's configuration around the serving directory.

    Raises:
        RegistryError: If none is pinned, or it is no digest.
    """
    from countermark.errors import RegistryError
    from countermark.registry.git import Git

    found = given or Git(directory if directory.is_dir() else Path.cwd()).config("countermark.trustRoot")
    if found is None:
        raise RegistryError(
            "no trust root is pinned",
            hint=f"--trust-root DIGEST or {_TRUST_VARIABLE}; 'countermark governance show' prints it",
        )
    text = found.strip().lower().removeprefix("sha256:")
    if len(text) != 64 or any(c not in "0123456789abcdef" for c in text):
        raise RegistryError("the trust root is no digest", expected="64 hex digits", got=f"'{found[:70]}'")
    return text


def absolute(address: str) -> str:
    """A ledger's address that does not depend on the working directory of a process."""
    if address.startswith(("postgresql://", "postgres://")):
        return address
    return str(Path(address.removeprefix("sqlite:///")).absolute())


def _look_first(directory: str, trust_root: str, environment: str) -> None:
    """Say what will be served, and refuse to start where the log itself cannot be believed."""
    from countermark.records.clock import SystemClock
    from countermark.registry.directory import ServingDirectory
    from countermark.serving.catalog import load_catalog

    catalog = load_catalog(ServingDirectory(Path(directory), trust_root), SystemClock().now(), environment=environment)
    served = [str(release.ref) for versions in catalog.models.values() for release in versions.values()]
    click.echo("serves: " + (", ".join(served) or f"nothing is authorised in environment '{environment}'"), err=True)
    for refusal in catalog.refused:
        click.echo(f"refused: {refusal.release}: {refusal.reason}", err=True)


@click.group("serve-key")
def serve_key() -> None:
    """Keys with which programs call the service; kept as SHA-256 only."""


@serve_key.command()
@_keys
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="decide, decide:MODEL, events, outcomes or read; repeat for more.",
)
def add(keys: Path | None, name: str, scopes: tuple[str, ...]) -> None:
    """Make a key for NAME and show it once."""
    from countermark.errors import ServingError
    from countermark.serving.keys import make_key, write_keys

    path, known = _known(keys)
    if any(key.name == name for key in known.values()):
        raise ServingError(f"there is a key of '{name}'", hint=f"countermark serve-key revoke {name}", file=path)
    text, key = make_key(name, scopes)
    write_keys(path, {**known, key.sha256: key})
    click.echo(text)
    click.echo("keep it now: it is shown this once", err=True)


@serve_key.command("list")
@_keys
def list_(keys: Path | None) -> None:
    """List names and scopes."""
    _, known = _known(keys)
    for key in sorted(known.values(), key=lambda key: key.name):
        click.echo(f"{key.name:24} {' '.join(key.scopes)}")


@serve_key.command()
@_keys
@click.argument("name")
def revoke(keys: Path | None, name: str) -> None:
    """Take the key of NAME back; running services see it within a second."""
    from countermark.errors import ServingError
    from countermark.serving.keys import write_keys

    path, known = _known(keys)
    left = {digest: key for digest, key in known.items() if key.name != name}
    if len(left) == len(known):
        raise ServingError(
            f"there is no key of '{name}'", expected=", ".join(sorted(key.name for key in known.values())), file=path
        )
    write_keys(path, left)
    click.echo(f"revoked {name}")


def _known(keys: Path | None) -> tuple[Path, dict[str, ApiKey]]:
    from countermark.serving.keys import read_keys

    path = keys or _default_keys()
    return path, dict(read_keys(path)) if path.exists() else {}
