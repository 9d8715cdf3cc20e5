"""Which judge to use: promises that hold, panels, and choices tried elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trueup.errors import SettingsError
from trueup.evaluation.advice import advice
from trueup.evaluation.agreement import Decision, agreement
from trueup.judges.pairwise import Preference
from trueup.types import Pair, Query


def table(
    knows: dict[str, dict[str, float]], n: int, seed: int = 0, shared: float = 0.0
) -> dict[str, dict[str, list[Decision]]]:
    """Decisions of methods by what each knows on each set; margins are knows * y + noise."""
    draw = np.random.default_rng(seed)
    found: dict[str, dict[str, list[Decision]]] = {name: {} for name in knows}
    for source in next(iter(knows.values())):
        for method in knows:
            found[method][source] = []
        for at in range(n):
            y = int(draw.choice([-1, 1]))
            better = "first" if y > 0 else "second"
            pair = Pair(Query(f"{source} {at}", source=source), "aaa", "bbb", better)  # type: ignore[arg-type]
            common = draw.normal()
            for method, by_set in knows.items():
                noise = shared * common + math.sqrt(1 - shared**2) * draw.normal()
                odds = by_set[source] * y + noise
                p = 1 / (1 + math.exp(-odds))
                said = Preference("first" if p > 0.5 else "second", p, True)
                found[method][source].append(Decision(pair, said))
    return found


def test_the_best_of_many_coins_is_promised_no_more_than_a_coin() -> None:
    naive, honest, trusted = [], [], 0
    for seed in range(40):
        found = advice(table({f"coin {k}": {"a": 0.0} for k in range(10)}, 60, seed))
        assert found.agreement and found.honest
        naive.append(found.agreement.value)
        honest.append(found.honest.value)
        trusted += found.trust != "no"
    assert np.mean(naive) > 0.57
    assert np.mean(honest) == pytest.approx(0.5, abs=0.03)
    assert trusted <= 4


def test_one_that_knows_is_found_and_trusted_by_how_much_it_knows() -> None:
    coins = {f"coin {k}": {"a": 0.0, "b": 0.0} for k in range(4)}
    for knows, trust in ((0.13, "hardly"), (0.5, "somewhat"), (1.5, "well")):
        found = advice(table(coins | {"yes-no": {"a": knows, "b": knows}}, 600, seed=1))
        assert (found.method, found.trust) == ("yes-no", trust)
    assert found.text.startswith("Use yes-no: the probability of Yes over three phrasings")


def test_a_panel_of_judges_with_errors_of_their_own_beats_each() -> None:
    found = advice(table({f"judge {k}": {"a": 0.4} for k in range(4)}, 800))
    assert found.panel and found.agreement
    assert found.panel.low > found.agreement.value
    assert found.weights.keys() == {"judge 0", "judge 1", "judge 2", "judge 3"}


def test_a_choice_that_holds_on_one_set_only_is_seen_to_fail_elsewhere() -> None:
    knows = {"here": {"a": 1.0, "b": -0.2, "c": -0.2}, "there": {"a": 0.0, "b": 0.4, "c": 0.4}}
    found = advice(table(knows, 300))
    one = found.elsewhere["a"]
    assert (one.chosen, one.best) == ("there", "here")
    assert one.agreement and one.best_agreement and one.agreement.high < one.best_agreement.low
    assert found.elsewhere["b"].agreement


def test_code_and_length_are_no_advice_but_count_in_the_wider_panel() -> None:
    knows = {"yes-no": {"a": 0.1}, "checks": {"a": 2.0}, "longer": {"a": 1.0}}
    found = advice(table(knows, 300))
    assert found.method == "yes-no"
    assert found.panel is None
    assert found.panel_with_code and found.panel_with_code.low > 0.9
    with pytest.raises(SettingsError, match="None of the methods asks the model"):
        advice(table({"longer": {"a": 1.0}}, 30))


def test_a_judge_of_which_nothing_can_be_read_is_not_advised() -> None:
    some = table({"yes-no": {"a": 1.0}}, 30)
    mute = [Decision(one.pair, Preference(None, failed="mute")) for one in some["yes-no"]["a"]]
    found = advice({"yes-no": {"a": mute}})
    assert (found.trust, found.honest) == ("no", None)
    assert "none of its verdicts could be read" in found.text


def test_a_set_of_which_nothing_can_be_read_is_left_out_and_named() -> None:
    decisions = table({"yes-no": {"a": 9.0, "b": 9.0, "c": 9.0}}, 60)["yes-no"]
    for name in ("b", "c"):
        decisions[name] = [
            Decision(one.pair, Preference(None, failed="mute")) for one in decisions[name]
        ]
    found = advice({"yes-no": decisions})
    assert found.agreement and found.agreement.n == 60
    assert found.trust == "well" and found.text.startswith("Use yes-no")
    assert found.text.endswith("of several, expect 100% [94%, 100%]. Left out, since nothing "
                               "could be read: b, c.")  # fmt: skip
    assert found.elsewhere["b"].agreement is None and found.elsewhere["a"].agreement
    everything = [one for some in decisions.values() for one in some]
    assert found.agreement == agreement(everything, by_set=True).agreement
