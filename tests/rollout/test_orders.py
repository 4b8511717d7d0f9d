"""Only signed orders of people who may give them count: each way around is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countermark.errors import RolloutError
from countermark.ledger.opening import open_ledger
from countermark.records.clock import iso
from countermark.records.decision import encode
from countermark.records.digest import digest_of
from countermark.records.routing import ModelRoute, RoutingTable
from countermark.registry.sshsig import LOG_NAMESPACE, ROLLOUT_NAMESPACE
from countermark.registry.state import RegistryState
from countermark.rollout import machine
from countermark.rollout.controller import latest_table
from countermark.rollout.events import WRITER, Order, RolloutEvent, SignedOrder, event_bytes
from countermark.rollout.live import rollouts, standing, strays
from countermark.rollout.orders import ROLES, Judgement, give_order, judge, read_order
from countermark.rollout.story import told
from countermark.serving.router import read_table
from tests.registry.people import PEOPLE, Log, governance, key
from tests.rollout.lives import START, Life, plan


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path)
    yield made
    made.close()


def stopped(life: Life, **changes: Any) -> RolloutEvent:
    (state,) = rollouts(life.writer).values()
    event = machine.stop(state, now=life.clock.now(), by="eli", reason="incident")
    return msgspec.structs.replace(event, **changes)


def sealed(event: RolloutEvent, state: RegistryState, who: str, namespace: str = ROLLOUT_NAMESPACE) -> SignedOrder:
    body = encode(Order(event=event, position=state.position, head=state.head))
    return SignedOrder(body=body.decode(), signature=key(who).sign(body, namespace).decode())


def begun(life: Life, **changes: Any) -> RolloutEvent:
    event = machine.begin("m-2", "m", "1.0.0", "2.0.0", life.plan, now=life.clock.now(), by="eli")
    return msgspec.structs.replace(event, **changes)


def challenger(life: Life, version: str, *, dismiss: bool = False) -> RolloutEvent:
    return machine.challenger_event("m", "1.0.0", version, now=life.clock.now(), by="eli", dismiss=dismiss)


def append(life: Life, payload: bytes, **changes: str) -> None:
    """On a chain of somebody who can write to the ledger, under the key and the time that the order itself names."""
    try:
        event = SignedOrder.order.fget(msgspec.json.decode(payload, type=SignedOrder)).event  # type: ignore[attr-defined]
    except msgspec.DecodeError:
        event = stopped(life)
    at, rollout = changes.get("at", event.at), changes.get("key", event.rollout)
    life.writer.append("rollout", rollout, payload, at)


def changed_body(life: Life) -> bytes:
    made = sealed(stopped(life), life.trusted, "eli")
    return encode(msgspec.structs.replace(made, body=made.body.replace("incident", "accident")))


def other_log(life: Life) -> bytes:
    return encode(sealed(stopped(life), Log(start=START - timedelta(days=2)).fold(START), "eli"))


def grown(life: Life, kind: str = "witness") -> None:
    """The log goes on by one entry, so that an order which names the entry before is an older one."""
    log = Log(start=START - timedelta(days=1))
    log.add(kind, {"note": ""}, by="aud")
    life.trusted = log.fold(START + timedelta(days=1))


REFUSED: dict[str, tuple[Callable[[Life], bytes], str]] = {
    "an order that nobody signed": (lambda life: event_bytes(stopped(life)), "nobody has signed it"),
    "a developer's order": (
        lambda life: encode(sealed(stopped(life, by="dana"), life.trusted, "dana")),
        "dana has role developer; this needs engineer or risk"),
    "a stranger's order": (
        lambda life: encode(sealed(stopped(life), life.trusted, "mallory")), "its key belongs to no principal"),
    "an order in another's name": (
        lambda life: encode(sealed(stopped(life), life.trusted, "rik")), "rik signed it in the name of eli"),
    "an order that was changed after it was signed": (changed_body, "the signature is not of these bytes"),
    "a signature that was made for the release log": (
        lambda life: encode(sealed(stopped(life), life.trusted, "eli", LOG_NAMESPACE)), "made for another purpose"),
    "an order for another bank": (lambda life: (grown(life), other_log(life))[1], "it names another release log"),
    "an order of the day before yesterday": (
        lambda life: encode(sealed(stopped(life, at=iso(START - timedelta(hours=30))), life.trusted, "eli")),
        "more than 1 day before the controller read it"),
    "an order of tomorrow": (
        lambda life: encode(sealed(stopped(life, at=iso(START + timedelta(days=1))), life.trusted, "eli")),
        "more than 5 minutes after the controller's clock"),
    "a stop of a rollout that never was": (
        lambda life: encode(sealed(stopped(life, candidate="9.0.0"), life.trusted, "eli")),
        "there is no rollout 'm-1' of m@v9.0.0"),
    "a start while another rollout runs": (
        lambda life: encode(sealed(begun(life), life.trusted, "eli")), "cannot have 'started' here"),
    "a start against a release that does not answer": (
        lambda life: encode(sealed(begun(life, champion="0.9.0"), life.trusted, "eli")),
        "version 1.0.0 answers now, and the order was given against 0.9.0"),
    "a start of a release that is not authorised": (
        lambda life: encode(sealed(begun(life, candidate="7.0.0"), life.trusted, "eli")),
        "version 7.0.0 is not authorised"),
    "a start of the release that answers": (
        lambda life: encode(sealed(begun(life, candidate="1.0.0"), life.trusted, "eli")), "answers already"),
    "a start without a plan": (
        lambda life: encode(sealed(begun(life, plan={"name": 3}), life.trusted, "eli")), "its plan is no rollout plan"),
    "a challenger that answers": (
        lambda life: encode(sealed(challenger(life, "1.0.0"), life.trusted, "eli")), "version 1.0.0 answers already"),
    "the end of a challenger that is none": (
        lambda life: encode(sealed(challenger(life, "2.0.0", dismiss=True), life.trusted, "eli")),
        "version '2.0.0' is not the challenger of 'm'"),
    "the reconciliation of a rollout that runs": (
        lambda life: encode(sealed(stopped(life, type="reconciled"), life.trusted, "eli")), "not to be reconciled"),
    "bytes": (lambda _: b"\xff\x00", "it is no rollout event"),
    "an order whose text is none": (
        lambda _: encode(SignedOrder(body="[" * 4000, signature="")), "it is no rollout event"),
    "an order with a torn signature": (
        lambda life: encode(msgspec.structs.replace(sealed(stopped(life), life.trusted, "eli"), signature="x")),
        "counts for nothing"),
    "a rollback that the controller did not write": (
        lambda life: event_bytes(stopped(life, type="rolled_back", by="controller")), "only the controller writes this"),
    "a rollback that a person signed": (
        lambda life: encode(sealed(stopped(life, type="rolled_back"), life.trusted, "eli")), "only the controller writes this"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", REFUSED, ids=list(REFUSED))
def test_what_may_not_be_ordered_is_refused_by_name_and_changes_nothing(life: Life, sentence: str) -> None:
    make, says = REFUSED[sentence]
    append(life, make(life))
    life.hour()
    assert life.controller.taken == life.controller.refused
    (refused,) = life.controller.refused
    assert says in refused.reason
    assert "(entry " in refused.reason or refused.model == ""
    assert "of chain 'chain-000'" in refused.reason
    assert life.controller.states["m-1"].running
    assert rollouts(life.writer)["m-1"].running
    life.hour()
    assert (len(life.controller.refused), life.controller.taken) == (1, ()), "an order is judged once"
    for _ in range(14):
        life.hour()
    assert life.happened[-1].type == "completed", "the rollout went on"


@pytest.mark.parametrize("changes", [{"at": iso(START + timedelta(hours=5))}, {"key": "m-2"}])
def test_an_order_does_not_fit_another_entry(life: Life, changes: dict[str, str]) -> None:
    append(life, encode(sealed(stopped(life), life.trusted, "eli")), **changes)
    life.hour()
    (refused,) = life.controller.refused
    assert "it was signed for another rollout or another time" in refused.reason


def test_a_copied_order_is_given_once(life: Life) -> None:
    (entry,) = (entry for entry in life.writer.read(["rollout"]) if entry.chain != WRITER)
    life.writer.append("rollout", entry.key, entry.payload, entry.at)
    life.hour()
    assert life.controller.refused == ()
    assert rollouts(life.writer)["m-1"].running


def test_whoever_has_an_order_refused_elsewhere_cannot_have_it_refused(life: Life) -> None:
    """A copy under another key, with a torn signature or with somebody else's, that is read before the order itself."""
    made = sealed(stopped(life), life.trusted, "eli")
    append(life, encode(made), key="m-2")
    append(life, encode(msgspec.structs.replace(made, signature="x")))
    append(life, encode(sealed(stopped(life), life.trusted, "mallory")))
    life.controller.tick()
    assert len(life.controller.refused) == 3
    assert life.controller.states["m-1"].running
    append(life, encode(made))
    life.controller.tick()
    assert life.controller.states["m-1"].ended == "stopped"


def verdict(life: Life, state: RegistryState, made: SignedOrder, now: datetime) -> Judgement:
    event = made.order.event
    with open_ledger(life.folder / "apart") as apart:
        apart.append("rollout", event.rollout, encode(made), event.at)
        *_, entry = apart.read(["rollout"])
    return judge(read_order(entry), state, now)


def at_position(event: RolloutEvent, state: RegistryState, position: int) -> SignedOrder:
    """An order of eli that names an older position of the log, as an honest order of that day would."""
    body = encode(Order(event=event, position=position, head=state.entries[position].digest))
    return SignedOrder(body=body.decode(), signature=key("eli").sign(body, ROLLOUT_NAMESPACE).decode())


def test_who_was_revoked_orders_nothing_whatever_position_the_order_names(life: Life) -> None:
    log = Log(start=START - timedelta(days=1))
    body = {"public": key("eli").public, "position": len(log.entries), "reason": "stolen"}
    before = log.add("key_revocation", body, by="rik") - 1
    state = log.fold(START)
    for position in (before, before + 1):
        found = verdict(life, state, at_position(stopped(life), state, position), START)
        assert (found.verdict, found.reason) == ("refused", "the key of eli was revoked")


def test_who_has_left_orders_nothing_whatever_position_the_order_names(life: Life) -> None:
    others = {name: person for name, person in PEOPLE.items() if name != "eli"}
    state = amended(others | {"eva": ("Eva Engineer", ("engineer",))})
    assert state.governance.author(key("eli").public) is None
    for position in (0, state.position):
        found = verdict(life, state, at_position(stopped(life), state, position), START)
        assert (found.verdict, found.reason) == ("refused", "its key belongs to no principal")
    assert rollouts(life.writer)["m-1"].running, "what was taken up while eli was here stands"
    event = stopped(life)
    life.trusted = state
    with pytest.raises(RolloutError, match="belongs to no principal"):
        life.append(event, "eli")


@pytest.mark.parametrize("dated", [START, START - timedelta(hours=2)], ids=["today", "back-dated"])
def test_a_lapsed_key_orders_nothing_by_the_controllers_clock(life: Life, dated: datetime) -> None:
    lapse = START - timedelta(hours=1)
    state = Log(governance(expires={"eli": iso(lapse)}), start=START - timedelta(days=40)).fold(START)
    made = sealed(stopped(life, at=iso(dated)), state, "eli")
    assert verdict(life, state, made, START).reason == "the key of eli had lapsed"
    assert verdict(life, state, made, lapse - timedelta(seconds=1)).verdict == (
        "counts" if dated < lapse else "refused"
    )
    with pytest.raises(RolloutError, match="may not give the order 'stopped'") as told:
        give_order(life.writer, state, stopped(life), key("eli"))
    assert "had lapsed" in str(told.value)


def amended(people: dict[str, tuple[str, tuple[str, ...]]]) -> RegistryState:
    """The trusted log, in which two lines of control have agreed on other people."""
    log = Log(start=START - timedelta(days=1))
    body = governance(people, version=2).document()
    number = log.add("amendment", body, by="rik")
    log.add("amendment_approval", {"amendment": number, "digest": digest_of(body)}, by="vera")
    return log.fold(START + timedelta(days=1))


def test_an_order_waits_for_the_log_that_it_names(life: Life) -> None:
    newer = amended(PEOPLE | {"eva": ("Eva Engineer", ("engineer",))})
    give_order(life.writer, newer, stopped(life), key("eva"))
    life.hour()
    assert life.controller.taken == ()
    assert life.controller.states["m-1"].running
    assert standing(life.writer, life.trusted) == (), "the log of this test knows no model"
    life.trusted = newer
    life.hour()
    assert [(event.type, event.by) for event in life.controller.taken] == [("stopped", "eva")]
    assert life.controller.refused == ()
    assert life.controller.states["m-1"].ended == "stopped"


def test_orders_wait_while_the_log_cannot_be_read_and_the_guards_go_on(life: Life) -> None:
    def unreadable() -> RegistryState:
        raise RolloutError("no release log was read yet")

    life.controller._trusted = unreadable
    life.append(stopped(life), "eli")
    life.hour()
    assert life.controller.noticed == ("orders wait: no release log was read yet",)
    life.hour(100, fault=lambda r, _: msgspec.structs.replace(r, error="broken", p=""))
    assert life.happened[-1].type == "rolled_back"


# --- orders that cross what the controller does, and clocks that differ


def test_a_stop_that_crosses_a_step_ends_the_rollout_in_the_stage_it_has_reached(life: Life) -> None:
    """It is stamped before the step and arrives after it."""
    life.hour(60)
    before = stopped(life, at=iso(life.clock.now() - timedelta(milliseconds=30)))
    assert before.stage == "shadow"
    while not life.hour(60):
        pass
    assert life.happened[-1].stage == "canary 0.1"
    life.append(before, "eli")
    life.controller.tick()
    (event,) = life.controller.taken
    assert (event.type, event.stage, event.share, event.by) == ("stopped", "canary 0.1", 0.0, "eli")
    route = life.controller.table.models["m"]
    assert (route.champion, route.candidate, route.share) == ("1.0.0", None, 0.0)
    successor(life)
    assert life.controller.states["m-1"].ended == "stopped"


def test_a_stop_that_crosses_a_rollback_is_refused_and_everything_goes_on(life: Life) -> None:
    life.hour()
    late = stopped(life)
    life.hour(100, fault=lambda r, _: msgspec.structs.replace(r, error="broken", p=""))
    assert life.happened[-1].type == "rolled_back"
    life.append(late, "eli")
    life.controller.tick()
    (refused,) = life.controller.refused
    assert "rollout 'm-1' has ended" in refused.reason
    successor(life)
    life.append(begun(life), "eli")
    life.controller.tick()
    assert [event.rollout for event in life.controller.taken] == ["m-2"]
    assert rollouts(life.writer)["m-2"].running


@pytest.mark.parametrize("skew", [timedelta(seconds=-3), timedelta(seconds=20)], ids=["behind", "ahead"])
def test_a_persons_clock_decides_nothing(life: Life, skew: timedelta) -> None:
    """A reconciliation from a host that is behind, a start from one that is ahead, and a fault right after it."""
    bad: Any = lambda r, _: msgspec.structs.replace(r, error="broken", p="")  # noqa: E731
    life.hour(100, fault=bad)
    state = life.controller.states["m-1"]
    assert state.ended == "rolled_back"
    life.append(machine.reconcile(state, now=life.clock.now() + skew, by="", reason="seen"), "eli")
    life.append(begun(life, at=iso(life.clock.now() + skew)), "eli")
    life.controller.tick()
    assert [event.type for event in life.controller.taken] == ["reconciled", "started"]
    assert {event.at for event in life.controller.taken} == {iso(life.clock.now())}
    successor(life)
    assert life.controller.states["m-1"].reconciled
    assert life.controller.states["m-2"].running


def test_a_stop_that_is_read_with_its_start_counts_in_whatever_order_they_come(tmp_path: Path) -> None:
    for k, swapped in enumerate((False, True)):
        life = Life(tmp_path / str(k))
        life.hour(100, fault=lambda r, _: msgspec.structs.replace(r, error="broken", p=""))
        started = begun(life)
        end = machine.stop(machine.fold([started])["m-2"], now=life.clock.now(), by="eli", reason="second thoughts")
        for event in (end, started) if swapped else (started, end):
            life.append(event, "eli")
        life.controller.tick()
        assert life.controller.states["m-2"].ended == "stopped"
        assert life.controller.table.models["m"].candidate is None
        life.close()


def successor(life: Life) -> None:
    """Another controller on the same chain stands where this one stood."""
    states, table, refused = dict(life.controller.states), life.controller.table, life.controller.refused
    challengers = life.controller._story.challengers
    life.leader.close()
    life.leader = open_ledger(life.folder, writer=WRITER)
    life.lead()
    assert life.controller.tick() == ()
    assert life.controller.taken == ()
    assert dict(life.controller.states) == states
    assert life.controller.table == table
    assert (life.controller.refused, life.controller._story.challengers) == (refused, challengers)
    assert rollouts(life.writer) == states


def test_a_table_that_another_chain_holds_is_no_table(life: Life) -> None:
    false = RoutingTable(version=99, at=iso(START + timedelta(days=9)), models={"m": ModelRoute(champion="2.0.0")})
    life.writer.append("routing", "routing", encode(false), false.at)
    assert latest_table(life.writer).models["m"].champion == "1.0.0"
    assert read_table(life.writer).models["m"].champion == "1.0.0"
    assert latest_table(life.writer, until=false.at).models["m"].champion == "1.0.0"


def test_what_follows_from_nothing_on_the_controllers_own_chain_is_named_and_passed_over(life: Life) -> None:
    stray = msgspec.structs.replace(stopped(life), rollout="m-9", order="0" * 64)
    unordered = stopped(life)
    for payload in (b"{}", event_bytes(stray), event_bytes(unordered)):
        life.leader.append("rollout", "m-9", payload, iso(START))
    life.leader.append("routing", "routing", b"{}", iso(START))
    life.leader.close()
    life.leader = open_ledger(life.folder, writer=WRITER)
    life.lead()
    life.controller.tick()
    assert ["has no effect" in text for text in life.controller._story.odd] == [True] * 3
    assert "names no order" in life.controller._story.odd[2]
    assert life.controller.states["m-1"].running
    assert read_table(life.writer).models["m"].candidate == "2.0.0", "a table that cannot be read is written anew"
    assert len(strays(life.writer, life.trusted)) == 3


def test_an_order_in_other_wrapping_is_the_same_order(life: Life) -> None:
    """A challenger that was dismissed does not come back with the old signature, wrapped at another width."""
    made = sealed(challenger(life, "2.0.0"), life.trusted, "eli")
    append(life, encode(made))
    life.controller.tick()
    append(life, encode(sealed(challenger(life, "2.0.0", dismiss=True), life.trusted, "eli")))
    life.controller.tick()
    lines = made.signature.split("\n")
    wrapped = "\n".join([lines[0], "".join(lines[1:-2]), *lines[-2:]])
    again = msgspec.structs.replace(made, signature=wrapped)
    assert again != made
    append(life, encode(again))
    life.controller.tick()
    assert life.controller.taken == ()
    assert life.controller.table.models["m"].challenger is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PLAN = plan().model_dump(mode="json")
PLANS = st.builds(
    lambda changes, stay: PLAN | changes | {"shadow": PLAN["shadow"] | stay},
    st.dictionaries(st.sampled_from(sorted(PLAN)), JSON, max_size=2),
    st.dictionaries(st.sampled_from(sorted(PLAN["shadow"])), JSON | st.just(1e300), max_size=2),
)
TEXT = st.sampled_from(["", "m", "m-1", "m-2", "n", "1.0.0", "2.0.0", "9.0.0", "\x00", "full", "shadow"]) | st.text(
    max_size=4
)
WANTED = st.builds(
    RolloutEvent,
    rollout=TEXT.filter(lambda name: name.strip("\x00") != "" and "\x00" not in name), model=TEXT, type=st.sampled_from(sorted(ROLES)), at=st.just(iso(START)), by=st.just("eli"),
    stage=TEXT, share=st.floats(allow_nan=False), champion=TEXT | st.none(), candidate=TEXT,
    plan=PLANS | st.dictionaries(st.text(max_size=4), JSON, max_size=3) | st.none(), reason=TEXT,
    order=TEXT | st.none(), cursor=st.dictionaries(TEXT, st.integers(-5, 5), max_size=2) | st.none(),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(WANTED, min_size=1, max_size=4))
def test_whatever_a_signed_order_asks_for_it_has_an_outcome_and_the_next_look_goes_on(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[RolloutEvent]
) -> None:
    life = Life(tmp_path_factory.mktemp("life"))
    try:
        orders = {encode(sealed(event, life.trusted, "eli")): event for event in wanted}
        for payload, event in orders.items():
            life.writer.append("rollout", event.rollout, payload, event.at)
        life.controller.tick()
        assert len(life.controller.taken) == len(orders)
        assert "cannot be judged" not in "".join(event.reason for event in life.hour(3))
        again = told(life.writer.read(["rollout"]))
        assert again.states == dict(life.controller.states)
        assert again.odd == []
    finally:
        life.close()
