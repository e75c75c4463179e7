"""The damage probe against damaged models in the tutorial way, and its cached prefix."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from callbacks.damage import BitFlip, BitFlipAttack, DamageProbe, Noise, Selection, Zero
from callbacks.damage.prefix import Prefix
from callbacks.damage.probe import SilentErrors
from callbacks.damage.summary import summarise
from callbacks.results import ProbeResult
from datamodules import Digits
from datamodules.errors import UserError
from lightning_modules import Classifier
from lightning_modules.cifar_resnet import CIFARResNet


def test_rows_are_those_of_the_damaged_model(one_pass: Callable, classifier: Classifier) -> None:
    probe = DamageProbe(Zero(), (0.3, 0.6), draws=2, chunk=16)
    rows = one_pass(probe)["zero"]
    batch = Digits(limit=23).taken("test", 23)
    for (severity, draw), part in rows.groupby(["value", "draw"]):
        model = copy.deepcopy(classifier).eval()
        Zero()(classifier, severity, int(draw)).apply(model)
        expected = dict(
            zip(batch.index.tolist(), model(batch.image).argmax(1).tolist(), strict=True)
        )
        assert dict(zip(part["index"], part["prediction"], strict=True)) == expected


def test_no_damage_is_the_clean_model(one_pass: Callable) -> None:
    rows = one_pass(DamageProbe(Noise(), (0.0,), draws=1, chunk=16))["noise"]
    assert not rows[["sdc", "sdc5", "due"]].any().any()
    # Chunks of another shape than the clean answers': on some processors the last bits differ.
    assert (rows["confidence_shift"].abs() <= 1e-6).all()


def test_late_damage_uses_the_prefix_and_changes_nothing(
    one_pass: Callable, same_rows: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Zero(Selection(layers=("model.5",)))
    with_prefix = one_pass(DamageProbe(late, (0.5,), chunk=16))["zero"]
    monkeypatch.setattr(DamageProbe, "_shared_prefix", lambda *_: None)
    same_rows(with_prefix, one_pass(DamageProbe(late, (0.5,), chunk=16))["zero"])


NETWORKS = {
    "cifar_resnet": lambda: CIFARResNet(1),
    "resnet18": lambda: torchvision.models.resnet18(num_classes=10),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(num_classes=10),
    "vit": lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=10),
}


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("at", [0.5, 0.9])
@torch.no_grad()  # attention takes another, faster way with gradients off
def test_the_prefix_is_bit_equal_and_skips_work(name: str, at: float) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()
    weights = [one for one, _ in model.named_parameters()]
    damaged = weights[int(at * len(weights)) :]
    image = torch.rand(4, 3, 32, 32)
    prefix = Prefix(model, damaged, image[:1])
    assert prefix.verify(image)
    assert len(prefix) > 0
    state = {one: model.get_parameter(one) + 0.01 for one in damaged}
    expected = torch.func.functional_call(model, state, (image,))
    prefix.record(image)
    with prefix.replayed():
        assert torch.equal(torch.func.functional_call(model, state, (image,)), expected)
    assert all("forward" not in vars(part) for part in model.modules())


class Reused(nn.Module):
    """Calls its first layer again after the damaged one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(self.second(self.first(x)))


def test_a_module_that_is_called_again_is_not_cached() -> None:
    assert Prefix(Reused(), ["second.weight"], torch.rand(1, 4)).names == []


def test_tied_weights_are_damaged_together(one_pass: Callable, classifier: Classifier) -> None:
    model = classifier.model
    model.add_module("again", nn.Linear(10, 10, bias=False))
    model.add_module("tied", nn.Linear(10, 10, bias=False))
    model.tied.weight = model.again.weight
    rows = one_pass(DamageProbe(Zero(Selection(layers=("again",))), (1.0,), draws=1, chunk=16))
    assert rows["zero"]["prediction"].nunique() == 1, "all logits are zero"


def test_silent_errors() -> None:
    clean = torch.tensor([[3.0, 1, 0, 0, 0, 0], [3, 1, 0, 0, 0, -9], [3, 1, 0, 0, 0, 0]])
    damaged = torch.tensor([[1.0, 3, 0, 0, 0, 0], [0, 1, 0, 0, 0, 9], [3, torch.nan, 0, 0, 0, 0]])
    found = SilentErrors(clean)(damaged)
    assert found["sdc"].tolist() == [True, True, False]
    assert found["sdc5"].tolist() == [False, True, False]
    assert found["due"].tolist() == [False, False, True]


def test_a_class_that_is_ruled_out_is_no_lack_of_an_answer() -> None:
    answers = torch.tensor([[3.0, 1, -torch.inf], [3, 1, -torch.inf]])
    found = SilentErrors(answers)(answers.flip(0) * torch.tensor([[1.0], [-1.0]]))
    assert found["due"].tolist() == [False, True], "plus infinity is none"
    assert not found["sdc"].any()


def test_bad_arguments() -> None:
    with pytest.raises(UserError, match="Expected `draws` to be at least 1"):
        DamageProbe(Zero(), draws=0)
    with pytest.raises(UserError, match="Only damage of bits can be measured by bit, not 'zero'"):
        DamageProbe(Zero(), by="bit")


def test_a_bad_severity_is_told_before_anything_runs(one_pass: Callable) -> None:
    with pytest.raises(UserError, match=r"to be a share in \[0, 1\], but got 1.5."):
        one_pass(DamageProbe(Zero(), (1.5,), chunk=16))
    with pytest.raises(UserError, match="number of bits"):
        one_pass(DamageProbe(BitFlip(), (-3,), chunk=16))
    with pytest.raises(UserError, match=r"at most [\d,]+, the bits of the weights as int8"):
        one_pass(DamageProbe(BitFlipAttack(), (10**9,), chunk=16))


class Spectral(nn.Module):
    """Holds complex numbers, as learnt Fourier filters do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.filter = nn.Parameter(torch.ones(4, dtype=torch.complex64))


def test_what_no_damage_can_hit_is_told() -> None:
    assert Selection(parameters="all").told(Spectral()) == (
        "15 of 19 parameters can be hit (78.9%). 4 are complex, which no damage hits."
    )
    assert Selection(parameters="all").told(Spectral().head) == ""


def result(probe: DamageProbe, rows: Any) -> ProbeResult:
    return ProbeResult(
        probe.name, "damage", probe.title, probe.unit, probe.algorithm, probe.headline, rows,
        places=probe.places,
    )  # fmt: skip


def test_the_summary_takes_the_middle_severity_and_names_layers(one_pass: Callable) -> None:
    by_layer = DamageProbe(Zero(), (1.0,), draws=1, by="layer", chunk=16)
    curve = DamageProbe(Zero(), (0.0, 0.3, 1.0), draws=1, chunk=16)
    rows = one_pass(by_layer, curve)
    results = [result(probe, rows[probe.name]) for probe in (by_layer, curve)]
    summary = summarise(results, None)
    number = summary.numbers["damage_acc"]
    middle = rows["zero"].query("value == 0.3")["correct"].mean()
    assert number.interval.value == pytest.approx(middle)
    assert "at 0.3" in number.note
    left = rows["zero_by_layer"].groupby("severity")["correct"].mean()
    least = by_layer.layers[int(left.idxmin()) - 1].removeprefix("model.")
    assert f"least is left after damage of {least} (" in summary.sentences[1]
    assert [results[0].said(value) for value in results[0].values.values()] == [
        name.removeprefix("model.") for name in by_layer.layers
    ]
    assert [results[1].said(value) for value in (0.0, 0.3)] == ["", "0.3"]
