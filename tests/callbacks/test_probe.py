"""What every probe promises, checked for every probe of every family: a new one gets this free."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from callbacks import (
    AdaptationProbe,
    AdversarialProbe,
    Budget,
    CameraProbe,
    Clean,
    DamageProbe,
    ExplanationProbe,
    Measurement,
    Probe,
    Queries,
    Samples,
    Setting,
    probe_entries,
)
from callbacks.adversarial import (
    FGSM,
    SPSA,
    AutoAttack,
    HopSkipJump,
    MaskingProbe,
    MinimumNormProbe,
    Smoothing,
    Spatial,
    SpatialProbe,
    Transfer,
    UniversalProbe,
)
from callbacks.corruption import CORRUPTIONS, CorruptionProbe
from callbacks.damage import Zero
from callbacks.digests import weights_digest
from callbacks.interpretability import Rise
from callbacks.missing import MissingProbe
from callbacks.stability import StabilityProbe
from datamodules import Digits
from datamodules.errors import UserError
from lightning_modules import Classifier

SameRows = Callable[[pd.DataFrame, pd.DataFrame], None]

BUDGET = Budget(steps=3, restarts=2, curve=(0.5, 1.0), chunk=16)
# Attacks, corruptions, damages and explainers have contracts of their own; here some do for all.
SOME = ("fgsm", "pgd", "autoattack", "spsa", "hopskipjump", "transfer", "masking", "zero", "noise")
SOME += (
    "spatial_random",
    "universal",
    "patch",
    "fmn",
    "gaussian_noise",
    "glass_blur",
    "missing_rows",
    "missing_salient_patches",
)
SOME += ("stability_translate", "stability_sensor_noise", "bit_flip", "prune", "bit_flip_attack")
SOME += ("camera_rotation", "camera_rain")
SOME += ("bit_flip_by_layer", "explain_gradient", "explain_deeplift", "explain_lrp", "explain_rise")
SOME += ("adaptation_batch_norm", "adaptation_tent")
LARGE = (AdversarialProbe, MaskingProbe, CorruptionProbe, MissingProbe, StabilityProbe, CameraProbe)
LARGE += (AdaptationProbe, MinimumNormProbe, DamageProbe, ExplanationProbe)
LARGE += (SpatialProbe, UniversalProbe)
NAMES = [
    name for name, entry in probe_entries().items() if name in SOME or entry.probe not in LARGE
]
EACH = pytest.mark.parametrize("name", NAMES)
BRIEF = {  # in moments, not minutes
    "autoattack": AutoAttack(steps=2, queries=5, targets=2),
    "spsa": SPSA(steps=2, samples=4),
    "hopskipjump": HopSkipJump(steps=2, samples=6, starts=5),
    "spatial": Spatial(angles=3, shifts=3),
    "transfer": Transfer(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), steps=2),
}
# One probe of each class, for what the base class does and no algorithm can change.
FIRST = {entry.probe: name for name, entry in reversed(probe_entries().items())}
OF_EACH_CLASS = pytest.mark.parametrize("name", list(FIRST.values()))
_ALONE: dict[str, pd.DataFrame] = {}
_TOGETHER: dict[str, pd.DataFrame] = {}


def made(name: str, **changes: int) -> Probe:
    probe = probe_entries()[name](BUDGET)
    if name in BRIEF:
        probe.attack = BRIEF[name]  # type: ignore[attr-defined]
    if name == "smoothing":
        probe.smoothing = Smoothing(samples=20, selection=5)  # type: ignore[attr-defined]
    if name == "masking":
        probe.steps = 2  # type: ignore[attr-defined]
    if name == "explain_rise":
        probe.explainer = Rise(draws=20)  # type: ignore[attr-defined]
    if isinstance(probe, AdaptationProbe):
        probe.corruptions, probe.severities, probe.batch = ("fog",), (3.0,), 8
    for attribute, value in changes.items():
        setattr(probe, attribute, value)
    return probe


@pytest.fixture
def alone(one_pass: Callable) -> Callable[[str], pd.DataFrame]:
    """The rows of a probe measured by itself, which most tests compare with; measured once."""

    def rows(name: str) -> pd.DataFrame:
        if name not in _ALONE:
            (_ALONE[name],) = one_pass(made(name)).values()
        return _ALONE[name]

    return rows


class Backwards(Digits):
    """The same test images in the opposite order."""

    def test_dataloader(self) -> DataLoader:
        loader = super().test_dataloader()
        size = len(loader.dataset)  # type: ignore[arg-type]
        batches = [list(range(size))[::-1][i : i + 5] for i in range(0, size, 5)]
        collate = loader.collate_fn
        return DataLoader(loader.dataset, batch_sampler=batches, collate_fn=collate)


@EACH
@pytest.mark.parametrize("batch_size", [1, 7])
def test_rows_do_not_depend_on_the_batch_size(
    name: str, batch_size: int, one_pass: Callable, same_rows: SameRows, alone: Callable
) -> None:
    same_rows(*one_pass(made(name), batch_size=batch_size).values(), alone(name))


@EACH
def test_rows_do_not_depend_on_order_pool_or_other_probes(
    name: str, one_pass: Callable, same_rows: SameRows, alone: Callable
) -> None:
    expected = alone(name)
    if not _TOGETHER:  # all probes in one pass, in the opposite order
        _TOGETHER.update(one_pass(*map(made, NAMES[::-1])))
    same_rows(_TOGETHER[made(name).name], expected)
    same_rows(*one_pass(made(name), data=Backwards).values(), expected)
    same_rows(*one_pass(made(name, pool=1)).values(), expected)


@EACH
def test_a_limit_measures_a_subset_of_the_same_rows(
    name: str, one_pass: Callable, same_rows: SameRows, alone: Callable
) -> None:
    everything = alone(name)
    (some,) = one_pass(made(name, limit=12)).values()
    assert some["index"].nunique() == 12
    if isinstance(made(name), AdaptationProbe):  # answers that depend on who else is asked about
        return
    mask = everything["index"].isin(some["index"])
    same_rows(some, everything[mask].reset_index(drop=True))


@EACH
def test_the_classifier_is_given_back_as_it_was(
    name: str, one_pass: Callable, classifier: Classifier
) -> None:
    classifier.model[0].register_forward_hook(lambda *_: None)
    before = snapshot(classifier)
    one_pass(made(name))
    assert snapshot(classifier) == before


class Clumsy(Clean):
    """Leaves everything in disorder, then fails."""

    def measure(self, model: object, samples: object, settings: object) -> Iterator[Measurement]:
        module = model.model  # type: ignore[attr-defined]
        module.train().requires_grad_(True)
        module.model[0].register_forward_hook(lambda *_: None)
        torch.manual_seed(1), np.random.seed(1), random.seed(1)
        raise RuntimeError("inside a probe")
        yield


def test_the_classifier_is_given_back_also_after_an_exception(
    one_pass: Callable, classifier: Classifier
) -> None:
    before = snapshot(classifier)
    with pytest.raises(RuntimeError, match="inside a probe"):
        one_pass(Clumsy(chunk=16))
    assert snapshot(classifier) == before


def snapshot(classifier: Classifier) -> list:
    return [
        weights_digest(classifier),
        [part.training for part in classifier.modules()],
        [(p.requires_grad, p.grad) for p in classifier.parameters()],
        [list(part._forward_hooks) for part in classifier.modules()],
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
        random.getstate(),
    ]


@EACH
def test_what_is_on_disk_is_not_measured_again(
    name: str, one_pass: Callable, same_rows: SameRows, alone: Callable, tmp_path: Path
) -> None:
    expected = alone(name)
    one_pass(made(name, limit=12), resume=tmp_path)
    second = made(name, pool=1)
    (rows,) = one_pass(second, resume=tmp_path, batch_size=7).values()
    same_rows(rows, expected)
    third = made(name)
    (rows,) = one_pass(third, resume=tmp_path).values()
    same_rows(rows, expected)
    assert third._model.forwards == 0
    if name != "clean":
        assert 0 < second._model.forwards < expected["forwards"].sum() + len(expected)


@OF_EACH_CLASS
def test_fresh_replaces_what_is_on_disk(name: str, one_pass: Callable, tmp_path: Path) -> None:
    one_pass(made(name), resume=tmp_path)
    for file in tmp_path.glob("*/*.parquet"):  # as if an older version had measured otherwise
        rows = pd.read_parquet(file)
        rows.assign(confidence=rows["confidence"] / 2).to_parquet(file, index=False)
    wrong = one_pass(made(name), resume=tmp_path)[made(name).name]
    probe = made(name)
    probe.fresh = True
    (right,) = one_pass(probe, resume=tmp_path).values()
    assert not np.allclose(right["confidence"], wrong["confidence"])
    (again,) = one_pass(made(name), resume=tmp_path).values()
    assert np.allclose(again["confidence"], right["confidence"], equal_nan=True), "read again"


@OF_EACH_CLASS
def test_other_weights_are_other_rows(
    name: str, one_pass: Callable, classifier: Classifier, tmp_path: Path
) -> None:
    one_pass(made(name), resume=tmp_path)
    with torch.no_grad():
        classifier.model[0].weight[0, 0, 0, 0] += 1e-3
    probe = made(name)
    one_pass(probe, resume=tmp_path)
    assert sum(1 for folder in tmp_path.iterdir()) == 2 * len(probe.settings())


@EACH
def test_another_precision(name: str, one_pass: Callable) -> None:
    (rows,) = one_pass(made(name), precision="bf16-mixed").values()
    assert np.isfinite(rows["loss"]).all() or "due" in rows  # damage may end in infinity
    keys = [name for name in ("severity", "draw") if name in rows]
    assert len(rows) == 23 * len(rows[keys].drop_duplicates())


@OF_EACH_CLASS
def test_without_inference_mode(
    name: str, one_pass: Callable, same_rows: SameRows, alone: Callable
) -> None:
    same_rows(*one_pass(made(name), inference_mode=False).values(), alone(name))


@pytest.mark.ddp
@pytest.mark.parametrize("limit", [23, 1017])
def test_two_processes_give_the_same_rows(
    limit: int, one_pass: Callable, same_rows: SameRows, tmp_path: Path
) -> None:
    """Fork gives two ranks in a third of a second; rank 0 leaves its table on disk."""
    names = NAMES if limit == 23 else ["clean", "pgd"]
    expected = one_pass(*map(made, names), limit=limit)
    probes = [Leaving(made(name), tmp_path / name) for name in names]
    threads = torch.get_num_threads()
    one_pass(
        *[leaving.probe for leaving in probes],
        limit=limit,
        strategy="ddp_fork",
        devices=2,
        plugins=[],
    )
    torch.set_num_threads(threads)
    for name in names:
        same_rows(pd.read_parquet(tmp_path / name), expected[made(name).name])


class Inverted(Probe):
    """The pages' example of a probe of one's own."""

    family, title, unit, name = "corruption", "Inverted", "none", "inverted"

    def settings(self) -> tuple[Setting, ...]:
        return (Setting("inverted", 1, 1.0),)

    def measure(self, model: Queries, samples: Samples, settings: object) -> Iterator[Measurement]:
        yield Measurement(settings[0], model(1 - samples.image))  # type: ignore[index]


def test_the_example_of_the_readme(one_pass: Callable, classifier: Classifier) -> None:
    (rows,) = one_pass(Inverted(chunk=16)).values()
    data = Digits(limit=23)
    data.setup("test")
    image = torch.stack([batch.image for batch in data.test_dataloader()][:1])[0]
    expected = classifier(1 - image.float() / (255 if image.max() > 1 else 1)).argmax(1)
    assert rows["prediction"].tolist()[: len(expected)] == expected.tolist()


class Leaving:
    """Makes a probe write its table when it is finished, because forked memory is lost."""

    def __init__(self, probe: Probe, file: Path) -> None:
        self.probe = probe
        finish = probe.on_test_epoch_end

        def finished(trainer: object, module: object) -> None:
            finish(trainer, module)  # type: ignore[arg-type]
            if trainer.is_global_zero:  # type: ignore[attr-defined]
                probe.rows.to_parquet(file)

        probe.on_test_epoch_end = finished  # type: ignore[method-assign]


REFUSED = [
    ({"limit": 0}, "Expected `limit` to be at least 1, but got 0."),
    ({"chunk": -1}, "Expected `chunk` to be at least 1, but got -1."),
    ({"pool": 0}, "Expected `pool` to be at least 1, but got 0."),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Clean(**arguments)


TWICE = [
    DamageProbe(Zero(), [0.3, 0.3, 0.1], draws=1),
    CorruptionProbe(CORRUPTIONS["fog"](), [3, 1, 3]),
    AdversarialProbe(FGSM(), epsilons=[0.1, "1/10", 0.2]),
]


@pytest.mark.parametrize("probe", TWICE, ids=lambda probe: type(probe).__name__)
def test_a_severity_named_twice_is_measured_once(probe: Probe) -> None:
    assert len(probe.settings()) == len(set(probe.settings())) == 2


def test_refuses_precision_that_rounds_the_images(one_pass: Callable) -> None:
    with pytest.raises(UserError, match="it rounds the images themselves"):
        one_pass(Clean(chunk=16), precision="bf16-true")
