"""`assay fine-tune --tuning.mode NAME` and `--regulariser.NAME`, as a user types them."""

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

Assay = Callable[..., tuple[int, str, str]]
QUICK = (
    "--model lenet --data Digits --data.limit 120 --trainer.max_epochs 2 --evaluation none "
    "--trainer.enable_progress_bar false"
)


def trained(assay: Assay, words: str, tracking: bool = False) -> tuple[int, str, str]:
    rest = "" if tracking else "--tracking.enabled false"
    return assay("fine-tune", *QUICK.split(), *words.split(), *rest.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("linear_probe", ""),
        ("last_k --tuning.last_k 2", ""),
        ("staged", ""),
        ("l2_sp --tuning.alpha 0.01", "the place of weight decay"),
        ("lp_ft", "of the validation images, before the fine-tuning"),
    ],
)
def test_it_trains(words: str, said: str, assay: Assay) -> None:
    code, out, err = trained(assay, f"--tuning.mode {words}")
    assert code == 0, err
    assert said in out
    assert "weights  " in out


def test_options_of_a_mode_change_the_weights(assay: Assay) -> None:
    """`weights` names the folder, which names the key; the file is the answer."""
    seen = set()
    for words in ("last_k", "last_k --tuning.last_k 2", "l2_sp", "l2_sp --tuning.alpha 10"):
        # Several steps: the springs have no gradient in the first, where they start.
        out = trained(assay, f"--tuning.mode {words} --data.batch_size 16")[1]
        (folder,) = [line[9:] for line in out.splitlines() if line.startswith("weights")]
        seen.add((Path(folder) / "model.safetensors").read_bytes())
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--tuning.mode last_k --tuning.alpha 1", "Got `tuning.alpha` with --tuning.mode last_k"),
        ("--tuning.mode lpft", "lp_ft"),
        ("--tuning.mode staged --trainer.max_epochs -1 --trainer.max_steps 3", "max_epochs"),
        ("--model cifar_resnet20 --tuning.dropout 0.1", "has no dropout layer"),
        ("--config pgd_at --tuning.mode staged", "robust training is done in mode full"),
        ("--regulariser.logit_pairing 1", "without `perturb`"),
        ("--config augmix --regulariser.awp 0.01", "the consistency loss of `perturb`"),
        ("--config free_at --regulariser.awp 0.01", "free training"),
    ],
)
def test_mistakes(words: str, said: str, assay: Assay) -> None:
    code, _, err = trained(assay, words)
    assert code == 2
    assert said in err


def test_what_is_added_is_said_and_logged(assay: Assay, home: Path) -> None:
    words = "--regulariser.input_gradient 0.1 --regulariser.awp 0.01 --tuning.dropout 0.1"
    code, out, err = trained(assay, words, tracking=True)
    assert code == 0, err
    assert "loss     + input_gradient 0.1, awp 0.01" in out
    assert "dropout  0.1 in 1 layer" in out
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlruns/mlflow.db")
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    (run,) = [run for run in runs if "regulariser.awp" in run.data.params]
    assert run.data.params["regulariser.input_gradient"] == "0.1"
    assert run.data.metrics["train/input_gradient"] > 0


@pytest.mark.slow
def test_a_student_is_regularised_too(assay: Assay, home: Path) -> None:
    code, out, err = assay(
        "distill", "--teacher", "lenet", "--student", "lenet", "--data", "Digits", "--data.limit",
        "120", "--trainer.max_epochs", "1", "--evaluation", "none", "--regulariser.input_gradient",
        "0.1", "--tracking.enabled", "false",
    )  # fmt: skip
    assert code == 0, err
    assert "loss     + input_gradient 0.1" in out
    (folder,) = (home / "mlruns" / "results").iterdir()
    settings = json.loads((folder / "result.json").read_text())["facts"]["settings"]
    assert settings["regulariser.input_gradient"] == 0.1
