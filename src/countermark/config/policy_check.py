"""Does the policy set every limit, and no other, and does it gate tests that exist?"""

from __future__ import annotations

from collections.abc import Iterator

from countermark.config.policy import Policy
from countermark.config.problems import Problem, nearest, one_of
from countermark.records.register import registered_limits, registered_tests


def policy_problems(policy: Policy) -> Iterator[Problem]:
    """Unknown, missing and unfit limits, and gating rules of unknown tests.

    Args:
        policy: The policy; paths are relative to it.
    """
    known = registered_limits()
    for name, limit in policy.limits.items():
        if name not in known:
            yield Problem(
                ("limits", name),
                f"policy '{policy.name}' sets a limit that no test is judged by: '{name}'",
                expected=one_of(known),
                got=f"'{name}'",
                hint=nearest(name, known) or "see docs/reference/sections.md for the tests and their limits",
            )
        elif limit.kind not in known[name].kinds:
            yield Problem(
                ("limits", name, "kind"),
                f"limit '{name}' of policy '{policy.name}' is of a kind that does not fit its number",
                expected=" or ".join(f"'kind: {kind}'" for kind in known[name].kinds),
                got=f"'kind: {limit.kind}'",
            )
    missing = [name for name in known if name not in policy.limits]
    if missing:
        yield Problem(
            ("limits",),
            f"policy '{policy.name}' does not set every limit that a test is judged by",
            expected="; ".join(f"'{name}: {{kind: {known[name].kinds[0]}, ...}}'" for name in missing[:3]),
            got=f"none of: {', '.join(missing)}" if len(missing) > 1 else f"no '{missing[0]}'",
            hint="add what is missing under 'limits'; no limit is hidden in code",
        )
    tests = registered_tests()
    for name in policy.gating:
        if name not in tests:
            yield Problem(
                ("gating", name),
                f"policy '{policy.name}' gates a test that does not exist: '{name}'",
                expected=one_of(tests),
                got=f"'{name}'",
                hint=nearest(name, tests) or "see docs/reference/sections.md for the tests",
            )
