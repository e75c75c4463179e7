"""The training: what teaches, what must not change, what is remembered, what is refused."""

import copy
from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datamodules import Batch, Digits, Preprocessing, UserError
from lightning_modules import Classifier, DivergedError, GaussianNoise, Tuning
from lightning_modules.distillation import (
    USUAL,
    AnswerCache,
    Answers,
    Distillation,
    DistillationRecipe,
    LossInputs,
    Teachers,
    attention_loss,
    initialise_from,
    relational_loss,
)

PLAIN = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))
FEATURES = {
    "fitnets": {"layers": ("0",)},
    "attention": {"layers": ("0=2",)},
    "rkd": {},
}


def network(width: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    body = [nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.3), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(width * 36, 10))


def classifier(width: int, seed: int = 0, **facts: Any) -> Classifier:
    facts = {"classes": 10, "preprocessing": PLAIN, "architecture": "test", "chunk": 16, **facts}
    return Classifier(network(width, seed), **facts)


@pytest.fixture
def digits() -> Digits:
    return Digits(limit=120, batch_size=32)


def loss_inputs(module: Distillation, batch: Batch) -> LossInputs:
    """What the loss of a batch is made of."""
    seen: list[LossInputs] = []

    def watched(inputs: LossInputs) -> Tensor:
        seen.append(inputs)
        return torch.zeros(())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "loss_of", watched)
        module.batch_loss(batch)
    return seen[0]


def fit(module: L.LightningModule, data: Any, epochs: int = 2, **flags: Any) -> L.Trainer:
    quiet = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "max_epochs": epochs,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(**{**quiet, **flags})
    trainer.fit(module, data)
    return trainer


def sign_attack(model: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """One step for labels or probabilities."""
    leaf = (image + 1e-3).clamp(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(leaf), label), leaf)
    return (image + 0.1 * gradient.sign()).clamp(0, 1)


def recipe(loss: str, **more: Any) -> DistillationRecipe:
    return DistillationRecipe(loss=loss, **{**FEATURES.get(loss, {}), **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", USUAL)
def test_contract_of_every_loss(loss: str, digits: Digits) -> None:
    """Trains the student, leaves the teacher bit-equal and in eval mode, and says what it logs."""
    teacher, student = classifier(8), classifier(4, seed=1)
    teacher.train()
    before, start = copy.deepcopy(teacher.state_dict()), copy.deepcopy(student.state_dict())
    modes: list[bool] = []
    teacher.register_forward_hook(
        lambda part, *_: modes.append(any(one.training for one in part.modules()))
    )
    robust = loss in ("ard", "rslad")
    example = digits.taken("train", 1).image
    module = Distillation(
        teacher, student, recipe(loss), None, sign_attack if robust else None, example
    )
    trainer = fit(module, digits)
    assert modes
    assert not any(modes), "the teacher was in training mode"
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(p.grad is None for p in teacher.parameters())
    assert not teacher._forward_pre_hooks
    changed = [k for k, v in student.state_dict().items() if not torch.equal(v, start[k])]
    assert changed
    names = {"train/loss", "val/loss", "val/acc", "val/agreement"}
    assert set(trainer.callback_metrics) == names | ({"val/robust_acc"} if robust else set())
    assert module.monitor in trainer.callback_metrics
    assert not any("teacher" in name for name in module.state_dict())


def inputs(classes: int = 5) -> LossInputs:
    student, clean, teacher = torch.randn(3, 8, classes, generator=torch.Generator().manual_seed(0))
    return LossInputs(Answers(student), Answers(clean), Answers(teacher), torch.arange(8) % classes)


def module_for(chosen: DistillationRecipe, **more: Any) -> Distillation:
    perturb = sign_attack if chosen.is_robust else None
    return Distillation(classifier(8), classifier(4), chosen, None, perturb, **more)


TOTALS: dict[str, tuple[dict[str, Any], Callable[[LossInputs], Tensor]]] = {
    "kd": (
        {"loss": "kd"},
        lambda one: (
            0.1 * F.cross_entropy(one.student.logits, one.label)
            + 0.9 * divergence(one.student.logits, one.teacher.logits, 4.0)
        ),
    ),
    "ard": (  # the paper's alpha is 1 - hard_weight
        {"loss": "ard", "hard_weight": 0.3, "soft_weight": 0.7},
        lambda one: (
            0.3 * F.cross_entropy(one.clean.logits, one.label)
            + 0.7 * divergence(one.student.logits, one.teacher.logits, 30.0)
        ),
    ),
    "rslad": (
        {"loss": "rslad"},
        lambda one: (
            5 / 6 * divergence(one.student.logits, one.teacher.logits, 1.0)
            + 1 / 6 * divergence(one.clean.logits, one.teacher.logits, 1.0)
        ),
    ),
}


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    own, its = (student / temperature).log_softmax(1), (teacher / temperature).softmax(1)
    return nn.KLDivLoss(reduction="batchmean")(own, its) * temperature**2


@pytest.mark.parametrize("case", TOTALS)
def test_the_total_is_the_published_one(case: str) -> None:
    facts, expected = TOTALS[case]
    torch.testing.assert_close(
        module_for(DistillationRecipe(**facts)).loss_of(inputs(10)), expected(inputs(10))
    )


def test_images_without_labels_teach_through_the_teacher_alone(digits: Digits) -> None:
    batch = digits.taken("train", 8)
    chosen = DistillationRecipe(hard_weight=0.5, soft_weight=0.5)
    module = module_for(chosen, labelled=batch.index[:2]).eval()
    made = loss_inputs(module, batch)
    assert (made.label[2:] == -1).all()
    assert torch.equal(made.label[:2], batch.label[:2])
    hard = F.cross_entropy(made.student.logits[:2], batch.label[:2], reduction="sum") / 8
    expected = 0.5 * hard + 0.5 * divergence(made.student.logits, made.teacher.logits, 4.0)
    torch.testing.assert_close(module.loss_of(made), expected)
    nothing = module_for(chosen, labelled=torch.tensor([10_000])).eval()
    assert torch.isfinite(nothing.loss_of(loss_inputs(nothing, batch)))


@pytest.mark.parametrize("select", [None, "agreement"])
def test_a_recipe_of_labels_alone_asks_no_teacher(select: Any, digits: Digits) -> None:
    teacher, calls = classifier(8), []
    teacher.model.register_forward_hook(lambda *_: calls.append(1))
    chosen = DistillationRecipe(hard_weight=1, soft_weight=0, select=select)
    trainer = fit(Distillation(teacher, classifier(4), chosen), digits, 1, num_sanity_val_steps=0)
    batches = len(digits.val_dataloader())  # each of them fits into one chunk
    assert len(calls) == (batches if select else 0)
    assert ("val/agreement" in trainer.callback_metrics) == bool(select)


REACHED: dict[str, tuple[dict[str, Any], Callable[[Tensor, Tensor], Tensor]]] = {
    "attention_form": (
        {"loss": "attention", "attention_form": "paper", "feature_weight": 5.0},
        lambda own, its: 5.0 * attention_loss(own, its, "paper"),
    ),
    "rkd's weights": (
        {"loss": "rkd", "distance_weight": 3.0, "angle_weight": 0.0},
        lambda own, its: relational_loss(own, its, 3.0, 0.0),
    ),
}


@pytest.mark.parametrize("case", REACHED)
def test_options_of_features_reach_their_loss(case: str, digits: Digits) -> None:
    facts, expected = REACHED[case]
    module = module_for(
        DistillationRecipe(hard_weight=0.0, layers=("0",), **facts),
        example=digits.taken("train", 1).image,
    ).eval()
    made = loss_inputs(module, digits.taken("train", 8))
    its = made.student.features["0"], made.teacher.features["0"]
    torch.testing.assert_close(module.loss_of(made), expected(*its))


def test_the_teachers_labels_replace_those_of_the_data(digits: Digits) -> None:
    batch = digits.taken("train", 8)
    module = module_for(DistillationRecipe(labels="teacher")).eval()
    made = loss_inputs(module, batch)
    assert torch.equal(made.label, made.teacher.logits.argmax(1))


def test_a_cached_teacher_trains_the_same_student(digits: Digits) -> None:
    """Chunks of one shape make the teacher's answers independent of the shuffled batch."""
    states, asked = [], []
    for cache in (False, True):
        teacher, student = classifier(8), classifier(4, seed=1)
        calls: list[int] = []
        teacher.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        torch.manual_seed(0)  # of the dropout
        fit(Distillation(teacher, student, DistillationRecipe(cache=cache)), digits, 3)
        states.append(student.state_dict())
        asked.append(len(calls))
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=0, atol=1e-6)
    assert asked[1] < asked[0] / 2, "each image is asked about once, not in three epochs"


def test_cached_features_are_those_of_the_sample(digits: Digits) -> None:
    teachers = Teachers([classifier(8)], layers=["0", "head_input"], chunk=16)
    batch = digits.taken("train", 40)
    teachers.cached("train", batch.image[:30], batch.index[:30])
    order = torch.tensor([7, 3, 29])
    found = teachers.caches["train"].get(batch.index[order])
    assert found is not None
    fresh = teachers(batch.image[order])
    assert torch.equal(found.logits, fresh.logits)
    assert torch.equal(found.features["0"], fresh.features["0"])
    assert teachers.caches["train"].get(batch.index[28:32]) is None, "two of them are not known"
    assert teachers.caches["val"].get(batch.index[order]) is None
    assert len(teachers.caches["train"]) == 30


def test_a_full_cache_keeps_what_it_has() -> None:
    cache = AnswerCache(max_bytes=400)
    cache.put(torch.arange(4), Answers(torch.ones(4, 10)))
    cache.put(torch.tensor([11]), Answers(torch.ones(1, 10)))
    assert cache.get(torch.tensor([3])) is not None
    assert cache.get(torch.tensor([11])) is None


def test_random_augmentation_and_a_cache_exclude_each_other(digits: Digits) -> None:
    digits.augment = "crop"
    with pytest.raises(UserError, match="another random image in every epoch"):
        fit(module_for(DistillationRecipe(cache=True)), digits)
    module = module_for(DistillationRecipe())
    fit(module, digits, 1)
    assert len(module.teachers.caches["train"]) == 0


def test_several_teachers_average_probabilities() -> None:
    image = torch.rand(3, 1, 8, 8)
    one, other = classifier(4, seed=1), classifier(8, seed=2)
    teachers = Teachers([one, other], [1, 3], temperature=4.0, chunk=4)
    expected = 0.25 * (one.eval()(image) / 4).softmax(1) + 0.75 * (other(image) / 4).softmax(1)
    torch.testing.assert_close((teachers(image).logits / 4).softmax(1), expected)


def test_a_student_may_be_its_own_teacher(digits: Digits) -> None:
    student = classifier(4)
    module = Distillation(student, student, DistillationRecipe(hard_weight=0.0))
    start = copy.deepcopy(student.state_dict())
    fit(module, digits, 1, num_sanity_val_steps=0)
    teacher = module.teachers.classifiers[0]
    assert teacher is not student
    assert all(torch.equal(v, start[k]) for k, v in teacher.state_dict().items())


def test_models_may_want_other_images(digits: Digits) -> None:
    """The loader serves the teacher's 16x16 RGB; the student sees 8x8 grey."""
    wanted = Preprocessing(channels=3, resize=(16, 16), mean=(0.0,) * 3, std=(1.0,) * 3)
    body = nn.Sequential(nn.Conv2d(3, 30, 5, stride=2), nn.Flatten(), nn.Linear(1080, 10))
    teacher = Classifier(body, classes=10, preprocessing=wanted, architecture="test")
    student = classifier(4, preprocessing=Preprocessing(1, (8, 8), mean=(0.0,), std=(1.0,)))
    digits.adopt(wanted)
    example = digits.taken("train", 1).image
    assert example.shape == (1, 3, 16, 16)
    chosen = DistillationRecipe(loss="fitnets", layers=("0",))
    module = Distillation(teacher, student, chosen, example=example)
    assert fit(module, digits, 1).callback_metrics["train/loss"] > 0


def test_models_that_state_no_size_are_shown_the_datas() -> None:
    seen: list[tuple[int, ...]] = []
    teacher = classifier(8)
    teacher.register_forward_hook(lambda part, given, _: seen.append(tuple(given[0].shape)))
    Teachers([teacher], chunk=2, native=(8, 8))(torch.rand(2, 3, 16, 16))
    assert seen == [(2, 1, 8, 8)]


def test_projections_are_made_where_shapes_differ(digits: Digits) -> None:
    def made(loss: str, *layers: str) -> list[nn.Module]:
        chosen = recipe(loss, layers=layers)
        module = module_for(chosen, example=digits.taken("train", 1).image)
        assert module.matching is not None
        return list(module.matching.projections)

    (conv,) = made("fitnets", "0")
    assert isinstance(conv, nn.Conv2d)
    assert conv.weight.shape == (8, 4, 1, 1)
    (linear,) = made("fitnets", "head_input")
    assert isinstance(linear, nn.Linear)
    assert linear.weight.shape == (288, 144)
    (mixed,) = made("fitnets", "0=head_input")
    assert isinstance(mixed, nn.Linear)
    assert mixed.weight.shape == (288, 4)
    assert isinstance(made("attention", "0")[0], nn.Identity)


def test_projections_learn_with_the_student(digits: Digits) -> None:
    module = module_for(recipe("fitnets"), example=digits.taken("train", 1).image)
    assert module.matching is not None
    start = copy.deepcopy(module.matching.state_dict())
    fit(module, digits, 1)
    assert not torch.equal(
        start["projections.0.weight"], module.matching.state_dict()["projections.0.weight"]
    )


def test_a_student_may_begin_with_layers_of_its_teacher() -> None:
    teacher, student = network(4, 1), network(4, 2)
    initialise_from(student, teacher, ["0", "1=1"])
    assert torch.equal(student[0].weight, teacher[0].weight)
    assert not torch.equal(student[5].weight, teacher[5].weight)
    module = Distillation(classifier(8, 1), classifier(8, 2), DistillationRecipe(init_from=("5",)))
    first = module.teachers.classifiers[0].model[5].weight
    assert torch.equal(module.classifier.model[5].weight, first)


def test_what_is_learnt_is_the_teacher(digits: Digits) -> None:
    """A student of soft targets alone agrees with a teacher that is mostly wrong."""
    teacher, student = classifier(8, 5), classifier(6, 6)
    chosen = DistillationRecipe(hard_weight=0.0, soft_weight=1.0, select="agreement")
    module = Distillation(teacher, student, chosen, Tuning(lr=0.01))
    trainer = fit(module, digits, 25)
    assert trainer.callback_metrics["val/agreement"] > 0.8
    assert trainer.callback_metrics["val/acc"] < 0.5


def test_the_attack_is_given_what_it_needs(digits: Digits) -> None:
    """ARD attacks the label, RSLAD the distance to the teacher; both a model in eval mode."""
    seen: list[tuple[int, bool]] = []

    def spy(model: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        seen.append((label.ndim, any(part.training for part in model.modules())))
        return sign_attack(model, image, label)

    for loss, dimensions in (("ard", 1), ("rslad", 2)):
        seen.clear()
        fit(Distillation(classifier(8), classifier(4), recipe(loss), None, spy), digits, 1)
        assert set(seen) == {(dimensions, False)}


def test_noise_disturbs_the_student_only(digits: Digits) -> None:
    module = Distillation(
        classifier(8), classifier(4), DistillationRecipe(), None, GaussianNoise(0.2)
    ).eval()
    batch = digits.taken("train", 8)
    torch.testing.assert_close(
        loss_inputs(module, batch).teacher.logits, module.teachers(batch.image).logits
    )
    assert not torch.equal(loss_inputs(module, batch).student.logits, module(batch.image))


def test_stops_when_the_loss_is_no_number(digits: Digits) -> None:
    tuning = Tuning(lr=1e30, optimizer="sgd", warmup=0.0)
    with pytest.raises(DivergedError, match=r"The training loss became (nan|inf) in step"):
        fit(Distillation(classifier(8), classifier(4), None, tuning), digits)


def test_a_larger_student_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="more than its teacher's"):
        Distillation(classifier(4), classifier(8))


MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "loss": (lambda: DistillationRecipe(loss="kdd"), "to be one of kd, dkd"),  # type: ignore[arg-type]
    "temperature": (lambda: DistillationRecipe(temperature=0), "to be above 0, but got 0"),
    "weight": (lambda: DistillationRecipe(soft_weight=-1), "of at least 0, but got -1"),
    "no weight": (lambda: DistillationRecipe(hard_weight=0, soft_weight=0), "but all are 0"),
    "no layers": (lambda: DistillationRecipe(loss="fitnets"), "but got none: name layers"),
    "alpha of kd": (lambda: DistillationRecipe(alpha=2), "only 'dkd' looks at, with 'kd'"),
    "form of rkd": (
        lambda: DistillationRecipe(loss="rkd", attention_form="paper"),
        "`distillation.attention_form`, which only 'attention' looks at",
    ),
    "weight of the paper's form": (
        lambda: recipe("attention", attention_form="paper"),
        "Expected `distillation.feature_weight` with the attention form 'paper'",
    ),
    "rkd of nothing": (
        lambda: recipe("rkd", distance_weight=0, angle_weight=0),
        "`distillation.distance_weight` or `distillation.angle_weight` above 0",
    ),
    "layers of kd": (lambda: DistillationRecipe(layers=("0",)), "'kd' does not look at"),
    "share": (lambda: DistillationRecipe(clean_share=2), r"in \[0, 1\], but got 2"),
    "no teacher": (lambda: Teachers([]), "at least one `teacher`"),
    "teacher weights": (
        lambda: Teachers([classifier(4), classifier(4)], [1]),
        r"of 2 numbers >= 0, one a teacher, but got \[1\]",
    ),
    "teachers' classes": (
        lambda: Teachers([classifier(4), classifier(4, classes=list("abcdefghij"))]),
        "Expected teachers of the same classes",
    ),
    "class spaces": (
        lambda: Distillation(classifier(8), classifier(4, classes=list("abcdefghij"))),
        r"student of the teacher's 10 classes \(0, 1, 2, 3, ...\), but got 10 \(a, b, c, d",
    ),
    "features of several": (
        lambda: Distillation([classifier(4), classifier(4)], classifier(4), recipe("rkd")),
        "Features are taken from one teacher, but got 2",
    ),
    "unknown layer": (
        lambda: Distillation(
            classifier(8), classifier(4), recipe("fitnets", layers=("conv1",)),
            example=torch.zeros(1, 1, 8, 8),
        ),
        "There is no layer 'conv1' in the model. Known: 0, 1, 2",
    ),
    "no places": (
        lambda: Distillation(
            classifier(8), classifier(4), recipe("attention", layers=("head_input",)),
            example=torch.zeros(1, 1, 8, 8),
        ),
        "that have places",
    ),
    "init_from": (
        lambda: Distillation(classifier(8), classifier(4), DistillationRecipe(init_from=("0",))),
        r"but the student's has weight \(4, 1, 3, 3\)",
    ),
    "no attack": (
        lambda: Distillation(classifier(8), classifier(4), recipe("ard")),
        r"Expected `perturb` for robust distillation \(ard\)",
    ),
    "mixup": (
        lambda: Distillation(classifier(8), classifier(4), None, Tuning(mixup=0.2)),
        "which distillation has not",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str) -> None:
    make, message = MISTAKES[case]
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.ddp
def test_two_processes(digits: Digits) -> None:
    trainer = fit(
        Distillation(classifier(8), classifier(4)), digits, 1, strategy="ddp_fork", devices=2
    )
    assert 0 <= trainer.callback_metrics["val/agreement"] <= 1


def test_plain_loaders_work() -> None:
    image, label = torch.rand(20, 1, 8, 8), torch.arange(20) % 10
    parts = [Batch(image[i : i + 10], label[i : i + 10], torch.arange(i, i + 10)) for i in (0, 10)]
    loader = DataLoader(parts, batch_size=None)  # type: ignore[arg-type]
    trainer = L.Trainer(
        accelerator="cpu", logger=False, max_epochs=1, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Distillation(classifier(8), classifier(4)), loader, loader)
    assert trainer.callback_metrics["train/loss"] > 0
