"""Starting a rollout: what may take over from what."""

from __future__ import annotations

from datetime import datetime

from countermark.config.rollout import RolloutPlan
from countermark.errors import RolloutError
from countermark.ledger.ledger import Ledger
from countermark.records.release import ReleaseRef
from countermark.registry.signing import Signer
from countermark.registry.state import RegistryState
from countermark.rollout.events import RolloutEvent
from countermark.rollout.live import rollouts, standing
from countermark.rollout.machine import begin, challenger_event
from countermark.rollout.orders import give_order


def start_rollout(
    ledger: Ledger, state: RegistryState, ref: ReleaseRef, plan: RolloutPlan, *, now: datetime, signer: Signer
) -> RolloutEvent:
    """Order the start of a rollout: the controller takes it up.

    The first release of a model needs no rollout and cannot have one: it answers as soon as it is authorised.

    Raises:
        RolloutError: If the release is not authorised, answers already, another rollout of the model runs, or the key's
            principal may not start one.
    """
    found = next((model for model in standing(ledger, state) if model.model == ref.model), None)
    if found is None or ref.version not in found.authorised:
        raise RolloutError(
            f"'{ref}' is not authorised",
            expected="a release that was approved, published and assigned",
            got="authorised: " + (", ".join(found.authorised) if found and found.authorised else "nothing"),
            hint=f"countermark release assign {ref}",
        )
    if found.champion == ref.version:
        raise RolloutError(f"'{ref}' answers already", hint="countermark status")
    if found.rollout is not None and found.rollout.running:
        raise RolloutError(
            f"a rollout of '{ref.model}' runs",
            got=f"{found.rollout.id} of v{found.rollout.candidate}, stage {found.rollout.stage}",
            hint=f"countermark rollout stop {ref.model} --reason ...",
        )
    number = 1 + sum(1 for known in rollouts(ledger).values() if known.model == ref.model)
    event = begin(f"{ref.model}-{number}", ref.model, found.champion, ref.version, plan, now=now, by="")
    return give_order(ledger, state, event, signer)


def answers_without_rollout(ledger: Ledger, state: RegistryState, ref: ReleaseRef) -> bool:
    """Whether a release is its model's only authorised one and no rollout of the model was ever started."""
    found = next((model for model in standing(ledger, state) if model.model == ref.model), None)
    return found is not None and found.authorised == (ref.version,) and found.rollout is None


def name_challenger(
    ledger: Ledger, state: RegistryState, ref: ReleaseRef, *, now: datetime, signer: Signer, dismiss: bool = False
) -> RolloutEvent:
    """Order that a release be, or be no longer, the standing challenger of its model: the controller takes it up.

    Raises:
        RolloutError: If the release is not authorised or answers itself, or the key's principal may not say so.
    """
    found = next((model for model in standing(ledger, state) if model.model == ref.model), None)
    if found is None or ref.version not in found.authorised or found.champion == ref.version:
        raise RolloutError(
            f"'{ref}' cannot be a challenger",
            expected="an authorised release that is not the champion",
            got="authorised: " + (", ".join(found.authorised) if found else "nothing"),
        )
    event = challenger_event(ref.model, found.champion, ref.version, now=now, by="", dismiss=dismiss)
    return give_order(ledger, state, event, signer)
