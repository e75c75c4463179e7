"""What may not change keeps its bits; batch norm anew, and activations clipped."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules import Batch, Digits, Preprocessing
from datamodules.errors import UserError
from lightning_modules import Classifier, DivergedError, Tuning
from lightning_modules.recovery import Ranges, Recovery, clipped, reestimate
from lightning_modules.recovery.batch_norm import NotApplicableError
from lightning_modules.trainer import made_trainer


def classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(144, 10),
    )  # fmt: skip
    preprocessing = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))
    return Classifier(model, classes=10, preprocessing=preprocessing, architecture="builtin:test")


def fit(module: Recovery, steps: int = 12) -> None:
    flags = {
        "max_steps": steps, "max_epochs": -1, "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False, "limit_val_batches": 0,
        "accelerator": "cpu",
    }  # fmt: skip
    made_trainer(flags, []).fit(module, Digits(batch_size=32, limit=200))


TUNINGS = [Tuning(lr=0.01), Tuning(optimizer="sgd", lr=0.1, weight_decay=0.1)]


@pytest.mark.parametrize("tuning", TUNINGS)
def test_only_the_masked_elements_change(tuning: Tuning) -> None:
    one = classifier()
    before = copy.deepcopy(one.state_dict())
    mask = torch.rand(10, 144, generator=torch.Generator().manual_seed(0)) < 0.3
    fit(Recovery(one, tuning, {"model.5.weight": mask}))
    for name, value in one.state_dict().items():
        same = value == before[name]
        if name == "model.5.weight":
            assert torch.equal(same, ~mask) or (~same).sum() > 0.9 * mask.sum()
            assert same[~mask].all()
        else:
            assert same.all(), f"{name}: buffers too"


@pytest.mark.parametrize("tuning", TUNINGS)
def test_removed_connections_stay_removed(tuning: Tuning) -> None:
    one = classifier()
    kept = torch.rand(10, 144, generator=torch.Generator().manual_seed(0)) < 0.5
    fit(Recovery(one, tuning, held={"model.5.weight": kept}))
    weight = one.model[5].weight
    assert (weight[~kept] == 0).all()
    assert (weight[kept] != 0).all()


def test_everything_changes_when_nothing_is_said() -> None:
    one = classifier()
    before = copy.deepcopy(one.state_dict())
    fit(Recovery(one, TUNINGS[0]))
    assert not any(torch.equal(value, before[name]) for name, value in one.state_dict().items())


def test_distillation_is_the_divergence_times_temperature_squared() -> None:
    student, teacher = classifier(0), classifier(1)
    module = Recovery(student, TUNINGS[0], teacher=teacher, temperature=4.0)
    image = torch.rand(8, 1, 8, 8)
    module.eval()
    batch = Batch(image, torch.zeros(8).long(), torch.arange(8))
    p, q = (F.softmax(one(image) / 4, 1) for one in (teacher, student))
    expected = 16 * (p * (p / q).log()).sum(1).mean()
    assert module.training_step(batch, 0).item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_teacher_is_left_as_it_was() -> None:
    teacher = classifier(1)
    before = copy.deepcopy(teacher.state_dict())
    fit(Recovery(classifier(0), TUNINGS[0], teacher=teacher))
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not teacher.training


def test_a_loss_that_is_no_number_stops() -> None:
    one = classifier()
    with torch.no_grad():
        one.model[5].weight[0, 0] = torch.nan
    with pytest.raises(DivergedError, match="The loss of the recovery became nan in step 0"):
        fit(Recovery(one, TUNINGS[0]))


def test_labels_of_classes_that_are_ruled_out_are_told() -> None:
    """No learning rate helps there."""
    one = classifier()
    with torch.no_grad():
        one.model[5].bias[:] = torch.tensor([0.0] + [-torch.inf] * (one.num_classes - 1))
    with pytest.raises(DivergedError, match=r"\d+ of \d+ images are of classes that the model"):
        fit(Recovery(one, TUNINGS[0]))


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(UserError, match=r"no parameter 'model\.9\.weight' to train"):
        Recovery(classifier(), TUNINGS[0], {"model.9.weight": None})


def batches(n: int = 4) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.rand(32, 1, 8, 8, generator=draw) + 1 for _ in range(n)]


def test_batch_norm_takes_the_mean_over_all_batches() -> None:
    one = classifier().eval()
    hidden = torch.cat([one.model[0](image) for image in batches()])
    used = reestimate(one, batches())
    norm = one.model[1]
    assert used == 128
    torch.testing.assert_close(norm.running_mean, hidden.mean((0, 2, 3)))
    parts = [one.model[0](image).transpose(0, 1).flatten(1).var(1) for image in batches()]
    torch.testing.assert_close(norm.running_var, torch.stack(parts).mean(0))
    assert norm.momentum == 0.1
    assert not any(part.training for part in one.modules())


def test_without_batch_norm_there_is_nothing_to_reestimate() -> None:
    with pytest.raises(NotApplicableError, match="no batch norm"):
        reestimate(nn.Linear(2, 2), [])


def test_clipping_leaves_an_undamaged_model_alone_and_tames_a_damaged_one() -> None:
    one = classifier().eval()
    ranges = Ranges.measured(one, batches())
    before = one(batches()[0])
    clipped(one, ranges)
    assert torch.equal(one(batches()[0]), before)
    with torch.no_grad():
        one.model[0].weight[0, 0, 0, 0] = 1e38
    assert one(batches()[0]).isfinite().all()
    copied = copy.deepcopy(one)
    assert copied(batches()[0]).isfinite().all(), "the hooks survive a deep copy"
    assert ranges.bits == 64 * 4
