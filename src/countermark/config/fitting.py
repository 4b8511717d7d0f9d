"""Do learner, tuning and calibration fit the kind of model?"""

from __future__ import annotations

from collections.abc import Iterator

from countermark.config.learner import Learner, ScorecardLearner
from countermark.config.problems import Problem
from countermark.config.search_space import space_problems
from countermark.config.spec import ModelSpec
from countermark.config.yamlfile import KeyPath


def fitting_problems(spec: ModelSpec, learner: Learner) -> Iterator[Problem]:
    """A learner, metric or calibration that needs two classes, and a search space that is not the learner's.

    Args:
        spec: The resolved spec.
        learner: The spec's learner, or its challenger's.
    """
    yield from learner_problems(spec, learner, ("learner",))
    continuous = spec.is_amount
    if continuous and spec.calibration.method != "none":
        yield Problem(
            ("calibration", "method"),
            f"calibration '{spec.calibration.method}' needs an outcome of two classes",
            expected="'calibration.method: none'",
            got=spec.calibration.method,
            hint=f"leave 'calibration' out for kind '{spec.kind}'",
        )
    if spec.tuning is None:
        return
    fitting = ("rmse",) if continuous else ("auc", "log_loss")
    if spec.tuning.metric not in fitting:
        yield Problem(
            ("tuning", "metric"),
            f"tuning metric '{spec.tuning.metric}' does not fit kind '{spec.kind}'",
            expected=" or ".join(f"'{name}'" for name in fitting),
            got=spec.tuning.metric,
            hint=f"set 'tuning.metric: {fitting[0]}'",
        )
    yield from space_problems(spec.tuning, spec.learner)


def learner_problems(spec: ModelSpec, learner: Learner, path: KeyPath) -> Iterator[Problem]:
    """A learner, or class weights, that need an outcome of two classes."""
    if not spec.is_amount:
        return
    if isinstance(learner, ScorecardLearner):
        yield Problem(
            (*path, "kind"),
            f"a scorecard needs an outcome of two classes, kind '{spec.kind}' has a continuous one",
            expected="'catboost' or 'logistic' (ridge regression)",
            got="scorecard",
            hint="set 'learner.kind: logistic'",
        )
    elif learner.class_weights != "none":
        yield Problem(
            (*path, "class_weights"),
            "class weights need an outcome of two classes",
            expected="'learner.class_weights: none'",
            got=str(learner.class_weights),
            hint="leave 'class_weights' out for a continuous outcome",
        )


def weight_problems(learner: Learner, path: KeyPath) -> Iterator[Problem]:
    """Class weights that weigh nothing, or less."""
    weights = None if isinstance(learner, ScorecardLearner) else learner.class_weights
    if isinstance(weights, tuple) and min(weights) <= 0:
        yield Problem(
            (*path, "class_weights"),
            "a class weight is not above 0",
            expected="the weights of a non-event and of an event, both above 0",
            got=", ".join(f"{weight:g}" for weight in weights),
        )
