"""An optimizer and a schedule of the user's do what they do in a plain loop of torch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch.optim import SGD, Adam, Muon
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR

from datamodules import Digits, UserError
from datamodules.preprocessing import in_unit_range
from datamodules.training_order import TrainingLoader, TrainingOrder, epoch_order
from lightning_modules import Classifier, FineTuning, Tuning, load_classifier
from lightning_modules.own_optimization import OwnOptimization, in_words


@pytest.fixture
def digits() -> Digits:
    return Digits(limit=60, batch_size=16)


def classifier(data: Digits) -> Classifier:
    torch.manual_seed(0)
    made = load_classifier("lenet", data_classes=data.classes, preprocessing=data.preprocessing)
    data.adopt(made.preprocessing)
    return made


def fitted(data: Digits, own: OwnOptimization, epochs: int) -> FineTuning:
    module = FineTuning(classifier(data), own.tuned(Tuning()))
    module.optimization = own
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    L.Trainer(max_epochs=epochs, num_sanity_val_steps=0, accelerator="cpu", **quiet).fit(
        module, data
    )
    return module


CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]] = {
    "SGD, a tenth every two epochs": (
        partial(SGD, lr=0.1, momentum=0.9), partial(StepLR, step_size=2, gamma=0.1),
    ),
    "Adam as it is": (partial(Adam, lr=0.001), None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_weights_are_those_of_a_plain_loop(name: str, digits: Digits) -> None:
    """Bit for bit on a CPU: the loop below is torch's tutorial."""
    make_optimizer, make_scheduler = CASES[name]
    trained = fitted(digits, OwnOptimization(make_optimizer, make_scheduler), epochs=3)
    plain, images = classifier(digits).train(), digits.images("train")
    optimizer = make_optimizer(plain.parameters())
    scheduler = make_scheduler(optimizer) if make_scheduler else None
    for epoch in range(3):
        order = epoch_order(len(images), digits.seed, epoch, digits.batch_size)
        for start in range(0, len(order), digits.batch_size):
            batch = images.__getitems__(order[start : start + digits.batch_size])
            optimizer.zero_grad()
            F.cross_entropy(plain(in_unit_range(batch.image)), batch.label).backward()
            optimizer.step()
        if scheduler:
            scheduler.step()
    for ours, theirs in zip(trained.classifier.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_a_plateau_watches_a_metric(digits: Digits) -> None:
    own = OwnOptimization(partial(SGD, lr=0.1), partial(ReduceLROnPlateau, mode="max"))
    told = own.make_scheduler(SGD([torch.zeros(2, requires_grad=True)], 0.1), "val/robust_acc")
    assert (told["interval"], told["monitor"]) == ("epoch", "val/robust_acc")
    own = OwnOptimization(partial(SGD, lr=0.1), partial(ReduceLROnPlateau, patience=0, threshold=2))
    module = fitted(digits, own, epochs=3)  # no loss is ever better by so much
    optimizer: Any = module.optimizers()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.1**3)


def test_one_cycle_moves_with_every_step() -> None:
    own = OwnOptimization(None, partial(OneCycleLR, max_lr=0.1, total_steps=9))
    told = own.make_scheduler(SGD([torch.zeros(2, requires_grad=True)], 0.1), "val/acc")
    assert told["interval"] == "step"


def test_words() -> None:
    assert (
        in_words(partial(SGD, lr=0.01, momentum=0.9, dampening=0)) == "SGD(lr=0.01, momentum=0.9)"
    )


def test_an_optimizer_of_ones_own_keeps_its_rate_unless_a_schedule_is_said() -> None:
    own = OwnOptimization(partial(SGD, lr=0.1))
    assert (own.tuned(Tuning()).schedule, own.tuned(Tuning()).warmup) == ("constant", 0)
    assert own.tuned(Tuning(schedule="cosine", warmup=0.1)).schedule == "cosine"
    assert OwnOptimization().tuned(Tuning()) == Tuning()


@pytest.mark.parametrize(
    ("own", "tuning", "said"),
    [
        (OwnOptimization(partial(SGD, lr=1)), Tuning(lr=1), "`tuning.lr` beside --optimizer"),
        (
            OwnOptimization(None, partial(StepLR, step_size=1)),
            Tuning(schedule="cosine"),
            "`tuning.schedule` beside --scheduler",
        ),
    ],
)
def test_nothing_is_said_twice(own: OwnOptimization, tuning: Tuning, said: str) -> None:
    with pytest.raises(UserError, match=said):
        own.tuned(tuning)


def test_an_optimizer_that_cannot_be_made(digits: Digits) -> None:
    with pytest.raises(UserError, match="cannot be made: Muon only supports 2D"):
        OwnOptimization(partial(Muon, lr=0.1)).make_optimizer(classifier(digits))


def test_the_order_is_torchs_and_goes_on_inside_an_epoch() -> None:
    """torch's own shuffling loader is the oracle; 50 rows end in a batch that is not full."""
    rows: Any = list(range(50))
    torchs = torch.utils.data.DataLoader(
        rows, 7, shuffle=True, generator=torch.Generator().manual_seed(3)
    )
    sampler = TrainingOrder(rows, 1, 0, seed=3, batch_size=7)
    ours = TrainingLoader(rows, 7, sampler=sampler)
    passes = [[batch.tolist() for batch in ours] for _ in range(3)]
    assert passes == [[batch.tolist() for batch in torchs] for _ in range(3)]
    ours.load_state_dict({"epoch": 2, "batches": 3})
    assert [batch.tolist() for batch in ours] == passes[2][3:]
    for count, left in ((15, 14), (16, 16), (1, 1)):  # of one image nothing is left out
        several = TrainingOrder(list(range(count)), 1, 0, 3, 7, none_alone=True)  # type: ignore[arg-type]
        assert len(several) == len(set(several)) == left
    shares = [list(TrainingOrder(rows, 4, rank, 3, 7)) for rank in range(4)]
    assert {len(share) for share in shares} == {13}
    assert set().union(*shares) == set(rows)
