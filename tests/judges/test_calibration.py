"""Curves from margins to probabilities: rising, symmetric, and what scikit-learn finds."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.errors import DataError
from trueup.judges.calibration import Calibration, fit, fit_weights, isotonic, log_loss, platt

some = st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=60)
has_sklearn = importlib.util.find_spec("sklearn") is not None
with_sklearn = pytest.mark.skipif(not has_sklearn, reason="scikit-learn is not installed")


@settings(deadline=None)
@given(some)
def test_curves_rise_and_exchanging_the_replies_exchanges_the_answer(
    rows: list[tuple[float, bool]],
) -> None:
    margins, labels = [m for m, _ in rows], [y for _, y in rows]
    for curve in (platt(margins, labels), isotonic(margins, labels)):
        values = [curve(m) for m in np.linspace(0.001, 6, 30)]
        assert values == sorted(values)
        assert values[0] >= 0.5 and values[-1] <= 1
        assert curve(-1.7) == pytest.approx(1 - curve(1.7))
        assert curve(0.0) == curve(-0.0) == 0.5
        assert Calibration.from_dict(curve.to_dict()) == curve


def test_without_ties_a_tie_is_still_a_half() -> None:
    curve = isotonic([1.0] * 10, [True] * 7 + [False] * 3)
    assert [curve(m) for m in (-2.0, -1.0, 0.0, 0.5, 1.0, 2.0)] == pytest.approx(
        [0.3, 0.3, 0.5, 0.6, 0.7, 0.7]
    )


def test_few_labels_get_a_slope_and_many_a_curve() -> None:
    rows = [(1.0, True), (-1.0, False), (2.0, True)]
    assert fit([m for m, _ in rows], [y for _, y in rows]).kind == "platt"
    assert fit([m for m, _ in rows] * 100, [y for _, y in rows] * 100).kind == "isotonic"


def test_a_judge_that_knows_nothing_or_is_wrong_gets_the_flat_line() -> None:
    margins = [1.0, -1.0, 2.0, -2.0] * 20
    wrong = [False, True, False, True] * 20
    assert platt(margins, wrong)(3.0) == 0.5
    assert isotonic(margins, wrong)(3.0) == 0.5
    assert platt([], [])(1.0) == 0.5


@with_sklearn
def test_isotonic_is_what_scikit_learn_finds() -> None:
    from sklearn.isotonic import IsotonicRegression

    draw = np.random.default_rng(0)
    margins = draw.normal(size=400)
    labels = draw.random(400) < 1 / (1 + np.exp(-1.5 * margins))
    both = np.concatenate([margins, -margins])
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    theirs.fit(both, np.concatenate([labels, ~labels]).astype(float))
    ours = isotonic(margins.tolist(), labels.tolist())
    places = np.abs(margins)
    found = np.array([ours(place) for place in places])
    assert np.allclose(found, np.maximum(0.5, theirs.predict(places)), atol=0.02)


@with_sklearn
def test_weights_are_those_of_ridge_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    draw = np.random.default_rng(1)
    margins = draw.normal(size=(300, 3)) * [1.0, 5.0, 0.1]
    labels = draw.random(300) < 1 / (1 + np.exp(-(margins @ [1.0, 0.1, 0.0])))
    spread = np.sqrt((margins**2).mean(axis=0))
    theirs = LogisticRegression(fit_intercept=False, C=1.0, tol=1e-10)
    theirs.fit(margins / spread, labels)
    ours = fit_weights(margins, labels.tolist())
    assert np.allclose(ours * spread, theirs.coef_[0], atol=1e-4)


def test_weights_do_not_depend_on_scales_and_missing_margins_say_nothing() -> None:
    draw = np.random.default_rng(2)
    margins = draw.normal(size=(200, 2))
    labels = (margins[:, 0] + 0.5 * draw.normal(size=200) > 0).tolist()
    weights = fit_weights(margins, labels)
    assert np.allclose(fit_weights(margins * [10.0, 0.5], labels), weights / [10.0, 0.5])
    unread = np.column_stack([margins[:, 0], np.full(200, np.nan)])
    assert fit_weights(unread, labels)[1] == 0.0


def test_log_loss_of_a_coin() -> None:
    assert log_loss([0.5, 0.5], [True, False]) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    "found", [{}, {"kind": "magic", "margins": [1], "shares": [], "n": 3}, {"kind": "platt"}]
)
def test_what_is_no_calibration_is_refused(found: dict[str, object]) -> None:
    with pytest.raises(DataError, match="measure again"):
        Calibration.from_dict(found)
