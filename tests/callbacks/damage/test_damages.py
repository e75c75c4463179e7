"""What every damage promises; a new one in `DAMAGES` gets this for free."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from callbacks.damage import (
    DAMAGES,
    ActivationFault,
    BitFlipAttack,
    DamageProbe,
    Noise,
    Record,
    Selection,
    Zero,
)
from callbacks.damage.bit_flip import BitError, BitFlip, StuckAt, binomial
from callbacks.damage.kind import is_drawn
from callbacks.damage.selection import distinct
from callbacks.digests import weights_digest
from datamodules.errors import UserError
from lightning_modules import load_classifier

EACH = pytest.mark.parametrize("name", list(DAMAGES))
IMAGE = torch.rand(32, 1, 12, 12, generator=torch.Generator().manual_seed(0))
LABEL = torch.arange(32) % 10


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(800, 10)
    ).eval()


def severity(name: str) -> float:
    return {"bit_flip": 50.0, "bit_flip_attack": 3.0, "quantise": 4.0}.get(name, 0.2)


def made(name: str, model: nn.Module, seed: int = 0) -> Record:
    return DAMAGES[name]()(model, severity(name), seed, IMAGE, LABEL)


@EACH
def test_undo_is_exact_and_replay_is_the_same(name: str, tmp_path: Path) -> None:
    model = network()
    before = weights_digest(model)
    record = made(name, model)
    assert weights_digest(model) == before, "making a record changes nothing"
    assert len(record) > 0
    damaged = weights_digest(record.apply(model))
    assert damaged != before
    fresh = Record.load(record.save(tmp_path / "record.safetensors")).apply(network())
    assert weights_digest(fresh) == damaged
    assert weights_digest(record.undo(model)) == before


@EACH
def test_the_same_seed_is_the_same_damage_and_another_is_not(name: str) -> None:
    def digest(seed: int) -> str:
        model = network()
        return weights_digest(made(name, model, seed).apply(model))

    assert digest(1) == digest(1)
    if name != "bit_flip_attack":  # the whole batch
        assert (digest(1) != digest(2)) == is_drawn(DAMAGES[name]())


@EACH
def test_the_copy_for_functional_call_is_the_damaged_model(name: str) -> None:
    model = network()
    record = made(name, model)
    copied = record.damaged(model.state_dict())
    answer = torch.func.functional_call(model, copied, (IMAGE,))
    assert torch.equal(answer.nan_to_num(), record.apply(model)(IMAGE).nan_to_num())


@EACH
def test_a_layer_that_does_not_exist_is_told(name: str) -> None:
    damage = DAMAGES[name](selection=Selection(layers=("5",)))
    with pytest.raises(UserError, match="no layer '5'"):
        damage(network(), severity(name), 0, IMAGE, LABEL)


@pytest.mark.parametrize(
    "name", ["zero", "randomise", "shuffle", "sign_flip", "bit_error", "stuck_at"]
)
@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_shares_outside_the_unit_interval(name: str, share: float) -> None:
    with pytest.raises(UserError, match=r"Expected `severity` to be a share in \[0, 1\], but got"):
        DAMAGES[name]()(network(), share)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 2.5])
@pytest.mark.parametrize("name", ["bit_flip", "bit_flip_attack", "quantise"])
def test_numbers_that_are_not_whole_are_refused(name: str, wrong: float) -> None:
    with pytest.raises(UserError, match="Expected `severity` to be"):
        DAMAGES[name]()(network(), wrong, 0, IMAGE, LABEL)


def test_other_weights_are_refused() -> None:
    record = made("zero", network())
    with pytest.raises(UserError, match="damage is exact only on the same weights"):
        record.apply(network(seed=1))


@pytest.mark.parametrize("scope", ["global", "tensor"])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_zero_hits_exactly_its_share(scope: str, share: float) -> None:
    model = network()
    Zero(Selection(scope=scope))(model, share).apply(model)  # type: ignore[arg-type]
    zeros = sum(int((model[i].weight == 0).sum()) for i in (0, 4))
    assert zeros == round(share * 8072)


def test_largest_first() -> None:
    model = network()
    weights = torch.cat([model[i].weight.detach().flatten().abs() for i in (0, 4)])
    Zero(Selection(order="largest"))(model, 0.1).apply(model)
    left = torch.cat([model[i].weight.detach().flatten().abs() for i in (0, 4)])
    assert left.max() <= weights.topk(round(0.1 * 8072)).values.min()


def test_noise_has_the_layers_own_scale() -> None:
    model, clean = network(), network()
    Noise()(model, 0.5).apply(model)
    change = (model[4].weight - clean[4].weight).flatten()
    # 8,000 draws: the deviation's standard error is 0.8 %
    assert float((change.std() / clean[4].weight.std()).detach()) == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16", "int8"])
def test_bit_flips_are_counted(stored: str) -> None:
    model = network()
    record = BitFlip(format=stored)(model, 500)
    assert record.facts["bits"] == 500
    if stored == "float32":
        assert record.flipped_bits == 500


def test_all_bits_of_all_weights_can_be_hit_at_once() -> None:
    model = network()
    damage = BitFlip(selection=Selection(layers=("0",)))
    assert damage.population(model) == 72 * 32
    assert damage(model, 72 * 32).flipped_bits == 72 * 32


@pytest.mark.parametrize("bit", [0, 7, 22, 31])
def test_one_bit_position(bit: int) -> None:
    model = network()
    record = BitFlip(bit=bit)(model, 100)
    masks = {int(m) % 2**32 for c in record.changes.values() for m in c.before ^ c.after}
    assert masks == {1 << bit}


def test_bit_error_rate_is_binomial() -> None:
    """Against the exact probability that a word is hit, 1 - (1-p)^B: the reference, 1.3."""
    model = nn.Linear(1000, 1000)
    record = BitError()(model, 1e-2)
    share = len(record) / 1e6
    assert share == pytest.approx(0.27502, abs=3 * math.sqrt(0.275 * 0.725 / 1e6))
    counts = [binomial(32_000_000, 1e-5, torch.Generator().manual_seed(i)) for i in range(400)]
    spread = torch.tensor(counts, dtype=torch.float64)
    assert float(spread.mean()) == pytest.approx(320, abs=3 * math.sqrt(320 / 400))
    assert float(spread.var()) == pytest.approx(320, rel=0.25)


def test_stuck_bits_report_what_they_changed() -> None:
    model = nn.Linear(100, 100)
    for to in (0, 1):
        record = StuckAt(to=to)(model, 0.01)  # type: ignore[arg-type]
        assert 0.3 < record.facts["effective"] / record.facts["bits"] < 0.7
        for change in record.changes.values():
            grown = (change.after & ~change.before) if to else (change.before & ~change.after)
            assert torch.equal(grown, change.before ^ change.after)


@pytest.mark.parametrize(("population", "count"), [(10, 10), (10, 0), (10**12, 1000), (100, 60)])
def test_distinct_is_without_repetition(population: int, count: int) -> None:
    drawn = distinct(population, count, torch.Generator().manual_seed(0))
    assert len(drawn.unique()) == count == len(drawn)
    assert count == 0 or (int(drawn.min()) >= 0 and int(drawn.max()) < population)


def test_distinct_is_uniform() -> None:
    draw = torch.Generator().manual_seed(0)
    counts = torch.zeros(20)
    for _ in range(4000):
        counts[distinct(20, 3, draw)] += 1
    expected = 4000 * 3 / 20
    chi2 = float(((counts - expected) ** 2 / expected).sum()) / (1 - 3 / 20)
    assert chi2 < 43.8  # 0.1 % point of chi-square with 19 degrees of freedom


@pytest.mark.parametrize("bits", [-1, 2.5, 1e12])
def test_a_number_of_bits(bits: float) -> None:
    with pytest.raises(UserError, match="to be a number of bits in 0"):
        BitFlip()(network(), bits)


def test_a_bit_the_format_does_not_have() -> None:
    with pytest.raises(UserError, match=r"Expected `bit` of int8 in 0 .* 7, but got 8."):
        BitFlip(format="int8", bit=8)


def test_the_attack_beats_chance_and_tells_its_flips() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(IMAGE), LABEL).backward()
        optimizer.step()

    def loss(record: Record) -> float:
        other = record.apply(copy.deepcopy(model))
        return float(F.cross_entropy(other(IMAGE), LABEL).detach())

    aimed = BitFlipAttack(batch=32)(model, 5, 0, IMAGE, LABEL)
    at_random = [loss(BitFlip(format="int8")(model, 5, seed)) for seed in range(10)]
    assert len(aimed.facts["flips"]) <= 5
    assert loss(aimed) > 3 * max(at_random)
    assert aimed.facts["losses"] == sorted(aimed.facts["losses"])
    # On the int8 grid: the recorded loss is that of the quantised model, up to its rounding.
    assert aimed.facts["losses"][-1] == pytest.approx(loss(aimed), rel=0.05)


def test_the_first_flip_is_the_best_single_flip_of_a_linear_model() -> None:
    """The loss grows to first order, by the largest place of one weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 3, bias=False)).eval()
    image, label = torch.rand(16, 1, 3, 3), torch.arange(16) % 3
    record = BitFlipAttack(batch=16)(model, 1, 0, image, label)
    ((name, position, bit),) = record.facts["flips"]
    gradient = torch.autograd.grad(F.cross_entropy(model(image), label), model[1].weight)[0]
    assert name == "1.weight"
    change = record.damaged(model.state_dict())[name] - model[1].weight
    assert float((gradient * change).sum()) > 0, "the loss grows to first order"
    assert bit == 7 or bit == 6, "the largest places do most"
    assert position == int(change.abs().argmax())


@pytest.mark.parametrize("bit", [None, 30])
def test_faulty_neurons_are_hooks_that_go_away(bit: int | None) -> None:
    model = network()
    clean = model(IMAGE)
    faults = ActivationFault(bit=bit)(model, 0.1, 3, IMAGE)
    assert len(faults) == round(0.1 * 800)
    with faults.installed(model):
        assert not torch.equal(model(IMAGE), clean)
        other = model(IMAGE.flip(0)).flip(0)  # the same neurons for every image
        assert torch.allclose(model(IMAGE), other, equal_nan=True)
    assert torch.equal(model(IMAGE), clean)
    assert not any(part._forward_hooks for part in model.modules())


def test_dead_neurons_against_a_masked_output() -> None:
    model = network()
    assert ActivationFault().left_out(model, IMAGE) == []
    faults = ActivationFault()(model, 0.1, 3, IMAGE)
    hidden = model[0](IMAGE).flatten(1).clone()
    hidden[:, faults.position["0"]] = 0
    expected = model[1:](hidden.view(32, 8, 10, 10))
    with faults.installed(model):
        assert torch.equal(model(IMAGE), expected)


class RowsFirst(nn.Module):
    """Rows of an image first, images second; `patch` alone answers one row an image."""

    def __init__(self, patch: bool = True) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 3, 1) if patch else nn.Identity()
        self.hidden, self.head = nn.Linear(30, 6), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.patch(x).permute(2, 0, 1, 3).flatten(2)  # (height, N, channels * width)
        return self.head(self.hidden(rows).relu()).mean(0)


def test_layers_without_neurons_of_one_image_are_told() -> None:
    model, fault = RowsFirst(), ActivationFault()
    image = torch.rand(4, 3, 10, 10)
    assert fault.left_out(model, image) == ["hidden", "head"]
    assert ActivationFault(layers=("patch",)).left_out(model, image) == []
    assert set(fault(model, 0.5, 0, image).position) == {"patch"}
    with pytest.raises(UserError, match="hidden, head answer several rows for an image"):
        fault(RowsFirst(patch=False), 0.5, 0, image)
    probe, classifier = DamageProbe(fault), load_classifier(model, data_classes="abcd")
    probe._example = image, torch.arange(4)
    probe.prepare(classifier, None)
    assert probe.note.endswith("or are not called: hidden, head.")


class OtherDevice(TorchFunctionMode):
    """Weights behave as on a GPU: a tensor that was made on the CPU must not index them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.there = {p.untyped_storage().data_ptr() for p in model.state_dict().values()}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in INDEXING and isinstance(args[0], torch.Tensor):
            where = args[1]
            here = args[0].untyped_storage().data_ptr() in self.there
            if here and getattr(where, "moved", None) is None and isinstance(where, torch.Tensor):
                raise RuntimeError("Expected all tensors to be on the same device")
        result = func(*args, **(kwargs or {}))
        if func is torch.Tensor.to and isinstance(result, torch.Tensor):
            result = result.view_as(result)
            result.moved = True  # type: ignore[attr-defined]
        return result


INDEXING = {torch.Tensor.take, torch.Tensor.put_}


@EACH
def test_weights_are_not_indexed_from_another_device(name: str) -> None:
    """`.to(weight.device)` comes before every index; without a GPU it would go unnoticed."""
    model = network()
    with OtherDevice(model):
        record = made(name, model)
        record.damaged(model.state_dict())
        record.undo(record.apply(model))
    assert all(
        part.device.type == "cpu" for c in record.changes.values() for part in vars(c).values()
    )
