"""Broken defences are called masked, with the right reason; sound networks are not."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from masked_networks import BROKEN, SOUND, Defended, digits, ordinary
from torch import Tensor, nn

from callbacks.adversarial import FGSM, PGD, AdversarialProbe, MaskingProbe, MinimumNormProbe
from callbacks.adversarial.attack_set import attack_sets
from callbacks.adversarial.masking import Beside, masking_beside, masking_verdict
from callbacks.adversarial.masking.checks import LEAST_STEPS, NAMES, number_of
from callbacks.adversarial.masking.probe import IMAGES
from callbacks.adversarial.minimum_norm import FMN
from callbacks.adversarial.summary import summarise
from callbacks.budget import Budget
from callbacks.measurement import Samples
from callbacks.outcomes import Outcomes
from callbacks.queries import Queries
from callbacks.results import ProbeResult
from callbacks.rows import outcome_columns
from datamodules import Digits, Preprocessing
from datamodules.errors import UserError
from lightning_modules import Classifier

REASONS = {
    "quantised input": "zero_gradient",
    "logits x 1e4": "scale_free_beats_cross_entropy",
    "shattered ReLU": "black_box_beats_white_box",
    "random resize": "random_answers",
    "k-WTA": "black_box_beats_white_box",
    "detached branch": "black_box_beats_white_box",
    "temperature": "scale_free_beats_cross_entropy",
    "JPEG": "zero_gradient",
    "label-leaking preprocessor": "zero_gradient",
    "dropout at test": "random_answers",
}
EPSILON = 0.2
"""At which PGD leaves 1 % of what the undefended network gets right."""


def some(classes: int = 10, count: int = 64) -> tuple[Tensor, Tensor]:
    """Images that no network was trained on."""
    image, label = digits()
    held_out = (torch.arange(len(label)) % 5 == 0) & (label < classes)
    return image[held_out][:count], label[held_out][:count]


def measured(probe: Any, network: nn.Module, image: Tensor, label: Tensor) -> pd.DataFrame:
    """Rows of a probe without a Trainer, whose radii and settings are known."""
    model, index = Queries(network, 32), torch.arange(len(label))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        samples = Samples(image, label, index, model(image))
        outcomes = Outcomes(probe.settings(), probe.extras)
        for setting, logits, extras, *_ in probe.measure(model, samples, probe.settings()):
            columns = {"index": index, **outcome_columns(logits, label), **extras}
            outcomes.update(setting, {**columns, "seconds": torch.zeros(len(label))})
    return outcomes.compute()


def looked_at(network: nn.Module, classes: int = 10, count: int = 64) -> pd.DataFrame:
    """Rows of a `MaskingProbe` for a network."""
    probe = MaskingProbe(steps=10, epsilons=[EPSILON])
    probe.epsilon, probe.classes = EPSILON, classes
    return measured(probe, network, *some(classes, count))


SLOW = ("k-WTA", "temperature", "JPEG", "dropout at test", "robust", "overconfident")
"""Left to the slow tests: others of their kind are in the ordinary ones."""


def named(table: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in table]


@pytest.mark.parametrize("name", named(BROKEN))
def test_broken_defences_are_flagged(name: str) -> None:
    count = 128 if name == "k-WTA" else 40  # which only hides a third of what Square breaks
    found = [reason.name for reason in masking_verdict(looked_at(BROKEN[name](), count=count))]
    assert REASONS[name] in found


@pytest.mark.parametrize("name", named(SOUND))
def test_sound_networks_are_not(name: str) -> None:
    count, classes = (100, 10) if name in SLOW else (40, 2 if name == "two classes" else 10)
    assert masking_verdict(looked_at(SOUND[name](), classes, count)) == []


def test_undefended_but_scaled_is_not_called_robust() -> None:
    """The bar: an undefended network times 100, which PGD alone calls robust."""
    scaled = Defended(behind=lambda z: 100 * z)
    pgd = attacked(PGD(10), scaled)
    assert pgd.at_headline["correct"].mean() > 0.7, "what would be reported"
    summary = summarise([pgd, as_result(looked_at(scaled))], None)
    note = summary.numbers["adversarial_acc"].note
    assert "gradient masking (zero_gradient, scale_free_beats_cross_entropy" in note
    assert "too high: " in note
    assert summary.numbers["masking_linf_overstated"].interval.value > 0.7
    assert any("So the robust accuracy is too high: " in said for said in summary.sentences)


# -- what is counted, by hand ----------------------------------------------------------------------


def by_hand(n: int = 100, broken: dict[str, int] | None = None, **looks: int) -> pd.DataFrame:
    """Rows in which each check breaks so many of the first images, none of which PGD breaks."""
    broken = {"box": n, **(broken or {})}
    tables = []
    for check in NAMES:
        first = {name: np.arange(n) < count for name, count in looks.items()}
        columns = {
            "index": np.arange(n), "severity": number_of(check), "value": float(number_of(check)),
            "setting": "masking_linf", "clean_correct": 1, "asked": 1, "correct": 1,
            "success": np.arange(n) < broken.get(check, 0), "differentiable": 1, "chance": 0.1,
            "label": np.arange(n) % 10, "prediction": np.arange(n) % 10, "confidence": 1.0,
            "epsilon": 0.3, "headline": 0.3, "zero_gradient": 0, "zero_margin": 0, "moved": 0,
            "forwards": 10.0, "backwards": 5.0, "seconds": 0.1,
        }  # fmt: skip
        tables.append(pd.DataFrame(columns | first))
    return pd.concat(tables, ignore_index=True)


COUNTS = [
    ({}, {}, []),
    # The least counts of 100 that shares of 5, 35, 15, 20 % reach in less than 1 % of cases.
    ({"fgsm": 11}, {}, []),
    ({"fgsm": 12}, {}, ["one_step_beats_iterative"]),
    ({"scale_free": 46}, {}, []),
    ({"scale_free": 47}, {}, ["scale_free_beats_cross_entropy"]),
    ({"longer": 25}, {}, ["more_steps_help"]),
    ({"square": 31}, {}, ["black_box_beats_white_box"]),
    ({"box": 82}, {}, []),
    ({"box": 81}, {}, ["large_radius_survives"]),
    ({}, {"zero_margin": 2, "zero_gradient": 2}, []),
    ({}, {"zero_margin": 6, "zero_gradient": 6}, ["zero_gradient"]),
    ({}, {"zero_gradient": 40}, []),  # a softmax of one that nothing gets round: PGD may be right
    ({}, {"zero_gradient": 50}, ["zero_gradient"]),
    ({"square": 12}, {"zero_gradient": 40}, ["zero_gradient"]),
    ({"square": 90}, {"moved": 100}, ["random_answers"]),
]


@pytest.mark.parametrize(("broken", "looks", "reasons"), COUNTS)
def test_counts(broken: dict[str, int], looks: dict[str, int], reasons: list[str]) -> None:
    assert [reason.name for reason in masking_verdict(by_hand(100, broken, **looks))] == reasons


def test_few_images_prove_nothing_and_wrong_ones_do_not_count() -> None:
    assert masking_verdict(by_hand(2, {"square": 2})) == []
    wrong = by_hand(50, {"square": 50}).assign(clean_correct=0)
    assert masking_verdict(wrong) == []
    (attacks,) = attack_sets([attacked(PGD(1), ordinary())])
    assert "unknown" in Beside(attacks, as_result(wrong)).note


def test_another_loss_is_no_sign_where_no_answer_is_sure() -> None:
    """As of a network that three steps of training have hardly moved: 5 of 5, and no masking."""
    rows = by_hand(20, {"scale_free": 20})
    assert [reason.name for reason in masking_verdict(rows)] == ["scale_free_beats_cross_entropy"]
    assert masking_verdict(rows.assign(confidence=0.2)) == []


@pytest.mark.parametrize("faint", [0.0, 1e-3])
def test_a_network_that_gives_one_answer_to_everything_hides_nothing(faint: float) -> None:
    class Collapsed(nn.Module):
        """Dead inside, or all but: a tenth of the images happen to be of its class."""

        def forward(self, x: Tensor) -> Tensor:
            return faint * x.flatten(1)[:, :10] + torch.eye(10)[3]

    rows = looked_at(Collapsed())
    assert rows["clean_correct"].sum() > 0
    assert masking_verdict(rows) == []
    of_one_class = rows[rows["label"] == 3]  # of which nobody knows whether it answers otherwise
    assert masking_verdict(of_one_class) != []


# -- where it stands -------------------------------------------------------------------------------


def as_result(rows: pd.DataFrame, name: str = "masking_linf") -> ProbeResult:
    return ProbeResult(name, "adversarial", "Gradient masking (L∞)", "none", "", None, rows)


def attacked(attack: Any, network: nn.Module) -> ProbeResult:
    """The rows of an attack on the same images."""
    probe = AdversarialProbe(attack, epsilons=[EPSILON])
    rows = measured(probe, network, *some())
    return ProbeResult(probe.name, "adversarial", probe.title, probe.unit, "", EPSILON, rows)


def test_who_is_given_a_companion() -> None:
    pgd, l2 = AdversarialProbe(PGD(30)), AdversarialProbe(FGSM(), "l2", epsilons=[0.5, "1"])
    budget = Budget(limit=512, steps=10, chunk=16, seed=3)
    one, other = masking_beside([pgd, l2], budget)
    assert isinstance(one, MaskingProbe)
    assert isinstance(other, MaskingProbe)
    assert (one.norm, one.epsilons, one.curve, one.steps) == ("linf", None, pgd.curve, 30)
    assert (other.norm, other.epsilons, other.steps) == ("l2", [0.5, 1.0], LEAST_STEPS)
    assert (one.limit, one.chunk, one.seed) == (IMAGES, 16, 3)
    assert masking_beside([pgd, one], budget) == []
    assert masking_beside([], budget) == []
    every = [MinimumNormProbe(norm=norm) for norm in ("linf", "l2", "l1", "l0")]
    found = [probe for probe in masking_beside(every, budget) if isinstance(probe, MaskingProbe)]
    assert [probe.norm for probe in found] == ["linf", "l2", "l1"], "L0 is no ball"
    assert [probe.steps for probe in found] == [FMN().steps] * 3


@pytest.mark.parametrize(("epsilons", "curve", "radius"), [
    (None, (0.25, 0.5, 1.0, 2.0), 0.2), (None, (0.25, 0.5), 0.1), ([0.1, 0.3], (), 0.3),
    ([0.1, 0.2, 0.3], (), 0.2),
])  # fmt: skip
def test_the_radius_is_that_of_the_headline(
    epsilons: list[float] | None, curve: tuple[float, ...], radius: float, classifier: Classifier
) -> None:
    probe = MaskingProbe(epsilons=epsilons, curve=curve)
    probe.prepare(classifier, Digits())
    assert probe.epsilon == pytest.approx(radius)


class Counting(nn.Module):
    """Answers by comparing, which has no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        bright = (x > 0.5).flatten(1).float()
        return torch.stack([bright[:, i::10].mean(1) for i in range(10)], 1)


def test_without_a_gradient_the_rest_is_measured_and_that_is_said(one_pass: Any) -> None:
    classifier = Classifier(
        Counting(),
        classes=10,
        preprocessing=Preprocessing(channels=1, mean=(0.0,), std=(1.0,)),
        architecture="test",
    )
    probe = MaskingProbe(steps=2)
    probe.prepare(classifier, Digits(limit=10))
    assert [check.name for check in probe.checks] == ["square"]
    rows = by_hand(30).assign(differentiable=0)
    rows = rows.loc[rows["severity"] == number_of("square")]
    assert [reason.name for reason in masking_verdict(rows)] == ["no_gradient"]


def test_turned_off_it_is_said_that_nobody_looked() -> None:
    summary = summarise([attacked(PGD(2), ordinary())], None)
    assert "gradient masking was not looked for" in summary.numbers["adversarial_acc"].note
    assert any("was not looked for" in said for said in summary.sentences)
    assert not any(name.startswith("masking") for name in summary.numbers)


def test_attacks_without_gradients_cannot_be_masked() -> None:
    """What blocks a gradient does not mislead an attack that asks for decisions or scores alone."""
    free = attacked(PGD(2), ordinary())
    free = replace(free, rows=free.rows.assign(backwards=0))
    blocked = as_result(by_hand(30).assign(differentiable=0))
    (attacks,) = attack_sets([free])
    beside = Beside(attacks, blocked)
    assert beside.reasons == []
    assert "no attack followed a gradient" in beside.note
    assert "so none could be masked" in next(beside.sentences(100.0))


def test_a_weak_attack_is_told_without_calling_it_masking() -> None:
    still = attacked(PGD(1, step_size=1e-6, random_start=False), ordinary())  # goes nowhere
    summary = summarise([still, as_result(looked_at(ordinary()))], None)
    note = summary.numbers["adversarial_acc"].note
    assert "no sign of gradient masking on" in note
    assert "yet too high: " in note


@pytest.mark.parametrize(("options", "message"), [
    ({"norm": "l3"}, "`norm`"), ({"steps": 0}, "`steps`"), ({"epsilons": [8]}, "at most 1"),
])  # fmt: skip
def test_what_makes_no_sense_ends_in_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MaskingProbe(**options)
