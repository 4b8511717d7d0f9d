"""The root command: lazy, so that ``countermark --help`` imports click and nothing of the house."""

from __future__ import annotations

import importlib
import sys

import click

from countermark.errors import CountermarkError

_COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("countermark.cli.scaffold:init", "Start an empty bank in a new folder."),
    "new": ("countermark.cli.scaffold:new", "Write the spec, contract and narrative of a new model."),
    "compile": ("countermark.cli.build:compile_command", "Compose conf/ into the files that DVC reads."),
    "plan": ("countermark.cli.build:plan", "Show what a build would do before anything runs."),
    "explain": ("countermark.cli.build:explain", "Say which file and line set a value."),
    "build": ("countermark.cli.build:build", "Compile, then rebuild what is stale with DVC."),
    "freeze": ("countermark.cli.build:freeze_command", "Run a SQL source's query once and keep its result."),
    "ledger": ("countermark.cli.ledger:ledger", "Durable records: verify, export, checkpoint, prove."),
    "release": ("countermark.cli.release:release", "Propose, approve, publish, authorise and retire releases."),
    "inbox": ("countermark.cli.inbox:inbox", "Show what waits for you."),
    "verify": ("countermark.cli.verify:verify", "Check a release, a pack, a decision, a ledger, or everything."),
    "finding": ("countermark.cli.finding:finding", "Open, close, waive and list findings."),
    "governance": ("countermark.cli.governance:governance", "Show and change who is trusted."),
    "features": ("countermark.cli.features:features", "Fill, check and show the online feature store."),
    "serve": ("countermark.cli.serve:serve", "Answer decision requests over HTTP."),
    "score": ("countermark.cli.score:score", "Score a file; the same decisions and records as over HTTP."),
    "serve-key": ("countermark.cli.serve:serve_key", "Add, list and revoke API keys of the service."),
    "rollout": ("countermark.cli.rollout:rollout", "Let a release take over: shadow, canary, full."),
    "status": ("countermark.cli.rollout:status", "Show what is authorised beside what is live."),
    "monitor": ("countermark.cli.monitor:monitor", "Compare production with what was validated."),
    "replay": ("countermark.cli.replay:replay", "Decide again what was decided, and compare every bit."),
    "review": ("countermark.cli.review:review", "Prepare, record and sign the weekly review."),
    "reproduce": ("countermark.cli.reproduce:reproduce", "Rebuild a release from its commit and compare digests."),
    "simulate": ("countermark.cli.simulate:simulate", "Play the operating loop with simulated customers."),
    "stage": ("countermark.cli.stage:stage", "Run one stage; DVC calls this."),
}
_HIDDEN = {"stage"}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [name for name in _COMMANDS if name not in _HIDDEN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=False,
)
@click.version_option(package_name="countermark", message="countermark %(version)s")
def app() -> None:
    """Declarative MLOps for bank models.

    Run inside a bank: a folder with conf/, made by 'countermark init DIR'.
    """


def main() -> None:
    """Entry point: errors of the house become one message and their exit code."""
    try:
        app.main(prog_name="countermark", standalone_mode=True)
    except CountermarkError as error:
        click.echo(click.style("error: ", fg="red", bold=True, reset=True) + str(error), err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except PermissionError as error:
        told = CountermarkError(
            "no permission to read or write here",
            got=error.strerror,
            hint="check the owner and mode of the file and its folder",
            file=error.filename,
        )
        click.echo(click.style("error: ", fg="red", bold=True, reset=True) + str(told), err=True)
        sys.exit(told.exit_code)
