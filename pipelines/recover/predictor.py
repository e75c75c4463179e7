"""Can it be told from a damaged model how much a repair will bring back? Learnt and judged."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from callbacks.statistics import student
from pipelines.recover.features import FEATURES
from pipelines.recover.table import DRAW, assessed, bounded, damages_of, groups

_DAMAGED = ["subject", "damage", "severity", "seed"]
"""What a damaged model is known by."""
TARGETS = {"ratio": "recovery ratio", "acc_repaired": "accuracy after the repair"}
LEAST_KINDS = 4
"""Kinds of damage: one is held out, and two would say little of what kinds have in common."""
_KIND = ["damage"]
_TRIVIAL = ("nothing", "restore_all")
"""Their ratio is 0 or 1 by definition."""
_PENALTIES = np.logspace(-1, 5, 13)
"""The last one leaves nothing but the mean."""
_FOLDS = 5
"""Of kinds, to choose the penalty by."""


def held_out(values: np.ndarray, target: np.ndarray, kind: ArrayLike) -> tuple[np.ndarray, ...]:
    """Predicts each kind's numbers by what was learnt of the other kinds.

    Ridge regression (Hoerl & Kennard 1970) on ranks: a number counts by its place among those of
    the damages that were learnt from, so that a loss of 1e36 is no more than the largest. Its
    penalty is chosen by leaving out kinds of those once more.

    Args:
        values: `(n, features)`; infinite ones are the largest there are.
        target: `(n,)`.
        kind: `(n,)`; three different ones or more.

    Returns:
        `(n,)` predictions, and `(n,)` means of the target over the other kinds.
    """
    finite, kinds = np.nan_to_num(values, posinf=1e300), np.asarray(kind)
    predicted, mean = np.empty(len(target)), np.empty(len(target))
    for train, test in LeaveOneGroupOut().split(finite, target, kinds):
        learnt = finite[train], target[train]
        model = _model(_penalty(*learnt, kinds[train]), *learnt)
        predicted[test], mean[test] = model.predict(finite[test]), target[train].mean()
    return predicted, mean


def _model(penalty: Any, values: np.ndarray, target: np.ndarray) -> Any:
    ranks = QuantileTransformer(n_quantiles=len(target))
    return make_pipeline(ranks, StandardScaler(), Ridge(penalty)).fit(values, target)


def _penalty(values: np.ndarray, target: np.ndarray, kind: np.ndarray) -> float:
    """The one that errs least on kinds held out; all of them are tried at once, as targets."""
    targets = np.tile(target[:, None], len(_PENALTIES))
    away = np.empty_like(targets)
    folds = GroupKFold(min(_FOLDS, len(np.unique(kind))))
    for train, test in folds.split(values, target, kind):
        model = _model(_PENALTIES, values[train], targets[train])
        away[test] = np.abs(model.predict(values[test]) - targets[test])
    return float(_PENALTIES[away.mean(0).argmin()])


def cells(rows: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """Repairs whose outcome can be predicted, with the features of the damaged model.

    Args:
        rows: as `repaired` makes them.
        features: subject, damage, severity, seed and `FEATURES`, a line a damaged model.

    Returns:
        Assessed rows; without repairs that do not apply and those whose outcome is known.
    """
    applies = ~rows["status"].str.startswith(("not applicable", "out of memory"))
    wanted = pd.DataFrame(rows[applies & ~rows["strategy"].isin(_TRIVIAL)])
    return assessed(damages_of(wanted)).merge(features, on=_DAMAGED)


def predictions(rows: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """What is predicted of each repair of a kind of damage that was not learnt from.

    Args:
        rows: see `cells`.
        features: see `cells`.

    Returns:
        A line a repair and target: `DRAW`, `target`, `value`,
        `predicted` and `mean` (of the other kinds); strategies are learnt apart. No line where the
        damage is inside the noise and there is no ratio; of fewer than `LEAST_KINDS`, NaN.
    """
    if features.empty:
        return features
    tables = [
        _predicted(part, target)
        for _, part in groups(cells(rows, features), ["subject", "strategy", "optimizer"])
        for target in TARGETS
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _predicted(part: pd.DataFrame, target: str) -> pd.DataFrame:
    known = pd.DataFrame(part[np.isfinite(part[target])])
    predicted = mean = np.full(len(known), np.nan)
    if known["damage"].nunique() >= LEAST_KINDS:
        values = known[[*FEATURES]].to_numpy(float)
        predicted, mean = held_out(values, known[target].to_numpy(float), known["damage"])
    return known[DRAW].assign(target=target, value=known[target], predicted=predicted, mean=mean)


def errors(predicted: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute errors of the predictor and of the mean, and by how much they differ.

    Every kind of damage counts once, whatever its cells, and the intervals are Student's over
    kinds: draws and severities of one kind are no independent evidence, and a bootstrap of so few
    clusters is too narrow (Cameron, Gelbach & Miller 2008).

    Args:
        predicted: of `predictions`.

    Returns:
        A line a subject, target and strategy, before them one of all strategies ("all"): `kinds`,
        `cells`, `error`, `mean_error` and `difference` (paired; below 0 the predictor is better),
        each with its ends.
    """
    lines, known = [], pd.DataFrame(predicted[predicted["predicted"].notna()])
    for key, part in groups(known, ["subject", "target"]):
        strategies = [("all", part), *((k["strategy"], p) for k, p in groups(part, ["strategy"]))]
        lines += [{**key, "strategy": name, **_errors(own)} for name, own in strategies]
    return pd.DataFrame(lines)


def _errors(part: pd.DataFrame) -> dict[str, float]:
    away = part.assign(
        error=(part["predicted"] - part["value"]).abs(),
        mean_error=(part["mean"] - part["value"]).abs(),
    )
    by_kind = [own[["error", "mean_error"]].to_numpy().mean(0) for _, own in groups(away, _KIND)]
    error, mean_error = np.array(by_kind).T
    return {
        "kinds": len(by_kind), "cells": len(part),
        **bounded(student(error), 0.0, np.inf).columns("error"),
        **bounded(student(mean_error), 0.0, np.inf).columns("mean_error"),
        **student(error - mean_error).columns("difference"),
    }  # fmt: skip
