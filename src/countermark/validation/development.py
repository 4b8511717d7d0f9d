"""D1 development choices: parameters, tuning, seeds, calibration, assumptions, and what complexity buys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from countermark.errors import EvidenceError
from countermark.records.evidence import Block, Facts, Figure, Paragraph, Scalar, Series, Table
from countermark.records.lights import Light, worst
from countermark.records.register import registered_tests
from countermark.validation.context import PackContext
from countermark.validation.data_quality import guard_verdict
from countermark.validation.inputs import EvidenceInput, SectionEvidence, Statistic, evidence_number
from countermark.validation.narrative import narrative_block
from countermark.validation.phrasing import columns, counted, fact
from countermark.validation.sentences import printed

_METRICS = {"auc": "AUC", "log_loss": "log loss", "rmse": "RMSE"}


def development_evidence(inputs: EvidenceInput) -> SectionEvidence:
    """D1, computed part: what the training stage chose, how it searched, and which guards it passed."""
    spec, training = inputs.spec, inputs.training
    weak = _untested(inputs)
    row = inputs.row(
        Statistic(
            "dev.assumptions",
            "D1",
            "assumptions without a test, or expired",
            sample="spec",
            n=len(spec.purpose.assumptions),
            value=float(len(weak)) if spec.purpose.assumptions else None,
            limit="dev.assumptions",
            undefined=None if spec.purpose.assumptions else "the spec declares no assumption",
            fmt="int",
        )
    )
    trials = tuple(training["trials"])
    searched = f"chosen in {counted(len(trials), 'trial')}" if trials else "set by hand, without a search"
    held = "no assumption is declared"
    if spec.purpose.assumptions:
        held = f"{len(weak)} of {counted(len(spec.purpose.assumptions), 'assumption')} without a valid test"
    blocks: list[Block] = [_choices(inputs), _parameters(inputs)]
    if trials:
        blocks.append(_tuning_curve(inputs, trials))
    else:
        blocks.append(Paragraph(text="No search was run: every parameter is the declared one."))
    blocks.append(Paragraph(text=_guards(inputs.dataset)))
    return SectionEvidence(
        code="D1",
        conclusion=f"{held[0].upper()}{held[1:]}; learner {training['learner']}, parameters {searched}.",
        would_change="An assumption without a test, or one that has expired.",
        rows=(row,),
        blocks=tuple(blocks),
        extras={"trials": len(trials), "untested": weak},
    )


def _untested(inputs: EvidenceInput) -> list[int]:
    """Numbers (from 1) of assumptions that name no test or have expired.

    Raises:
        EvidenceError: If an assumption names a test that is not registered.
    """
    known = registered_tests()
    weak = []
    for number, assumption in enumerate(inputs.spec.purpose.assumptions, start=1):
        if assumption.test is not None and assumption.test not in known:
            raise EvidenceError(
                f"assumption {number} names the unknown test '{assumption.test}'",
                expected="a registered test id, such as 'stab.psi'",
                hint="see J2 or docs/reference/sections.md for the ids; change 'purpose.assumptions'",
            )
        if assumption.test is None or (assumption.expires or "9999") < inputs.spec.as_of:
            weak.append(number)
    return weak


def _choices(inputs: EvidenceInput) -> Facts:
    spec = inputs.spec
    scale = spec.grades.scale
    grades = len(inputs.test.grade_names)
    return Facts(
        id="D1-T1",
        caption=f"Choices that change scores: learner {spec.learner.kind}, split {spec.split.kind.replace('_', '-')}, "
        f"calibration {spec.calibration.method}.",
        facts=(
            fact("Learner", spec.learner.kind),
            fact("Split", spec.split.kind.replace("_", "-")),
            fact("Split seed", str(spec.split.seed)),
            fact("Seed of everything else", str(spec.seed)),
            fact("Tuning seed", "no tuning" if spec.tuning is None else str(spec.tuning.seed)),
            fact("Tuning metric", "no tuning" if spec.tuning is None else _METRICS[spec.tuning.metric]),
            fact("Folds (inside development)", "no tuning" if spec.tuning is None else spec.tuning.folds, "text"),
            fact("Calibration", spec.calibration.method),
            fact("Grades", f"{grades}, {scale.kind}"),
            fact("Inputs", len(spec.features), "int"),
            fact("Directions enforced", sum(f.monotone for f in spec.features.values()), "int"),
        ),
    )


def _parameters(inputs: EvidenceInput) -> Table:
    params: Mapping[str, Any] = inputs.training["params"]
    space = {} if inputs.spec.tuning is None else inputs.spec.tuning.space
    names = sorted({*params, *space})
    return Table(
        id="D1-T2",
        caption=f"{counted(len(params), 'parameter')} of the fitted learner, {len(space)} of them searched.",
        columns=columns(("name", "Parameter", "text"), ("value", "Value", "text"), ("range", "Searched over", "text")),
        rows=tuple(
            {
                "name": name,
                "value": _text(params[name]) if name in params else "set by the learner",
                "range": _spread(space[name]) if name in space else None,
            }
            for name in names
        ),
        empty="The learner has no parameter.",
    )


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{evidence_number(value):g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return "none" if value is None else str(value)


def _tuning_curve(inputs: EvidenceInput, trials: tuple[Mapping[str, Any], ...]) -> Figure:
    metric = "objective" if inputs.spec.tuning is None else _METRICS[inputs.spec.tuning.metric]
    best = inputs.training["best_trial"]
    numbers = tuple(float(trial["number"]) + 1 for trial in trials)
    values = tuple(evidence_number(trial["value"]) for trial in trials)
    running = tuple(evidence_number(trial["best_so_far"]) for trial in trials)
    told = f"none is better than the first, {printed(values[0], 'score')}"
    if int(best):
        gap = printed(abs(running[-1] - values[0]), "score")
        told = f"trial {int(best) + 1} is best with {printed(running[-1], 'score')}, {gap} better than the first"
    return Figure(
        id="D1-F1",
        chart="xy",
        caption=f"Of {counted(len(trials), 'trial')}, {told} (mean {metric} over folds inside development).",
        alt=f"Mean {metric} of each trial and the best so far: {told}.",
        x_label="Trial",
        y_label=metric,
        x_format="int",
        y_format="auc" if metric == "AUC" else "number",
        series=(
            Series(name="trial", role="development", mark="points", x=numbers, y=values),
            Series(name="best so far", role="reference", mark="step", x=numbers, y=running),
        ),
        size="half",
    )


def _spread(spread: Any) -> str:
    values = getattr(spread, "values", None)
    if values is not None:
        return _text(values)
    scale = " (log)" if getattr(spread, "log", False) else ""
    return f"{_text(getattr(spread, 'low', None))} to {_text(getattr(spread, 'high', None))}{scale}"


def _guards(dataset: Mapping[str, Any]) -> str:
    """One sentence: the guards stand one by one in C2."""
    found: dict[str, list[str]] = {"failed": [], "not evaluated": [], "passed": []}
    for guard in dataset["guards"]:
        found[guard_verdict(guard)].append(str(guard["name"]).replace("_", " "))
    told = "; ".join(f"{word}: {', '.join(names)}" for word, names in found.items() if names)
    return f"Build guards before training (C2 gives their detail). {told[:1].upper()}{told[1:] or 'None is recorded'}."


def development_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """D1, written part: narrative, assumption register with the light of each test, complexity against benefit."""
    if computed is None:
        raise EvidenceError("D1 needs its computed part", hint="the registry must give D1 a 'compute' function")
    challenger = context.spec.challenger
    why = "No challenger is declared." if challenger is None else f"Why this challenger: {challenger.why.rstrip('.')}."
    blocks = (
        narrative_block("choices", context.answers),
        *computed.blocks,
        _assumptions(context),
        Paragraph(text=why),
        _complexity(context),
    )
    return replace(
        computed,
        conclusion=_with_failed_assumptions(context, computed.conclusion),
        blocks=blocks,
        so_what="Scores change only with what this section lists; anything else is wording.",
    )


def _with_failed_assumptions(context: PackContext, conclusion: str) -> str:
    """An assumption whose test failed comes before one that has no test."""
    rows = _assumptions(context).rows
    failed = [row for row in rows if row["light"] == Light.FAIL.word]
    if not failed:
        return conclusion
    told = ", ".join(f"no. {row['number']} ({row['test']})" for row in failed)
    noun = "assumption is contradicted by its test" if len(failed) == 1 else "assumptions are contradicted by tests"
    return f"{len(failed)} {noun}, {told}; {conclusion[0].lower()}{conclusion[1:]}"


def _assumptions(context: PackContext) -> Table:
    rows: list[dict[str, Scalar]] = []
    for number, assumption in enumerate(context.spec.purpose.assumptions, start=1):
        tested = [row for row in context.rows if row.test_id == assumption.test]
        lights = [row.light for row in tested if row.gating] or [row.light for row in tested]
        state = "no test" if assumption.test is None else "not computed"
        rows.append(
            {
                "number": number,
                "text": assumption.text,
                "test": assumption.test,
                "light": worst(lights).word if lights else state,
                "expires": assumption.expires,
                "expired": "expired" if (assumption.expires or "9999") < context.spec.as_of else None,
            }
        )
    return Table(
        id="D1-T5",
        caption=f"{sum(row['test'] is None for row in rows)} of {counted(len(rows), 'assumption')} "
        f"{'names' if len(rows) == 1 else 'name'} no test; the state is the worst light of the test named.",
        columns=columns(
            ("number", "No.", "int"),
            ("text", "Assumption", "text"),
            ("test", "Test", "text"),
            ("light", "State of the test", "text"),
            ("expires", "Expires", "date"),
            ("expired", "Overdue", "text"),
        ),
        rows=tuple(rows),
        empty="The spec declares no assumption.",
    )


def _complexity(context: PackContext) -> Table:
    spec = context.spec
    test_id, unit = ("bench.error_gain", "squared error saved") if spec.is_amount else ("bench.gain", "AUC")
    gain = next((r for r in context.rows if r.section == "E5" and r.test_id == test_id), None)
    rows: list[dict[str, Scalar]] = [
        {"aspect": "Learner", "champion": spec.learner.kind, "simple": _kind(context)},
        {"aspect": "Inputs", "champion": str(len(spec.features)), "simple": str(len(spec.features))},
    ]
    caption = "What complexity buys is not computed: there is no comparison with a simple challenger."
    if gain is not None and gain.statistic is not None:
        sample = {"out_of_time": "out-of-time", "holdout": "hold-out"}.get(gain.sample, gain.sample)
        size = printed(gain.statistic, "share") if spec.is_amount else f"{gain.statistic:+.3f}"
        caption = f"Complexity buys {size} {unit} ({sample}, {counted(gain.n, 'row')}; E5)."
        aspect = "Squared error saved" if spec.is_amount else "Gain in AUC"
        rows.append({"aspect": aspect, "champion": size, "simple": "0"})
    return Table(
        id="D1-T6",
        caption=caption,
        columns=columns(
            ("aspect", "Aspect", "text"), ("champion", "Champion", "text"), ("simple", "Simple challenger", "text")
        ),
        rows=tuple(rows),
    )


def _kind(context: PackContext) -> str:
    challenger = context.spec.challenger
    return "none" if challenger is None else challenger.learner.kind
