"""The one table of sections: what computes each, what writes it, and the line printed where nothing does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from countermark.config.policy import ModelKind
from countermark.validation import appendices, identity, signoff
from countermark.validation.amount_benchmark import amount_benchmark
from countermark.validation.amount_groups import without_decision
from countermark.validation.amount_level import amount_level
from countermark.validation.amount_outcome import amount_outcome
from countermark.validation.amount_ranking import amount_ranking
from countermark.validation.benchmark import benchmark
from countermark.validation.calibration import calibration
from countermark.validation.context import PackContext
from countermark.validation.crosswalk import crosswalk_section
from countermark.validation.data_quality import data_quality
from countermark.validation.development import development_evidence, development_section
from countermark.validation.discrimination import discrimination
from countermark.validation.drivers import drivers
from countermark.validation.effects import effect_shapes
from countermark.validation.fairness import TESTS as DISPARITY_TESTS
from countermark.validation.fairness import outcome_disparity
from countermark.validation.fairness_calibration import TESTS as GROUP_TESTS
from countermark.validation.fairness_calibration import group_calibration
from countermark.validation.fairness_errors import TESTS as ERROR_TESTS
from countermark.validation.fairness_errors import error_rate_parity
from countermark.validation.features_review import review_evidence, review_section
from countermark.validation.findings import findings_section
from countermark.validation.governance_scope import inventory_section, purpose_section, scope_section, use_evidence
from countermark.validation.inputs import EvidenceInput, SectionEvidence
from countermark.validation.limitations import limitations_section
from countermark.validation.lineage import lineage_evidence, lineage_section
from countermark.validation.outcome import outcome_evidence, outcome_section
from countermark.validation.reasons import reasons
from countermark.validation.representativeness import representativeness
from countermark.validation.stability import stability

Compute: TypeAlias = Callable[[EvidenceInput], SectionEvidence]
Write: TypeAlias = Callable[[PackContext, SectionEvidence | None], SectionEvidence]


@dataclass(frozen=True, slots=True)
class SectionEntry:
    """One section of the standard.

    Attributes:
        code: Section code.
        title: Printed title.
        short: Title on the light strip of page 2.
        holds: Which evidence the section holds; printed where this build does not compute it.
        compute: Evidence from samples and scorer; part of the evidence stage.
        write: Prose, tables and rows from the spec and the evidence; part of the pack stage.
        when: ``body`` sections are written first, ``last`` ones see findings and opinion.
        not_applicable: Reason by kind for which the section does not apply.
        amounts: Which evidence the section holds for kinds lgd and ead, where it is other evidence.
    """

    code: str
    title: str
    short: str
    holds: str
    compute: Compute | None = None
    write: Write | None = None
    when: Literal["body", "last"] = "body"
    not_applicable: Mapping[ModelKind, str] = field(default_factory=dict)
    amounts: str | None = None

    @property
    def absent_line(self) -> str:
        """The line printed where this build computes nothing."""
        return f"This section will hold {self.holds}. This build does not compute it."

    def inapplicable_line(self, kind: ModelKind) -> str | None:
        """'Not applicable to this kind, because ...', or None where the section applies."""
        reason = self.not_applicable.get(kind)
        return None if reason is None else f"Not applicable to kind '{kind}', because {reason}."


def by_outcome(events: Compute, amounts: Compute) -> Compute:
    """One section for both kinds of outcome: events, and amounts (kinds lgd and ead)."""

    def compute(inputs: EvidenceInput) -> SectionEvidence:
        return amounts(inputs) if inputs.spec.is_amount else events(inputs)

    return compute


_NO_DECLINE: Mapping[ModelKind, str] = {
    "lgd": "it declines nobody, so there is no reason to give",
    "ead": "it declines nobody, so there is no reason to give",
    "propensity": "it chooses whom to address and declines nobody",
}

SECTIONS: tuple[SectionEntry, ...] = (
    SectionEntry(
        "A1", "Cover and identity", "Identity", "the identity of model and pack", write=identity.identity_section
    ),
    SectionEntry(
        "A2", "Executive summary", "Summary", "one page for a committee", write=signoff.summary_section, when="last"
    ),
    SectionEntry(
        "A3",
        "Control and contents",
        "Contents",
        "versions, reading guide, abbreviations",
        write=identity.control_section,
        when="last",
    ),
    SectionEntry("B1", "Inventory and tiering", "Tiering", "the tier and its reasons", write=inventory_section),
    SectionEntry(
        "B2",
        "Purpose, permitted use and limits",
        "Use and limits",
        "uses and the live value of every use limit",
        compute=use_evidence,
        write=purpose_section,
    ),
    SectionEntry(
        "B3", "Scope and independence", "Independence", "who did what, planned against done", write=scope_section
    ),
    SectionEntry(
        "B4", "Regulatory crosswalk", "Regulation", "clauses and the evidence relevant to them", write=crosswalk_section
    ),
    SectionEntry(
        "C1",
        "Data lineage",
        "Lineage",
        "sources, exclusions, reconciliation and digests",
        compute=lineage_evidence,
        write=lineage_section,
    ),
    SectionEntry(
        "C2", "Data quality", "Data quality", "completeness, validity, duplicates and overlap", compute=data_quality
    ),
    SectionEntry(
        "C3",
        "Outcome definition and sampling",
        "Outcome",
        "definition, maturity, rates by cohort",
        compute=by_outcome(outcome_evidence, amount_outcome),
        amounts="definition, maturity, means by cohort, amounts below 0 and above the exposure",
        write=outcome_section,
    ),
    SectionEntry(
        "C4",
        "Population representativeness",
        "Population",
        "development against applied population",
        compute=representativeness,
    ),
    SectionEntry(
        "D1",
        "Development choices",
        "Development",
        "parameters, tuning, assumptions",
        compute=development_evidence,
        write=development_section,
    ),
    SectionEntry(
        "D2",
        "Feature review",
        "Inputs",
        "a card per input, leakage and prohibited inputs",
        compute=review_evidence,
        write=review_section,
    ),
    SectionEntry(
        "D3",
        "Replication",
        "Replication",
        "an independent rerun from raw data with original and rebuilt digests; it is a release gate and an appendix of "
        "the final document, not part of the pack that it reruns",
    ),
    SectionEntry(
        "E1",
        "Discrimination",
        "Discrimination",
        "AUC with intervals, KS, CAP, by segment and vintage",
        compute=by_outcome(discrimination, amount_ranking),
        amounts="generalised AUC with intervals (Somers' D), Spearman, loss capture, by segment and vintage",
    ),
    SectionEntry(
        "E2",
        "Calibration",
        "Calibration",
        "Jeffreys per grade and portfolio, reliability, slope, Brier",
        compute=by_outcome(calibration, amount_level),
        amounts="t-tests of realised against estimated per pool and portfolio, coverage, slope, size of errors",
    ),
    SectionEntry(
        "E3", "Stability", "Stability", "PSI and CSI with sampling-aware limits, concentration", compute=stability
    ),
    SectionEntry(
        "E4",
        "Kind-specific outcomes",
        "Outcomes by kind",
        "IFRS 9 term structure, staging and ECL for pd; downturn, loss in default and floors for lgd; draw-down near "
        "default for ead; capacity metrics for fraud and aml; profit and uplift for propensity",
    ),
    SectionEntry(
        "E5",
        "Benchmark and challenger",
        "Challenger",
        "champion against a simple challenger, swap sets",
        compute=by_outcome(benchmark, amount_benchmark),
        amounts="champion against a simple challenger by squared and absolute error and gAUC",
    ),
    SectionEntry(
        "E6",
        "Robustness and sensitivity",
        "Robustness",
        "noise, missing values injected, weak segments, seeds, adversarial edits",
    ),
    SectionEntry("E7", "Impact", "Impact", "risk-weighted assets, losses and approvals before and after"),
    SectionEntry(
        "F1",
        "Outcome disparity",
        "Disparity",
        "adverse impact ratios with intervals and score differences",
        compute=by_outcome(
            outcome_disparity, without_decision("F1", DISPARITY_TESTS, "Who gets the favourable outcome")
        ),
        amounts="Not evaluated, because nobody gets a favourable outcome by an estimate",
    ),
    SectionEntry(
        "F2",
        "Error parity",
        "Error parity",
        "equal opportunity and equalised odds by group",
        compute=by_outcome(
            error_rate_parity, without_decision("F2", ERROR_TESTS, "Whether error rates are equal between groups")
        ),
        amounts="Not evaluated, because there is no event to err about",
    ),
    SectionEntry(
        "F3",
        "Calibration within groups",
        "Group calibration",
        "observed over expected within each group",
        compute=by_outcome(
            group_calibration,
            without_decision("F3", GROUP_TESTS, "Whether the same score means the same risk in every group"),
        ),
        amounts="Not evaluated, because group tests of amounts are not built",
    ),
    SectionEntry("F4", "Intersections", "Intersections", "crossed groups with suppressed cells listed"),
    SectionEntry("F5", "Proxies", "Proxies", "association of each input with each group, conditional disparity"),
    SectionEntry("F6", "Less discriminatory alternatives", "Alternatives", "a search with every candidate reported"),
    SectionEntry(
        "G1", "Global drivers", "Drivers", "importance with intervals and the additivity gate", compute=drivers
    ),
    SectionEntry(
        "G2",
        "Local explanations and reasons",
        "Reasons",
        "reason-code fidelity and worked cases",
        compute=reasons,
        not_applicable=_NO_DECLINE,
    ),
    SectionEntry(
        "G3",
        "Effect shapes and monotonicity",
        "Effects",
        "accumulated local effects and direction violations",
        compute=effect_shapes,
    ),
    SectionEntry(
        "G4", "Agreement and stability of explanations", "Agreement", "rank agreement between methods and reruns"
    ),
    SectionEntry("H1", "Implementation check", "Implementation", "score parity of production and development"),
    SectionEntry(
        "H2", "Use, cut-offs and overrides", "Overrides", "override rates, their outcomes and direction by group"
    ),
    SectionEntry("H3", "Monitoring plan", "Monitoring", "metrics, limits, actions, owners and the last readings"),
    SectionEntry("H4", "Oversight and security", "Oversight", "human review points, access, tamper evidence"),
    SectionEntry(
        "I1",
        "Limitations and compensating controls",
        "Limitations",
        "limitations with size and control",
        write=limitations_section,
    ),
    SectionEntry(
        "I2",
        "Findings log",
        "Findings",
        "findings with severity, owner and due date",
        write=findings_section,
        when="last",
    ),
    SectionEntry(
        "I3",
        "Opinion and sign-off",
        "Opinion",
        "opinion, conditions and signatures",
        write=signoff.signoff_section,
        when="last",
    ),
    SectionEntry(
        "J1", "Test register", "Register", "every test result", write=appendices.register_section, when="last"
    ),
    SectionEntry(
        "J2",
        "Threshold policy and formulas",
        "Policy",
        "limits, gating and formulas",
        write=appendices.policy_section,
        when="last",
    ),
    SectionEntry("J3", "Run manifest and lock", "Manifest", "versions, seeds, lock", write=appendices.manifest_section),
    SectionEntry("J4", "Data dictionary", "Dictionary", "columns under contract", write=appendices.dictionary_section),
    SectionEntry("J5", "Glossary", "Glossary", "terms", write=appendices.glossary_section),
    SectionEntry("J6", "Reproduction", "Reproduction", "commands", write=appendices.reproduction_section),
    SectionEntry("J7", "Changes since the last pack", "Changes", "what changed since the last published pack"),
)


def section_codes() -> tuple[str, ...]:
    """Every section code in the order of the pack."""
    return tuple(entry.code for entry in SECTIONS)
