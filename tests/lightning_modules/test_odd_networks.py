"""Every odd network: the value of its twin by hand, or one sentence."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from datamodules import Batch, UserError
from lightning_modules import Classifier, load_classifier, save_classifier
from lightning_modules.examination import examine
from lightning_modules.features import extract
from lightning_modules.freezing import freeze_backbone
from lightning_modules.heads import find_head, head_name
from lightning_modules.linear_probe import LinearProbe
from lightning_modules.sources import give_head
from lightning_modules.trial import is_lazy

answering = pytest.mark.odd(where=lambda odd: not odd.refused)


def met(odd: Any) -> tuple[Classifier, Tensor]:
    """A classifier of the network that has seen images."""
    network, image = odd.network(), odd.images(12)
    names = [f"class {i}" for i in "abcdefgh"[: odd.classes]]
    classifier = load_classifier(network, data_classes=names)
    examine(classifier, image)
    return classifier.eval(), image


def test_the_twins_value_or_one_sentence(odd: Any) -> None:
    if odd.refused:
        with pytest.raises(UserError) as caught:
            met(odd)
        assert odd.refused in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    classifier, image = met(odd)
    logits = classifier(image)
    assert logits.shape == (12, odd.classes)
    assert logits.dtype == torch.float32
    if odd.by_hand is not None:
        with torch.no_grad():
            expected = odd.by_hand(classifier.model, image)
        torch.testing.assert_close(logits, expected, atol=odd.tolerance, rtol=odd.tolerance)


@answering
def test_what_is_said_of_it(odd: Any) -> None:
    classifier, _ = met(odd)
    said = [note for note in classifier.notes if "only numbers its classes" not in note]
    assert len(said) == len(odd.notes), said
    assert all(any(part in note for note in said) for part in odd.notes), said
    assert classifier.facts["gradient"] == odd.gradient
    assert classifier.facts["deterministic"] == odd.repeats


@answering
def test_meeting_it_leaves_no_trace(odd: Any) -> None:
    network = odd.network()
    if is_lazy(network):
        network(odd.images())
    classifier = load_classifier(network, data_classes="abcdefgh"[: odd.classes])
    before = copy.deepcopy(classifier.state_dict())
    modes = {name: part.training for name, part in classifier.named_modules()}
    flags = {name: p.requires_grad for name, p in classifier.named_parameters()}
    hooks = sum(len(p._forward_hooks) + len(p._forward_pre_hooks) for p in classifier.modules())
    torch.manual_seed(3)
    state = torch.get_rng_state()
    examine(classifier, odd.images())
    find_head(classifier.model) if odd.head else None
    assert torch.equal(torch.get_rng_state(), state)
    after = classifier.state_dict()
    assert list(after) == list(before)
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) if isinstance(tensor, Tensor) else True, name
    assert modes == {name: part.training for name, part in classifier.named_modules()}
    assert flags == {name: p.requires_grad for name, p in classifier.named_parameters()}
    again = sum(len(p._forward_hooks) + len(p._forward_pre_hooks) for p in classifier.modules())
    assert again == hooks


@answering
def test_the_head_is_the_layer_whose_output_is_the_logits(odd: Any) -> None:
    classifier, _ = met(odd)
    assert classifier.facts["head"] == (odd.head or "none")
    if odd.head is None:
        with pytest.raises(UserError, match=r"no layer whose output is its answer"):
            head_name(classifier.model)
        return
    assert find_head(classifier.model).linear == odd.linear
    freeze_backbone(classifier.model)
    learning = [name for name, p in classifier.model.named_parameters() if p.requires_grad]
    assert learning
    assert all(name.startswith(f"{odd.head}.") for name in learning)


@answering
@pytest.mark.odd(where=lambda odd: odd.head and odd.by_hand and odd.classes > 2)
def test_a_probe_in_the_head_answers_as_the_probe(odd: Any) -> None:
    """The oracle is the probe itself, on the features that were extracted."""
    classifier, image = met(odd)
    batch = Batch(image, torch.zeros(12, dtype=torch.long), torch.arange(12))
    feature = extract(classifier, [batch]).feature
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(odd.classes, feature.shape[1], generator=generator, dtype=torch.double)
    probe = LinearProbe(weight, torch.arange(odd.classes).double(), 1.0)
    if not odd.linear:
        with pytest.raises(UserError, match="linear"):
            probe.install(classifier.model)
        return
    probe.install(classifier.model)
    with torch.no_grad():
        found, expected = classifier(image), probe(feature)
    near = max(1e-4, 10 * odd.tolerance)  # ten times: the weights are rounded too
    torch.testing.assert_close(found.softmax(1), expected.softmax(1), atol=near, rtol=near)


@answering
def test_a_new_head_answers_other_classes(odd: Any) -> None:
    classifier, image = met(odd)
    names = [f"thing {i}" for i in "abcdefg"]
    plain = odd.head is not None and odd.name != "own layer as head"
    if not plain:
        with pytest.raises(UserError, match=r"no layer whose output|cannot be given other outputs"):
            give_head(classifier, names)
        return
    give_head(classifier, names)
    examine(classifier, image)
    assert classifier(image).shape == (12, 7)
    assert head_name(classifier.model) == odd.head
    assert isinstance(classifier.model.get_submodule(odd.head), nn.Linear | nn.Conv2d)


@answering
def test_it_is_loaded_and_saved_as_it_is(odd: Any, tmp_path: Path) -> None:
    loaded = load_classifier(odd.source, data_classes="abcdefgh"[: odd.classes]).eval()
    image = odd.images()
    examine(loaded, image)
    again = load_classifier(f"checkpoint:{save_classifier(loaded, tmp_path / 'x')}").eval()
    with torch.no_grad():
        if odd.name not in ("unregistered", "dropout in tests"):
            assert torch.equal(again(image), loaded(image))
    assert (again.classes, again.reasons) == (loaded.classes, loaded.reasons)
    assert again.answers == loaded.answers
