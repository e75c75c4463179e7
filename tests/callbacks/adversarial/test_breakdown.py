"""Which attack broke what, by hand."""

from dataclasses import replace

import pandas as pd

from callbacks.adversarial.attack_set import attack_sets
from callbacks.adversarial.breakdown import breakdown_sentences, broken_by
from callbacks.adversarial.summary import summarise
from callbacks.results import ProbeResult
from callbacks.worst_case import FOUND_COLUMNS


def result(name: str, broken: dict[float, set[int]], images: int = 8) -> ProbeResult:
    """Broken images by radius; image 7 is wrong undisturbed."""
    rows = pd.DataFrame(
        {
            "index": i, "setting": name, "severity": round(1000 * radius), "value": radius,
            "label": i % 3, "prediction": (i + (i in hit)) % 3, "correct": float(i not in hit),
            "clean_correct": float(i != 7), "margin": 1.0 - 2 * (i in hit), "loss": 1.0,
            "worst_loss": 1.0, "confidence": 0.5, "brier": 0.5, "logsumexp": 0.0,
            "forwards": 1, "backwards": 0, "seconds": 0.0, "distance": 0.0, "success": False,
        }
        for radius, hit in broken.items() for i in range(images)
    )  # fmt: skip
    title = f"{name.upper()} (L∞)"
    return ProbeResult(name, "adversarial", title, "epsilon (L∞)", name, 0.2, rows)


def results() -> list[ProbeResult]:
    """Of the larger radius nothing counts; what broke at the smaller one is broken."""
    one = result("pgd", {0.1: {0, 1}, 0.2: {1, 2, 7}, 0.4: {3, 4, 5, 6}})
    return [one, result("square", {0.2: {2, 3}})]


def test_what_each_broke() -> None:
    (attacks,) = attack_sets(results())
    broken = broken_by(attacks)
    assert broken.index.tolist() == [*range(7)], "the eighth is wrong undisturbed"
    assert broken.index[broken["PGD"]].tolist() == [0, 1, 2]
    assert broken.index[broken["SQUARE"]].tolist() == [2, 3]
    (said,) = breakdown_sentences(attacks)
    assert said == (
        "Of 4 images broken in L∞ (7 are right undisturbed) each attack broke so many (in "
        "brackets: it alone): PGD 3 (2), SQUARE 2 (1)."
    )


def test_one_attack_or_none_broken_says_nothing() -> None:
    (alone,) = attack_sets(results()[:1])
    assert not list(breakdown_sentences(alone))
    (none,) = attack_sets([result("pgd", {0.2: set()}), result("square", {0.2: set()})])
    assert not list(breakdown_sentences(none))


def test_answers_under_attack_are_shown_class_by_class() -> None:
    shown = summarise(results(), None).answers
    (title,) = shown
    assert title == "Attacked, L∞ 0.2"
    rows = shown[title].set_index("index")
    assert rows.loc[0, "prediction"] == 1, "of the attack that broke it"
    assert rows.loc[5, "prediction"] == 2, "left right"


def test_a_search_for_the_least_change_broke_what_is_near_enough() -> None:
    """Its own radius is far from the usual one; image 6 is beyond that."""
    least = result("fmn", {0.05: set()})
    distance = least.rows["index"].map({4: 0.15, 5: 0.2, 6: 0.3}).fillna(float("inf"))
    found = {f"found_{name}": least.rows[name] for name in FOUND_COLUMNS}
    rows = least.rows.assign(minimum_distance=distance, **found)
    (attacks,) = attack_sets([*results(), replace(least, rows=rows)])
    broken = broken_by(attacks)
    assert broken.index[broken["FMN"]].tolist() == [4, 5]
    assert attacks.at_headline["correct"].tolist() == [0, 0, 0, 0, 0, 0, 1, 0]
    assert [one.name for one in attacks.measured(200)] == ["pgd", "square", "fmn"]
