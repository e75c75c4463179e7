"""What every strategy promises; a new one in `STRATEGIES` gets this for free."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from callbacks.damage import DAMAGES, STRUCTURE, BitFlip, Zero
from callbacks.digests import weights_digest
from datamodules import Digits
from datamodules.errors import UserError
from lightning_modules import Classifier, FineTuning, Tuning, load_classifier
from pipelines.recover.cell import control, repaired
from pipelines.recover.page import write_recovery
from pipelines.recover.patient import KNOWLEDGE, Effort
from pipelines.recover.strategies import STRATEGIES, checked_strategies
from pipelines.recover.subject import (
    DATA_DAMAGES,
    Subject,
    TrainingData,
    damaged_by,
    make_damage,
    make_subject,
)
from pipelines.recover.table import recommendations, summarised
from pipelines.recover.training import grid
from pipelines.trainer import made_trainer

EACH = pytest.mark.parametrize("name", list(STRATEGIES))
EFFORT = Effort(steps=6, images=64, points=3)
CPU = {"accelerator": "cpu", "devices": 1}


@pytest.fixture(scope="session")
def subject() -> Subject:
    data = Digits(batch_size=64, resize=28)
    one = load_classifier("lenet", data_classes=data.classes, preprocessing=data.preprocessing)
    data.adopt(one.preprocessing)
    quiet = {
        **CPU, "max_steps": 150, "max_epochs": -1, "logger": False, "limit_val_batches": 0,
        "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    }  # fmt: skip
    made_trainer(quiet, []).fit(FineTuning(one, Tuning()), data)
    return make_subject(one.eval(), data, "float32", 200, "LeNet/Digits")


@EACH
def test_a_repair_gives_a_row_and_leaves_the_rest_alone(name: str, subject: Subject) -> None:
    hurt = damaged_by(subject, Zero(), 0.3, 0)
    digests = [weights_digest(one) for one in (subject.stored.original, hurt.classifier)]
    state = torch.get_rng_state()
    classifier, row = repaired(subject, hurt, name, EFFORT, 0, CPU)
    assert digests == [weights_digest(one) for one in (subject.stored.original, hurt.classifier)]
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
    name: str, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking away any declared knowledge is noticed, or it would be declared for nothing."""
    way, hurt = STRATEGIES[name], damaged_by(subject, Zero(), 0.3, 0)
    for less in way.knows:
        monkeypatch.setitem(STRATEGIES, "less", replace(way, knows=way.knows - {less}))
        with pytest.raises(AssertionError, match="has not declared"):
            repaired(subject, hurt, "less", Effort(steps=1, images=8), 0, CPU)


def test_restoring_is_exact(subject: Subject) -> None:
    hurt = damaged_by(subject, Zero(), 0.5, 0)
    for name in ("restore_all",):
        classifier, row = repaired(subject, hurt, name, EFFORT)
        assert weights_digest(classifier) == weights_digest(subject.stored.original)
        assert row["acc_repaired"] == row["acc_original"]


def test_flips_are_mended_exactly(subject: Subject) -> None:
    hurt = damaged_by(subject, BitFlip(), 5, 0)
    classifier, _ = repaired(subject, hurt, "mend", EFFORT)
    assert weights_digest(classifier) == weights_digest(subject.stored.original)


def test_retraining_the_damaged_keeps_the_others(subject: Subject) -> None:
    hurt = damaged_by(subject, Zero(), 0.3, 0)
    classifier, _ = repaired(subject, hurt, "retrain_damaged", EFFORT, 0, CPU)
    before, after = hurt.classifier.state_dict(), classifier.state_dict()
    for name, value in after.items():
        mask = hurt.hit.get(name, torch.zeros(value.shape, dtype=torch.bool))
        assert torch.equal(value[~mask], before[name][~mask])


def test_the_same_seed_is_the_same_repair(subject: Subject) -> None:
    hurt = damaged_by(subject, Zero(), 0.3, 0)
    one, two, other = (
        repaired(subject, hurt, "retrain_all", EFFORT, seed, CPU)[0] for seed in (0, 0, 1)
    )
    assert weights_digest(one) == weights_digest(two) != weights_digest(other)


def test_a_divergence_is_a_row(subject: Subject) -> None:
    hurt = damaged_by(subject, Zero(), 0.3, 0)
    with torch.no_grad():
        hurt.classifier.model.state_dict()["conv1.weight"].view(-1)[0] = torch.nan
    row = repaired(subject, hurt, "retrain_all", EFFORT, 0, CPU)[1]
    assert row["status"].startswith("diverged: The loss of the recovery became nan")


def test_the_table_and_the_page(subject: Subject, tmp_path: Path) -> None:
    names = ["nothing", "retrain_all", "reestimate_batch_norm", "restore_all"]
    rows = [control(subject, kind, EFFORT, 0, CPU) for kind in ("none", "scratch")]
    for severity in (0.0, 0.6):
        for seed in range(2):
            hurt = damaged_by(subject, Zero(), severity, seed)
            rows += [repaired(subject, hurt, name, EFFORT, seed, CPU)[1] for name in names]
    table = pd.DataFrame(rows)
    lines = summarised(table)
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
    best = recommendations(lines).set_index("severity")
    assert best.loc[0.0, "why"] == "damage inside the noise"
    page = (
        write_recovery(table, lines, tmp_path, "a title", "assay recover") / "report.html"
    ).read_text()
    assert "not applicable: The model has no batch norm" in page
    assert (tmp_path / "tables" / "recommendations.json").is_file()


@pytest.mark.parametrize("name", [*DAMAGES, *STRUCTURE, *DATA_DAMAGES])
def test_every_damage_can_be_repaired_by_the_original(name: str, subject: Subject) -> None:
    if name == "remove_layers":
        pytest.skip("LeNet has no block that keeps its shape")
    damage = make_damage(name)
    if isinstance(damage, TrainingData):
        damage = replace(damage, steps=2)
    hurt = damaged_by(subject, damage, damage.severities[0], 0, CPU)
    classifier, row = repaired(subject, hurt, "restore_all", EFFORT, 0, CPU)
    assert row["acc_repaired"] == row["acc_original"]
    assert weights_digest(classifier) == weights_digest(subject.stored.original)
    assert math.isnan(row["asr_repaired"]) == (name != "bad_nets")
    row = repaired(subject, hurt, "retrain_last", EFFORT, 0, CPU)[1]
    assert row["status"] == "ok"


def test_pruned_connections_stay_away_when_retrained(subject: Subject) -> None:
    hurt = damaged_by(subject, make_damage("prune"), 0.5, 0)
    classifier, _ = repaired(subject, hurt, "retrain_all", EFFORT, 0, CPU)
    for name, kept in hurt.held.items():
        assert (classifier.get_parameter(name)[~kept] == 0).all()


MISTAKES = [
    (lambda: make_damage("zer"), "There is no damage 'zer'. Did you mean 'zero'?"),
    (lambda: checked_strategies(["retrain"]), "There is no strategy 'retrain'."),
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


def test_a_load_classifier_another_kind(subject: Subject) -> None:
    assert isinstance(subject.stored.original, Classifier)
    assert math.isfinite(subject.cost.training_memory)
