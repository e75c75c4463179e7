"""Attacks by scores, by decisions and from a surrogate, on the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lightning_modules import build
from pipelines.evaluate.result import Evaluation
from pipelines.report.result import load_result

Assay = Callable[..., tuple[int, str, str]]
MODEL = ["--arch", "lenet", "--data", "Digits", "--data.limit", "30", "--chunk", "32"]


def rows(home: Path, name: str) -> Evaluation:
    (file,) = (home / "mlruns" / "results").glob("*/result.json")
    result = load_result(file.parent)
    assert isinstance(result, Evaluation)
    return result.result(name).rows


@pytest.fixture(scope="session")
def sealed(lenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network as a TorchScript file, which only answers."""
    model = build("lenet", 10, 1).eval()
    model.load_state_dict(torch.load(lenet, weights_only=True))
    file = tmp_path_factory.mktemp("sealed") / "lenet.pt"
    torch.jit.trace(model, torch.zeros(2, 1, 28, 28)).save(str(file))
    return file


@pytest.fixture(scope="session")
def reversed_(lenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network with its outputs in the opposite order, and their names beside the weights."""
    weights = torch.load(lenet, weights_only=True)
    last = [name for name in weights if weights[name].shape[0] == 10][-2:]
    weights = {n: w.flip(0) if n in last else w for n, w in weights.items()}
    file = tmp_path_factory.mktemp("surrogate") / "lenet.pt"
    torch.save({"state_dict": weights, "classes": [str(i) for i in range(9, -1, -1)]}, file)
    return file


_SLOW = pytest.mark.slow  # a whole evaluation each: seconds


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(["spsa"], marks=_SLOW),
        pytest.param(["nes", "--norm", "l2"], marks=_SLOW),
        ["hopskipjump"],
    ],
    ids=lambda words: words[0],
)
def test_a_model_that_only_answers(
    attack: list[str], sealed: Path, assay: Assay, home: Path
) -> None:
    epsilon = "0.3" if len(attack) == 1 else "3"
    words = ["--attack", *attack, "--epsilon", epsilon, "--steps", "2", "--trust_pickle", "true"]
    code, _, err = assay(
        "evaluate", "--model", f"checkpoint:{sealed}", *MODEL[2:], *words, "--resize", "28"
    )
    assert code == 0, err
    found = rows(home, f"{attack[0]}_{attack[-1] if len(attack) > 1 else 'linf'}")
    assert found["correct"].sum() < found["clean_correct"].sum()
    assert (found["backwards"] == 0).all()


def test_a_surrogate_is_matched_by_name_and_stands_beside_what_it_costs(
    lenet: Path, reversed_: Path, assay: Assay, home: Path
) -> None:
    """The model as its own surrogate: what breaks the one breaks the other."""
    words = ["--attack", "transfer", "--epsilon", "0.3", "--steps", "5"]
    model = ["--model", f"checkpoint:{lenet}", *MODEL, "--surrogate", f"checkpoint:{reversed_}"]
    code, out, err = assay("evaluate", *model, *words)
    assert code == 0, err
    assert "surrogate checkpoint:" in out
    assert "of the surrogate: Outputs put into the data's order" in out
    found = rows(home, "transfer_linf")
    attacked = found["clean_correct"] == 1
    assert found.loc[attacked, "correct"].mean() < 0.2
    assert (found.loc[attacked, "forwards"] == 1).all(), "one question of the model itself"
    assert (found.loc[attacked, "surrogate_backwards"] == 5).all()


BAD = [
    (["--attack", "pgd", "--surrogate", "lenet"], "`--surrogate` is of `--attack transfer`"),
    (["--surrogate", "lenet"], "`--surrogate` is of `--attack transfer`"),
    (["--attack", "transfer"], "say `--surrogate`"),
    (["--probes", "transfer"], "say `--surrogate`"),
    (["--attack", "transfer", "--surrogate", "cifar_resnet20"], "1x8x8"),
    (["--attack", "hopskipjump", "--target", "next"], "takes no target"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=lambda value: str(value)[:40])
def test_senseless_combinations_end_in_a_sentence(
    words: list[str], message: str, lenet: Path, assay: Assay
) -> None:
    code, _, err = assay("evaluate", "--model", f"checkpoint:{lenet}", *MODEL, *words)
    assert code == 2
    assert message in err
