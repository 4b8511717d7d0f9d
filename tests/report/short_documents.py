"""Reviews and decision files with extreme content: nothing, very much of it, very long names, nothing said."""

from __future__ import annotations

from typing import Any

from countermark.records.decision import GivenReason
from countermark.records.decision_file import (
    DecisionFile,
    FileApproval,
    FileDifference,
    FileInput,
    FileProof,
    FileRelease,
    Later,
    OpinionLine,
    RequestField,
    SecondOpinion,
)
from countermark.records.lights import Light
from countermark.records.review import (
    Expiring,
    LogFinding,
    Needed,
    ReplayedSample,
    Review,
    ReviewAction,
    ReviewChallenge,
    ReviewCheckpoint,
    ReviewModel,
    ReviewRollout,
)
from countermark.records.watch import LiveFinding, Reading

AT = "2026-12-07T09:00:00.000000Z"
LONG = "consumer_instalment_lending_probability_of_default_region_"
"""A name without a blank, as data warehouses have them."""
SENTENCE = (
    "The share of applications without an income has risen against the reference of the release in every branch. "
)


def reading(check: str, subject: str, light: Light, **changes: Any) -> Reading:
    base: dict[str, Any] = {
        "check": check, "subject": subject, "n": 812, "value": 0.3127, "low": 0.21, "high": 0.41, "reference": 0.02,
        "limit": "at most 0.1, fails above 0.25", "light": light, "rule": "limit", "owner": "Olga Owner",
        "reason": "too few rows" if light is Light.NOT_EVALUATED else None,
    }  # fmt: skip
    return Reading(
        **base | ({"value": None, "low": None, "high": None} if light is Light.NOT_EVALUATED else {}) | changes
    )


def model(name: str, *, loud: bool, size: int = 1, **changes: Any) -> ReviewModel:
    """A production model; a loud one has ``size`` of everything that can be said."""
    lights = (Light.FAIL, Light.WATCH, Light.PASS, Light.NOT_EVALUATED)
    checks = ("feature_psi", "missing_shift", "adverse_impact", "kpi", "auc", "score_psi")
    base: dict[str, Any] = {
        "model": name, "title": f"Default of {name}", "owner": "Olga Owner", "tier": 1, "authorised": f"{name}@v1.0.0",
        "live": "1.0.0", "quiet": not loud, "light": Light.FAIL if loud else Light.PASS,
        "line": "2 checks fail, 1 is watched" if loud else "14 checks pass on 2 345 decisions",
        "window": ("2026-11-01T00:00:00.000000Z", AT), "decisions": 2345, "matured": 1200, "labelled": 1100,
        "readings": tuple(
            reading(check, f"{name}_input_{k}", lights[(k + j) % 4]) for k in range(size) for j, check in enumerate(checks)
        ) if loud else (),
        "off": ("auc_drop", "calibration") if loud else (),
        "live_findings": tuple(
            LiveFinding(id=f"{name}/feature_psi/{k}", model=name, check="feature_psi", subject=str(k), light=Light.FAIL,
                        status="open", at=AT, since=AT, owner="Olga Owner", text=SENTENCE)
            for k in range(size)
        ) if loud else (),
        "log_findings": tuple(
            LogFinding(id=f"F-{k}", severity="high", text=SENTENCE, owner="Vera Validator", due="2026-12-24", opened=AT)
            for k in range(size)
        ) if loud else (),
        "rollouts": tuple(
            ReviewRollout(id=f"{name}-{k}", champion="1.0.0", candidate="2.0.0", stage="canary 0.05", share=0.05,
                          started=AT, ended="rolled_back" if k % 2 else None, reason=SENTENCE, reconciled=False)
            for k in range(min(size, 4))
        ) if loud else (),
        "challenge": ReviewChallenge(champion="1.0.0", challenger="2.0.0", decisions=900, labelled=400, events=31,
                                     auc_difference=0.0123, low=-0.001, high=0.026, verdict="no difference shown")
        if loud else None,
    }  # fmt: skip
    return ReviewModel(**base | changes)


def review(**changes: Any) -> Review:
    """A review of nothing."""
    base: dict[str, Any] = {
        "id": "2026-W50", "as_of": AT, "bank": "Test bank", "classification": "Confidential", "previous": None,
        "needed": (), "models": (), "actions": (), "expiring": (), "replayed": None, "checkpoint": None,
        "log_position": 0, "log_head": "a" * 64, "log_refused": 0, "sample": 200,
    }  # fmt: skip
    return Review(**base | changes)


def crowded(models: int = 80, loud: int = 5) -> Review:
    """Eighty models, five of them loud, and everything else in proportion."""
    made = tuple(model(f"model_{k:02d}", loud=k < loud, size=3) for k in range(models))
    return review(
        models=made,
        needed=tuple(
            Needed(kind="breach", light=Light.FAIL if k % 3 else Light.WATCH, subject=f"model_{k % models:02d}",
                   text=SENTENCE, owner="Olga Owner", due="2026-12-09", command=f"countermark rollout reconcile model_{k:02d} --reason ...")
            for k in range(models)
        ),
        actions=tuple(
            ReviewAction(id=f"2026-W{k % 50:02d}-{k}", review=f"2026-W{k % 50:02d}", owner="Vera Validator",
                         due="2026-12-01", text=SENTENCE, model=None, status=("done", "open", "overdue")[k % 3])
            for k in range(60)
        ),
        expiring=tuple(
            Expiring(subject=f"model_{k:02d}@v1.0.0", owner="Rik Risk", what="approval as validator", ends="2026-12-20",
                     lapsed=k % 2 == 0)
            for k in range(70)
        ),
        replayed=ReplayedSample(drawn=200, identical=170, seed=20261207, since=AT,
                                releases=tuple(f"model_{k:02d}@v1.0.0" for k in range(models)),
                                different=tuple((f"decision-{k}", "margin, probability, reasons") for k in range(30))),
        checkpoint=ReviewCheckpoint(digest="c" * 64, at=AT, chains={f"chain-{k:03d}": 123456 + k for k in range(64)}),
    )  # fmt: skip


def long_names() -> Review:
    """Names and texts as long as they come, without a blank where that is possible."""
    name = LONG * 3
    loud = model(name, loud=True, size=9, title=name * 2, owner=f"Department of {name}", line=SENTENCE * 6,
                 authorised=f"{name}@v10.20.30", off=tuple(f"{LONG}{k}" for k in range(12)))  # fmt: skip
    return review(
        bank=f"Bank of {name}",
        models=(loud, model(f"{name}_quiet", loud=False, title=name, line=SENTENCE * 4)),
        needed=(
            Needed(kind="breach", light=Light.FAIL, subject=name, text=name * 4, owner=name, due=None,
                   command=f"countermark release approve {name}@v10.20.30 --condition {name}"),
        ),
        actions=(ReviewAction(id=f"2026-W49-{'9' * 30}", review="2026-W49", owner=name, due="2026-12-01", text=name * 3,
                              model=None, status="overdue"),),
        expiring=(Expiring(subject=name, owner=name, what=name, ends="2026-12-20", lapsed=True),),
        replayed=ReplayedSample(drawn=1, identical=0, seed=1, since=None, releases=(f"{name}@v10.20.30",),
                                different=((name, name),)),
        checkpoint=ReviewCheckpoint(digest="c" * 64, at=AT, chains={"chain-000": 10**12}),
    )  # fmt: skip


def unsaid() -> Review:
    """Everything there, and nobody has said anything."""
    bare = model("toy", loud=True, size=2, title="", owner="", line="", live=None, window=None, labelled=0, matured=0)
    return review(
        bank="",
        models=(bare,),
        needed=(Needed(kind="watch", light=Light.WATCH, subject="", text="", owner="", due=None, command=None),),
        actions=(ReviewAction(id="a", review="", owner="", due="", text="", model=None, status="open"),),
        expiring=(Expiring(subject="", owner="", what="", ends="", lapsed=False),),
        replayed=ReplayedSample(drawn=0, identical=0, seed=0, since=None, releases=(), different=()),
        log_refused=1,
    )


REVIEWS = {"nothing": review, "crowded": crowded, "long names": long_names, "unsaid": unsaid}


def decision_file(**changes: Any) -> DecisionFile:
    """A decision with little to tell."""
    base: dict[str, Any] = {
        "id": "d-1", "at": AT, "made_at": AT, "channel": "http", "model": "toy", "title": "Toy", "entity": None,
        "classification": "Confidential: personal data", "decision": "decline", "favourable": False, "p": 0.31,
        "margin": -0.8, "p_bits": (0.31).hex(), "margin_bits": (-0.8).hex(), "grade": None, "cutoff": 0.2,
        "reasons": (), "request": (), "inputs": (), "views": (), "route": "champion", "identical": True,
        "differences": (), "notes": (), "later": (),
        "release": FileRelease(ref="toy@v1.0.0", proposed_by="", proposed_at="", approvals=(), published_by=None,
                               published_at=None, authorised_at=None, environment="prod", position=3,
                               tag_object="f" * 40, opinion=""),
        "proof": FileProof(chain="chain-000", seq=0, hash="a" * 64, checkpoint=None, checkpoint_at=None,
                           checkpoint_signed=False, included=False, bundle="b" * 64, scorer="c" * 64, policy="d" * 64,
                           environment="e" * 64, log_position=9, log_head="1" * 64, trust_root="2" * 64, linked=True,
                           witness="not witnessed by a checkpoint: there is none on the ledger"),
    }  # fmt: skip
    return DecisionFile(**base | changes)


def packed_file(name: str = "input") -> DecisionFile:
    """Everything that can stand in a decision file, many times over."""
    return decision_file(
        title=f"Default of {name}", entity=f"customer {name}", grade="C3", route=f"champion; {SENTENCE * 2}",
        reasons=tuple(GivenReason(code=f"R{k:02d}_{name}"[:60], text=SENTENCE, contribution=(0.1).hex()) for k in range(8)),
        request=tuple(RequestField(name=f"{name}_{k}", value=SENTENCE) for k in range(30)),
        inputs=tuple(
            FileInput(name=f"{name}_{k}", meaning=SENTENCE, value=1234567.891 if k % 2 else f"level_{name}",
                      unit="EUR per month", origin=f"view_of_{name}"[:60], as_of=AT, expired=k % 3 == 0, contribution=0.5 - k / 40)
            for k in range(40)
        ),
        release=FileRelease(
            ref=f"{name}@v10.20.30", proposed_by=f"Dana {name}", proposed_at=AT, published_by=f"eli.{name}",
            published_at=AT, authorised_at=AT, environment="prod", position=12345, tag_object="f" * 40, opinion="Fit",
            approvals=tuple(
                FileApproval(role="validator", person=f"Vera {name}", at=AT, position=k, expires="2027-05-22",
                             conditions=(SENTENCE,))
                for k in range(9)
            ),
        ),
        identical=False,
        differences=tuple(FileDifference(what="margin", recorded=(0.1).hex(), found=SENTENCE) for _ in range(12)),
        notes=(SENTENCE,) * 3,
        later=tuple(Later(kind="override", at=AT, by=f"m.{name}", text=SENTENCE) for _ in range(9)),
        second_opinion=SecondOpinion(
            method="LIME", version="0.2.0.1", seed=1, samples=5000, fit=0.6, agrees=3, top=4,
            lines=tuple(OpinionLine(input=f"{name}_{k}", stated=f"{name}_{k} in 1 to 2", weight=0.1, exact=0.2) for k in range(40)),
        ),
    )  # fmt: skip


FILES = {
    "nothing": decision_file,
    "unsaid": lambda: decision_file(title="", entity="", decision="", reasons=(GivenReason(code="", text="", contribution="0x0p+0"),),
                                    inputs=(FileInput(name="x", meaning="", value=None, unit=None, origin="", as_of="", expired=False, contribution=0.0),)),
    "crowded": packed_file,
    "long names": lambda: packed_file(LONG * 2),
}  # fmt: skip
