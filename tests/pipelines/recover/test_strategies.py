"""What every strategy promises; a new one in `STRATEGIES` gets this for free."""

import copy
import json
import math
import sys
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch

from callbacks.damage import DAMAGES, STRUCTURE, BitFlip, Selection, Zero
from callbacks.damage.selection import owner_of
from callbacks.digests import weights_digest
from datamodules import Batch, Digits, ImageDataModule
from datamodules.errors import UserError
from datamodules.spoiled import spoiled
from datamodules.torch_data import TorchData
from lightning_modules import Classifier, FineTuning, Tuning, load_classifier
from lightning_modules.recovery import Recovery
from lightning_modules.trial import is_lazy
from pipelines.recover import repair as repair_module
from pipelines.recover import row as row_module
from pipelines.recover import training
from pipelines.recover.advice import recommended
from pipelines.recover.cell import seeded
from pipelines.recover.damages import (
    DATA_DAMAGES,
    Damaged,
    Spoil,
    TrainingDamage,
    control,
    damaged_by,
    make_damage,
)
from pipelines.recover.features import features
from pipelines.recover.original import Original, redrawn
from pipelines.recover.plan import Plan
from pipelines.recover.repair import KNOWLEDGE, Effort, Repair, _Hidden
from pipelines.recover.row import repaired
from pipelines.recover.strategies import STRATEGIES, Strategy, checked_strategies
from pipelines.recover.table import assessed, summarised
from pipelines.recover.training import grid
from pipelines.study.training import shuffled, train_steps

EACH = pytest.mark.parametrize("name", list(STRATEGIES))
EFFORT = Effort(steps=6, images=64, points=3)
CPU = {"accelerator": "cpu", "devices": 1}


@pytest.fixture(scope="session")
def original() -> Original:
    data = Digits(batch_size=64, resize=28)
    with seeded(0):  # the same weights, whichever tests came before
        one = load_classifier("lenet", data_classes=data.classes, preprocessing=data.preprocessing)
        data.adopt(one.preprocessing)
        train_steps(FineTuning(one, Tuning()), data, 150, CPU)
    return Original.of(one, data, "float32", 200, "LeNet/Digits")


def damaged(original: Original, damage: Any, severity: float, seed: int = 0) -> Damaged:
    def train(classifier: Classifier, data: ImageDataModule, steps: int, seed: int) -> None:
        train_steps(Recovery(classifier, Tuning()), shuffled(data, seed), steps, CPU)

    name = getattr(damage, "name", "data")
    return damaged_by(original, damage, name, severity, seed, train)


@EACH
def test_a_repair_gives_a_row_and_leaves_the_rest_alone(name: str, original: Original) -> None:
    hit = damaged(original, Zero(), 0.3)
    digests = [weights_digest(one) for one in (original.classifier, hit.classifier)]
    state = torch.get_rng_state()
    classifier, row, told = repaired(hit, name, EFFORT, 0, CPU)
    assert told["index"].tolist() == original.test.index.tolist()
    right = {who: told[who] == told["label"] for who in ("original", "damaged", "repaired")}
    assert [right[who].mean() for who in right] == pytest.approx(
        [row[f"acc_{who}"] for who in right]
    )
    assert row["negative_flips"] == pytest.approx((right["original"] & ~right["repaired"]).mean())
    assert row["positive_flips"] == pytest.approx((~right["original"] & right["repaired"]).mean())
    assert digests == [weights_digest(one) for one in (original.classifier, hit.classifier)]
    assert torch.equal(torch.get_rng_state(), state) or STRATEGIES[name].trains
    assert row["status"] == "ok" or row["status"].startswith("not applicable")
    if name == "nothing":
        assert weights_digest(classifier) == digests[1]
    if STRATEGIES[name].trains and row["status"] == "ok":
        assert row["steps"] == EFFORT.steps
        assert [one["step"] for one in json.loads(row["curve"])][-1] == EFFORT.steps
        assert row["flops"] > 0
    knows = STRATEGIES[name].knows
    assert knows <= set(KNOWLEDGE)
    assert (row["labels"] > 0) == (row["status"] == "ok" and "labels" in knows)
    assert row["storage_bits"] == 0 or knows & {"original", "signatures", "ranges"}


@EACH
def test_what_is_not_declared_is_refused(
    name: str, original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking away any declared knowledge is noticed, or it would be declared for nothing."""
    damage = make_damage("prune") if name == "regrow" else Zero()
    way, hit = STRATEGIES[name], damaged(original, damage, 0.3, 0)
    for less in way.knows:
        monkeypatch.setitem(STRATEGIES, "less", replace(way, knows=way.knows - {less}))
        with pytest.raises(AssertionError, match="has not declared"):
            repaired(hit, "less", Effort(steps=1, images=8), 0, CPU)


def test_restoring_is_exact(original: Original) -> None:
    hit = damaged(original, Zero(), 0.5, 0)
    classifier, row, _ = repaired(hit, "restore_all", EFFORT)
    assert weights_digest(classifier) == weights_digest(original.classifier)
    assert row["acc_repaired"] == row["acc_original"]


def test_flips_are_mended_exactly(original: Original) -> None:
    hit = damaged(original, BitFlip(), 5, 0)
    classifier, _, _ = repaired(hit, "mend", EFFORT)
    assert weights_digest(classifier) == weights_digest(original.classifier)


def test_retraining_the_damaged_keeps_the_others(original: Original) -> None:
    hit = damaged(original, Zero(), 0.3)
    classifier, _, _ = repaired(hit, "retrain_damaged", EFFORT, 0, CPU)
    before, after = hit.classifier.state_dict(), classifier.state_dict()
    for name, value in after.items():
        mask = hit.hit.get(name, torch.zeros(value.shape, dtype=torch.bool))
        assert torch.equal(value[~mask], before[name][~mask])


def test_the_same_seed_is_the_same_repair(original: Original) -> None:
    hit = damaged(original, Zero(), 0.3)
    one, two, other = (repaired(hit, "retrain_all", EFFORT, seed, CPU)[0] for seed in (0, 0, 1))
    assert weights_digest(one) == weights_digest(two) != weights_digest(other)


def test_a_divergence_is_a_row(original: Original) -> None:
    hit = damaged(original, Zero(), 0.3)
    with torch.no_grad():
        hit.classifier.model.state_dict()["conv1.weight"].view(-1)[0] = torch.nan
    row = repaired(hit, "retrain_all", EFFORT, 0, CPU)[1]
    assert row["status"].startswith("diverged: The loss of the recovery became nan")


def test_the_table(original: Original) -> None:
    names = ["nothing", "retrain_all", "reestimate_batch_norm", "restore_all"]
    controls = [control(original, kind, 0) for kind in ("none", "scratch")]
    rows = [repaired(one, "retrain_all", EFFORT, 0, CPU)[1] for one in controls]
    for severity in (0.0, 0.6):
        for seed in range(2):
            hit = damaged(original, Zero(), severity, seed)
            rows += [repaired(hit, name, EFFORT, seed, CPU)[1] for name in names]
    lines = summarised(pd.DataFrame(rows))
    none = lines[(lines["damage"] == "zero") & (lines["severity"] == 0)]
    assert none["in_noise"].all()
    assert none["ratio"].isna().all(), "no ratio is printed where nothing was lost"
    full = lines[(lines["severity"] == 0.6) & (lines["strategy"] == "restore_all")]
    assert full["ratio"].tolist() == [1.0]
    skipped = lines[lines["strategy"] == "reestimate_batch_norm"]
    assert skipped["acc"].isna().all()
    trained = lines[(lines["severity"] == 0.6) & (lines["strategy"] == "retrain_all")].iloc[0]
    undamaged = lines[lines["damage"] == "none"].iloc[0]
    assert trained["net"] == pytest.approx(trained["acc"] - undamaged["acc"])
    best = {line["severity"]: line["why"] for line in recommended(pd.DataFrame(rows), lines)}
    assert best[0.0] == "damage inside the noise"


OF_LENET = {*DAMAGES, *STRUCTURE, *DATA_DAMAGES} - {"remove_layers"}
"""It has no block that keeps its shape."""


@pytest.mark.parametrize("name", sorted(OF_LENET))
def test_every_damage_can_be_repaired_by_the_original(name: str, original: Original) -> None:
    damage = make_damage(name)
    if isinstance(damage, TrainingDamage):
        damage = replace(damage, spoil=Spoil(2, 2))
    hit = damaged(original, damage, damage.severities[0])
    classifier, row, _ = repaired(hit, "restore_all", EFFORT, 0, CPU)
    assert row["acc_repaired"] == row["acc_original"]
    assert weights_digest(classifier) == weights_digest(original.classifier)
    assert math.isnan(row["asr_repaired"]) == (name != "bad_nets")
    row = repaired(hit, "retrain_last", EFFORT, 0, CPU)[1]
    assert row["status"] == "ok"
    assert math.isfinite(row["loss_repaired"])


def test_pruned_connections_stay_away_when_retrained(original: Original) -> None:
    hit = damaged(original, make_damage("prune"), 0.5, 0)
    classifier, _, _ = repaired(hit, "retrain_all", EFFORT, 0, CPU)
    for name, kept in hit.held.items():
        assert (classifier.get_parameter(name)[~kept] == 0).all()


def test_what_is_stored_is_counted_once(original: Original) -> None:
    hit = damaged(original, BitFlip(), 5)
    row = repaired(hit, "zero_suspects_batch_norm", EFFORT)[1]  # asks for the signatures twice
    assert row["storage_bits"] == original.signatures.bits


def test_fresh_layers_differ_and_come_again(original: Original) -> None:
    repair = Repair(damaged(original, Zero(), 0.3), frozenset(), EFFORT, seed=3)
    one, other = (repair.fresh_layers(["model.fc2", "model.fc3"]) for _ in range(2))
    assert weights_digest(one["model.fc2"]) == weights_digest(other["model.fc2"])
    before = original.classifier.get_submodule("model.fc3")
    assert weights_digest(one["model.fc3"]) != weights_digest(before)


def test_the_users_model_is_left_as_it_is(original: Original) -> None:
    given = copy.deepcopy(original.classifier).train()
    digest = weights_digest(given)
    rounded = Original.of(given, original.data, "int4", 50)
    assert weights_digest(given) == digest != weights_digest(rounded.classifier)
    assert given.training


MISTAKES = [
    (lambda: Plan({"zero": ()}, [], [EFFORT], 0, 1), "Expected `draws` to be at least 1"),
    (lambda: make_damage("bad_nets", layers=["fc1"]), "damages training data: leave them out"),
    (lambda: make_damage("zer"), "There is no damage 'zer'. Did you mean 'zero'?"),
    (lambda: checked_strategies(["retrain"]), "There is no strategy 'retrain'."),
    (lambda: Effort(epochs=0), "Expected `effort.epochs` to be positive, but got 0."),
    (lambda: Effort(tuning=Tuning(ema=0.9)), "Expected no `effort.tuning.ema`"),
    (lambda: Effort(tuning=Tuning(mode="linear_probe")), "Expected no `effort.tuning.mode`"),
    (lambda: Effort(steps=0), "Expected `effort.steps` to be at least 1, but got 0."),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES)
def test_mistakes(mistake: object, message: str) -> None:
    with pytest.raises(UserError) as told:
        mistake()  # type: ignore[operator]
    assert message in str(told.value)


@pytest.mark.parametrize(("steps", "points"), [(1, 1), (6, 3), (100, 8), (5, 100)])
def test_measurements_grow_geometrically_and_end_at_the_end(steps: int, points: int) -> None:
    found = grid(steps, points)
    assert found[-1] == steps
    assert found == sorted(set(found))
    assert len(found) <= points + 1


@pytest.mark.parametrize(
    "mapping", ["all_to_one", pytest.param("all_to_all", marks=pytest.mark.slow)]
)
def test_a_backdoor_is_trained_until_it_takes(mapping: Any, original: Original) -> None:
    """On LeNet and digits; what does not take within its budget is told."""
    taken = damaged(original, make_damage("bad_nets", spoil=Spoil(60, 30, 3, mapping)), 0.4)
    assert "The damage took: " in taken.note
    row = repaired(taken, "nothing", EFFORT)[1]
    assert row["asr_damaged"] > 0.9
    assert row["note"] == taken.note
    short = damaged(original, make_damage("bad_nets", spoil=Spoil(1, 2, 3, mapping)), 0.05)
    assert "did not take within its budget: " in short.note
    assert short.note.endswith("(95 % wanted) after 2 steps.")


def test_a_classifier_of_another_kind(original: Original) -> None:
    assert isinstance(original.classifier, Classifier)
    assert math.isfinite(original.cost.training_memory)


def test_from_scratch_keeps_no_weight(odd: Any) -> None:
    """Attention, embeddings and originals of parametrised layers too."""
    network = odd.network()
    if is_lazy(network):
        network(odd.images())
    fresh = redrawn(network, 7)
    before = dict(network.named_parameters())
    kept = [
        name
        for name, parameter in fresh.named_parameters()
        if parameter.ndim > 1 and parameter.numel() > 1 and bool((parameter == before[name]).any())
    ]
    masked = {"conv.weight_orig", "head.weight_orig"}
    assert not set(kept) - masked
    assert all(bool(parameter.isfinite().all()) for parameter in fresh.parameters())
    assert weights_digest(redrawn(network, 7)) == weights_digest(fresh)


def test_from_scratch_keeps_no_complex_weight() -> None:
    """As in filters of the spectrum, which no initialiser sets."""
    network = torch.nn.Module()
    network.filter = torch.nn.Parameter(torch.randn(4, 5, dtype=torch.cfloat))
    before = torch.view_as_real(network.filter.detach())
    fresh = torch.view_as_real(redrawn(network, 7).get_parameter("filter").detach())
    assert bool(fresh.isfinite().all())
    assert not (fresh == before).any()
    assert float(fresh.std()) == pytest.approx(float(before.std()), rel=0.5), "40 numbers"


ODDLY_BUILT = [
    "aliases",
    "tied",
    "attention",
    "weight_norm",
    "unused projection",
    "functional head",
]
"""Names of odd networks whose parameters are not where their layers are."""


@pytest.fixture(scope="module", params=ODDLY_BUILT)
def odd_original(request: pytest.FixtureRequest) -> Original:
    table = sys.modules["odd_networks"].ODD
    (odd,) = [one for one in table if one.name == request.param]
    image, label = odd.images(48), torch.arange(48) % odd.classes
    data = TorchData((image, label), (image, label), classes=odd.classes, batch_size=16)
    one = load_classifier(odd.network(), data_classes=data.classes)
    return Original.of(one, data, "float32", 48, odd.name)


def test_odd_networks_look_as_computed_by_hand(odd_original: Original) -> None:
    """Logits by the twin, weights laid end to end; nothing has moved where nothing was damaged."""
    table = {one.name: one for one in sys.modules["odd_networks"].ODD}
    odd, hit = table[odd_original.label], damaged(odd_original, Zero(), 0.6)
    seen, image = features(hit), odd_original.data.taken("val", 256).image
    with torch.no_grad():
        before, after = (odd.by_hand(x.classifier.model, image) for x in (odd_original, hit))
    assert seen["logit_distance"] == pytest.approx(
        float((after - before).norm() / before.norm()),
        rel=1e-4,  # float32
    )
    flat = [
        torch.cat([p.detach().flatten() for p in one.classifier.parameters()])
        for one in (odd_original, hit)
    ]
    way = float((flat[1] - flat[0]).norm() / flat[0].norm())
    assert seen["weight_distance"] == pytest.approx(way, rel=1e-5)
    assert math.isfinite(seen["sharpness"])
    still = features(damaged(odd_original, Zero(), 0.0))
    assert (still["weight_distance"], still["logit_distance"]) == (0, 0)


def test_what_is_gone_is_as_far_away_as_zeros(original: Original) -> None:
    """Channels that are removed, and the same numbers set to zero, have gone the same way."""
    gone = damaged(original, make_damage("remove_channels"), 0.5)
    weights = dict(original.classifier.named_parameters())
    left = {n: p.flatten()[gone.kept[n].flatten()] if n in gone.kept else p
            for n, p in weights.items()}  # fmt: skip
    lost = sum(
        float(p.double().square().sum() - left[n].double().square().sum())
        for n, p in weights.items()
    )
    whole = sum(float(p.double().square().sum()) for p in weights.values())
    seen = features(gone)
    assert seen["weight_distance"] == pytest.approx((lost / whole) ** 0.5, rel=1e-6)
    assert 0 < seen["cka_min"] <= seen["cka_mean"] <= 1


def test_what_is_no_number_is_unlike_and_infinitely_far(original: Original) -> None:
    hit = damaged(original, Zero(), 0.3)
    with torch.no_grad():
        hit.classifier.model.state_dict()["conv1.weight"].fill_(torch.nan)
    seen = features(hit)
    assert (seen["cka_mean"], seen["accuracy"]) == (0, 0)
    assert seen["weight_distance"] == seen["sharpness"] == seen["loss"] == math.inf


def test_odd_networks_are_repaired(odd_original: Original) -> None:
    effort = Effort(steps=2, images=16, points=2)
    hit = damaged(odd_original, Zero(), 0.6)
    before = odd_original.classifier.state_dict()
    exact = ("restore_all", "mend")
    for name in STRATEGIES:
        classifier, row, _ = repaired(hit, name, effort, 0, CPU)
        assert row["status"] == "ok" or row["status"].startswith("not applicable"), name
        assert math.isfinite(row["acc_repaired"])
        if name in exact and name != "mend":
            assert weights_digest(classifier) == weights_digest(odd_original.classifier)
    layers, state = hit.layers, repaired(hit, "restore_worst_layer", effort)[0].state_dict()
    worst = [name for name in hit.hit if owner_of(name) == layers[0]]
    assert worst
    for name, value in state.items():
        kept = hit.classifier.state_dict()[name]
        alias = any(value.data_ptr() == state[one].data_ptr() for one in worst)
        assert torch.equal(value, before[name] if alias else kept), name


def test_what_was_not_declared_is_not_there(original: Original) -> None:
    """No attribute leads to the undamaged weights, the labels, or the images that decide."""
    hit = damaged(original, Zero(), 0.6)
    none = Repair(hit, frozenset(), EFFORT)
    for ask in ("original", "signatures", "ranges", "location", "images", "undamaged_data"):
        with pytest.raises(AssertionError, match="has not declared"):
            getattr(none, ask)()
    with pytest.raises(AssertionError, match="has not declared"):
        _ = none.data
    held = vars(none).values()
    assert not any(isinstance(one, Original | Damaged | ImageDataModule) for one in held)
    unlabelled = Repair(hit, frozenset({"images"}), EFFORT).data
    assert unlabelled.images("train").label.unique().tolist() == [0]
    assert torch.equal(unlabelled.taken("train", 999).image.sum(0), hit_images(original).sum(0))
    labelled = Repair(hit, frozenset({"labels"}), EFFORT).data
    assert len(labelled.images("train").label.unique()) == 10


def hit_images(original: Original) -> torch.Tensor:
    """In the order of labels that are all alike."""
    hidden = spoiled(original.data, _Hidden())[0]
    return hidden.taken("train", 999).image


def test_costs_are_those_of_what_was_done(original: Original) -> None:
    """By hand: LeNet's last layer, 84 to 10, needs its own gradient only (2 * 84 * 10 FLOPs)."""
    hit, per_image = damaged(original, Zero(), 0.3), original.cost
    rows = {name: repaired(hit, name, EFFORT, 0, CPU)[1] for name in (
        "retrain_all", "retrain_last", "distil", "drop_suspects", "nothing"
    )}  # fmt: skip
    samples = 6 * 64
    assert rows["retrain_all"]["flops"] == pytest.approx(per_image.training * samples)
    last = per_image.forward + 2 * 84 * 10
    assert rows["retrain_last"]["flops"] == pytest.approx(last * samples)
    distilled = (per_image.training + per_image.forward) * samples
    assert rows["distil"]["flops"] == pytest.approx(distilled)
    assert (rows["distil"]["labels"], rows["distil"]["images"]) == (0, samples)
    every = len(original.data.images("train"))
    assert (rows["drop_suspects"]["labels"], rows["drop_suspects"]["images"]) == (every, every)
    curve = json.loads(rows["drop_suspects"]["curve"])
    assert rows["drop_suspects"]["seconds"] > curve[-1]["seconds"], "looking through them, too"
    assert (rows["nothing"]["flops"], rows["nothing"]["images"]) == (0, 0)


def test_a_short_last_batch_is_not_counted_as_a_whole_one(original: Original) -> None:
    """70 images in batches of 64: six steps are three passes of 64 and 6."""
    few = original.data.with_images(train=original.data.images("train").subset(torch.arange(70)))
    hit = damaged(replace(original, data=few), Zero(), 0.3)
    rows = {name: repaired(hit, name, EFFORT, 0, CPU)[1] for name in ("retrain_all", "distil")}
    assert (rows["retrain_all"]["samples"], rows["retrain_all"]["images"]) == (210, 70)
    assert rows["retrain_all"]["flops"] == pytest.approx(210 * original.cost.training)
    both = original.cost.training + original.cost.forward
    assert rows["distil"]["flops"] == pytest.approx(210 * both)


def test_a_curve_is_held_against_its_own_images(
    original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The undamaged model is itself from the first step on; who learns nothing stays away."""
    right = original.answers.correct
    place = torch.argsort(right.int(), stable=True)  # the first ones are hard
    test = Batch(*(part[place] for part in original.test))
    monkeypatch.setattr(repair_module, "CURVE", 100)
    monkeypatch.setattr(row_module, "CURVE", 100)
    hard = replace(original, test=test)
    assert right[place][:100].float().mean() < 0.99 * right.float().mean()
    idle = replace(EFFORT, tuning=Tuning(lr=1e-12, weight_decay=0))
    hit = damaged(hard, Zero(), 0.6)
    for one in (control(hard, "none", 0), hit):
        row = repaired(one, "retrain_all", idle, 0, CPU)[1]
        (line,) = assessed(pd.DataFrame([row])).to_dict("records")
        if one is hit:
            assert line["area"] == pytest.approx(1)
        else:
            assert (line["steps_99"], line["ratio"]) == (0, pytest.approx(math.nan, nan_ok=True))
    row |= {"curve_damaged": row["curve_original"], "curve_drop_error": 0.01}
    assert math.isnan(assessed(pd.DataFrame([row]))["area"].iloc[0]), "not shown by these images"


ACTING = [
    {"loss": "mse"}, {"label_smoothing": 0.2}, {"mixup": 0.4}, {"cutmix": 1.0}, {"momentum": 0.1},
    {"weight_decay": 0.5}, {"nesterov": False}, {"schedule": "constant"}, {"warmup": 0.5},
    {"lr": 0.1},
]  # fmt: skip


class Clock:
    """Stands still but for what is done on purpose."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_seconds_are_those_of_the_repair_without_its_measurements(
    original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: 6 steps of 3 seconds and 5 seconds before them; asking about accuracy takes 100."""
    hit, clock = damaged(original, Zero(), 0.3), Clock()
    monkeypatch.setattr(row_module, "time", clock)
    monkeypatch.setattr(training, "time", clock)
    train_step, asked = Recovery.training_step, repair_module.answers

    def slow_step(module: Recovery, batch: Any, batch_idx: int) -> torch.Tensor:
        clock.now += 3
        return train_step(module, batch, batch_idx)

    def slow_answers(*args: Any) -> Any:
        clock.now += 100
        return asked(*args)

    def prepared(repair: Repair) -> None:
        clock.now += 5
        STRATEGIES["retrain_all"].apply(repair)

    monkeypatch.setattr(Recovery, "training_step", slow_step)
    monkeypatch.setattr(repair_module, "answers", slow_answers)
    labels = frozenset({"labels"})
    monkeypatch.setitem(STRATEGIES, "prepared", Strategy(prepared, "Prepared", labels))
    row = repaired(hit, "prepared", EFFORT, 0, CPU).row
    assert row["seconds"] == 23
    points = json.loads(row["curve"])
    assert [point["seconds"] for point in points] == [3 * point["step"] for point in points]
    assert all(math.isfinite(point["loss"]) for point in points)


@pytest.mark.parametrize(
    "name", ["retrain_all", "distil", "drop_suspects", "reestimate_batch_norm", "zero_suspects"]
)
def test_images_read_are_those_that_were_shown_to_the_model(
    name: str, original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted by a hook on the network, which sees what is measured too: the test images."""
    monkeypatch.setattr(training, "training_flops", lambda *_: 1.0)  # asks about eight images
    hit, seen = damaged(original, Zero(), 0.3), set[bytes]()
    hit.classifier.uncalled = torch.nn.BatchNorm2d(1)  # so that there is one to measure anew
    judged = {image.numpy().tobytes() for image in original.test.image}

    def look(_: Any, args: tuple[torch.Tensor]) -> None:
        seen.update(image.numpy().tobytes() for image in args[0])

    hit.classifier.register_forward_pre_hook(look)  # copies of the classifier keep it
    row = repaired(hit, name, EFFORT, 0, CPU).row
    assert row["status"] == "ok"
    assert row["images"] == len(seen - judged)


def test_the_recipe_acts(original: Original) -> None:
    hit, plain = damaged(original, Zero(), 0.3), Tuning(optimizer="sgd", lr=0.05)
    digests = []
    for changes in ({}, {}, *ACTING):
        effort = replace(EFFORT, tuning=replace(plain, **changes), points=1)
        with seeded(0):
            digests.append(weights_digest(repaired(hit, "retrain_all", effort, 0, CPU)[0]))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 1 + len(ACTING)


def test_epochs_are_batches_of_the_data(original: Original) -> None:
    hit, n = damaged(original, Zero(), 0.3), len(original.data.images("train"))
    row = repaired(hit, "retrain_last", Effort(epochs=0.5, points=1), 0, CPU)[1]
    assert row["steps"] == round(0.5 * math.ceil(n / 64))
    assert row["loss_repaired"] < row["loss_damaged"]


@pytest.mark.parametrize(("name", "severity"), [("prune", 0.9), ("remove_channels", 0.5)])
def test_what_was_removed_grows_anew(name: str, severity: float, original: Original) -> None:
    hit = damaged(original, make_damage(name), severity)
    assert hit.layers, "it is known where something is gone"
    classifier, row, _ = repaired(hit, "regrow", Effort(steps=60), 0, CPU)
    assert row["status"] == "ok"
    assert row["acc_repaired"] > row["acc_damaged"] + 0.1
    shapes = {n: p.shape for n, p in classifier.named_parameters()}
    assert shapes == {n: p.shape for n, p in original.classifier.named_parameters()}
    for way in ("retrain_damaged", "rebuild_pretrained"):
        assert repaired(hit, way, EFFORT, 0, CPU)[1]["status"] == "ok"


def test_biases_are_signed_too(original: Original) -> None:
    everything = BitFlip(selection=Selection(("fc3",), parameters="all"))
    flips = [damaged(original, everything, 60, seed) for seed in range(4)]
    hit = [one for one in flips if "model.fc3.bias" in one.hit]
    assert hit
    suspects = original.signatures.suspects(
        {name: hit[0].classifier.state_dict()[name] for name in original.signatures.steps}
    )
    assert suspects["model.fc3.bias"][hit[0].hit["model.fc3.bias"]].all()


def test_what_checksums_could_not_mend_is_told(original: Original) -> None:
    row = repaired(damaged(original, Zero(), 0.5), "mend", EFFORT)[1]
    assert "groups still differ afterwards" in row["note"]
    assert repaired(damaged(original, BitFlip(), 5), "mend", EFFORT)[1]["note"] == ""
