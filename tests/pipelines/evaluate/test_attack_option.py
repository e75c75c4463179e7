"""An attack on the command line: what is made of it, and combinations that make no sense."""

import pytest

from callbacks.adversarial import (
    APGD,
    ATTACKS,
    MINIMUM_NORM,
    SPATIAL,
    UNIVERSAL,
    AdversarialProbe,
    AutoAttack,
    MinimumNormProbe,
    Patch,
    SpatialProbe,
    UniversalProbe,
)
from callbacks.adversarial.minimum_norm import FMN
from callbacks.budget import Budget
from datamodules.errors import UserError
from pipelines.evaluate.attack_option import AttackOption

CLASSES = ["cat", "dog", "cow"]


def test_an_attack_with_everything() -> None:
    option = AttackOption("apgd", "l2", ["8/255", 0.5], steps=30, restarts=2, target="dog")
    probe = option.probe(Budget(limit=7, objective="loss"), CLASSES)
    assert isinstance(probe, AdversarialProbe)
    assert probe.attack == APGD(steps=30, restarts=2)
    assert probe.epsilons == (8 / 255, 0.5)
    assert (probe.norm, probe.targeted, probe.limit, probe.objective) == ("l2", 1, 7, "loss")


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_by_its_name_alone(name: str) -> None:
    probe = AttackOption(name).probe(Budget(steps=3), CLASSES)
    assert isinstance(probe, AdversarialProbe)
    assert probe.attack == ATTACKS[name](), "its own steps, not the preset's"
    assert probe.curve == (1.0,)


@pytest.mark.parametrize("name", MINIMUM_NORM)
def test_every_minimum_norm_attack_by_its_name_alone(name: str) -> None:
    probe = AttackOption(name).probe(Budget(steps=3, curve=(0.5, 1.0)), CLASSES)
    assert isinstance(probe, MinimumNormProbe)
    assert probe.attack == MINIMUM_NORM[name](), "its own steps, not the preset's"
    assert (probe.norm, probe.curve) == ("l2", (0.5, 1.0)), "radii cost nothing"


def test_a_minimum_norm_attack_with_everything() -> None:
    option = AttackOption("fmn", "l1", [3, 6.5], steps=30)
    probe = option.probe(Budget(limit=7), CLASSES)
    assert isinstance(probe, MinimumNormProbe)
    assert probe.attack == FMN(steps=30)
    assert (probe.norm, probe.epsilons, probe.limit) == ("l1", (3, 6.5), 7)


@pytest.mark.parametrize("name", [*SPATIAL, *UNIVERSAL])
def test_every_other_threat_by_its_name_alone(name: str) -> None:
    probe = AttackOption(name).probe(Budget(steps=3), CLASSES)
    assert isinstance(probe, SpatialProbe | UniversalProbe)
    assert probe.attack == {**SPATIAL, **UNIVERSAL}[name](), "its own steps, not the preset's"


def test_other_threats_with_everything() -> None:
    patch = AttackOption("patch", epsilon=[0.05], steps=7, target="dog").probe(Budget(), CLASSES)
    assert isinstance(patch, UniversalProbe)
    assert (patch.attack, patch.epsilons, patch.targeted) == (Patch(7), (0.05,), 1)
    spatial = AttackOption("spatial", epsilon=["10", 20]).probe(Budget(limit=7), CLASSES)
    assert isinstance(spatial, SpatialProbe)
    assert (spatial.epsilons, spatial.limit) == ((10, 20), 7)


def test_averaging_is_the_probes_and_of_rand_its_own() -> None:
    probe = AttackOption("pgd", eot=20).probe(Budget(), CLASSES)
    assert isinstance(probe, AdversarialProbe)
    assert (probe.eot, probe.name) == (20, "pgd_linf_eot")
    nearest = AttackOption("fmn", eot=3).probe(Budget(), CLASSES)
    assert isinstance(nearest, MinimumNormProbe)
    assert nearest.eot == 3
    rand = AttackOption("autoattack_rand", eot=5).probe(Budget(), CLASSES)
    assert isinstance(rand, AdversarialProbe)
    assert rand.attack == AutoAttack("rand", eot=5)
    assert rand.name == "autoattack_reduced_linf", "no other name for a smaller budget"


def test_nothing_said_is_nothing_made() -> None:
    assert AttackOption().probe(Budget(), CLASSES) is None


BAD = [
    ({"attack": "apgdd"}, "There is no attack 'apgdd'"),
    ({"norm": "l2"}, "`--norm` is of an attack: name one by `--attack`"),
    ({"attack": "apgd", "epsilon": [8]}, "at most 1"),
    ({"attack": "apgd", "steps": 0}, "`steps` of at least 1"),
    ({"attack": "square", "steps": 5}, "has no `steps`: leave `--steps` out"),
    ({"attack": "pgd", "norm": "l1"}, "one of linf, l2 for PGD, but got 'l1'"),
    ({"attack": "autoattack", "target": "dog"}, "takes no target"),
    ({"attack": "fmn", "target": "dog"}, "whichever class is nearest: leave `--target` out"),
    ({"attack": "fmn", "restarts": 2}, "has no `restarts`: leave `--restarts` out"),
    ({"attack": "ddn", "norm": "l1"}, "one of l2 for DDN, but got 'l1'"),
    ({"attack": "fmn", "norm": "l0", "epsilon": [0.5]}, "whole numbers of coordinates"),
    ({"attack": "pgd", "norm": "l0"}, "one of linf, l2 for PGD, but got 'l0'"),
    ({"attack": "spatial", "norm": "l2"}, "has no `norm`: leave `--norm` out"),
    ({"attack": "spatial", "target": "dog"}, "has no `target`"),
    ({"attack": "spatial", "eot": 5}, "has no `eot`: leave `--eot` out"),
    ({"attack": "patch", "eot": 5}, "has no `eot`"),
    ({"attack": "square", "eot": 5}, "Square follows no gradient"),
    ({"attack": "autoattack", "eot": 5}, "take autoattack_rand"),
    ({"eot": 5}, "`--eot` is of an attack"),
    ({"attack": "spatial", "steps": 5}, "has no `steps`"),
    ({"attack": "patch", "norm": "l2"}, "one of patch for Adversarial patch"),
    ({"attack": "universal", "norm": "l1"}, "one of linf, l2 for Universal"),
    ({"attack": "patch", "target": "next"}, "One pattern for all images has one target"),
    ({"attack": "pgd", "target": "nearest"}, "next, least_likely, random or the number"),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_senseless_combinations_end_in_a_sentence(given: dict, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        AttackOption(**given).probe(Budget(), CLASSES)
