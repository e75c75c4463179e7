"""Every mistake of a user: one clear message, exit code 2, no traceback, nothing executed."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_modules import build

Assay = Callable[..., tuple[int, str, str]]


class Malicious:
    """Creates a file when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch executed",)


@pytest.fixture
def things(home: Path) -> Path:
    """The files that the cases below speak of."""
    random = np.random.default_rng(0)
    folders = {"two": "ab", "one": "a", "spoiled/train": "ab", "spoiled/test": "ab"}
    for name, classes in folders.items():
        for label in classes:
            (home / name / label).mkdir(parents=True)
            for i in range(6):
                pixels = random.integers(0, 255, (28, 28, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(home / name / label / f"{i}.png")
    (home / "spoiled" / "test" / "a" / "0.png").write_bytes(b"")
    (home / "spoiled" / "test" / "b" / "1.png").write_bytes(b"\x89PNG cut off")
    state = build("lenet", 10, 1).state_dict()
    torch.save(state, home / "lenet.pt")
    (home / "cut.pt").write_bytes((home / "lenet.pt").read_bytes()[:5000])
    state["fc3.bias"][2] = torch.nan
    torch.save(state, home / "nan.pt")
    torch.save({"state_dict": Malicious()}, home / "malicious.pt")
    (home / "three.pt").write_bytes(b"abc")
    (home / "locked").write_text("a file where a folder should be")
    return home


LENET = "--model lenet --data Digits --data.limit 12"
BARE = "--data Digits --data.limit 12 --arch lenet --model checkpoint:"
CASES = {
    "unknown command": ("evalute", "There is no command 'evalute'. Did you mean 'evaluate'?"),
    "unknown data": (
        "evaluate --model lenet --data Digitss",
        "There is no data set 'Digitss'. Did you mean 'Digits'?",
    ),
    "unknown outliers": (
        "explain --model lenet --data Digits --outliers Digitz",
        "There is no data set 'Digitz'. Did you mean 'Digits'?",
    ),
    "negative seed": (
        f"evaluate {LENET} --seed -1",
        "Expected `seed` between 0 and 2**32 - 1, but got -1.",
    ),
    "three bytes for weights": (f"evaluate {BARE}three.pt", "three.pt"),
    "unknown probe": (
        f"evaluate {LENET} --probes fgsm pgdd",
        "There is no probe 'pgdd'. Did you mean 'pgd'?",
    ),
    "unknown model": (
        "evaluate --model lennet --data Digits",
        "There is no built-in model 'lennet'. Did you mean 'lenet'?",
    ),
    "a file without its source": (
        "evaluate --model three.pt --data Digits",
        "There is no built-in model 'three.pt', but a file or folder of that name: say checkpoint:",
    ),
    "unknown source": (
        "evaluate --model torchvisio:resnet18 --data Digits",
        "There is no model source 'torchvisio'. Did you mean 'torchvision'?",
    ),
    "unknown option": (f"evaluate {LENET} --presett quick", "Did you mean '--preset'?"),
    "unknown preset": (f"evaluate {LENET} --preset quik", "quik"),
    "unknown section": ("list prob", "Did you mean 'probes'?"),
    "no model": ("evaluate --data Digits", "model"),
    "too many devices": (
        f"evaluate {LENET} --trainer.accelerator cpu --trainer.devices 640",
        "Expected `trainer.devices` of at most",
    ),
    "no such folder": (
        "evaluate --model lenet --data ImageFolder --data.root nowhere",
        "There is no folder 'nowhere'",
    ),
    "one class": ("evaluate --model lenet --data ImageFolder --data.root one", "at least two"),
    "class count": (
        "evaluate --model checkpoint:lenet.pt --arch lenet --data ImageFolder --data.root two",
        "but 'checkpoint:lenet.pt' has 10 (0, 1, 2, 3, 4, 5, 6, 7, 8, 9): 10 outputs are not 2",
    ),
    "spoiled files": (
        "evaluate --model lenet --data ImageFolder --data.root spoiled",
        "2 of 12 ",
    ),
    "malicious pickle": (f"evaluate {BARE}malicious.pt", "loading it could execute code"),
    "malicious pickle inspected": ("inspect malicious.pt", "loading it could execute code"),
    "inspected without images": ("inspect lenet.pt --arch lenet", "Got --arch without --data"),
    "cut off": (f"evaluate {BARE}cut.pt", "is cut off or no checkpoint"),
    "nan weights": (f"evaluate {BARE}nan.pt", "1 of 10 numbers in 'fc3.bias'"),
    "no checkpoint": (f"evaluate {BARE}nothing.pt", "There is no file 'nothing.pt'"),
    "wrong arch": (
        "evaluate --model checkpoint:lenet.pt --arch cifar_resnet20 --data Digits",
        "are not of 'cifar_resnet20'",
    ),
    "no arch": (
        "evaluate --model checkpoint:lenet.pt --data Digits",
        "`assay inspect lenet.pt` guesses it",
    ),
    "limit": ("evaluate --model lenet --data Digits --data.limit 0", "to be at least 1, but got 0"),
    "data absent": (
        "evaluate --model lenet --data MNIST --data.root nothing",
        "train-images-idx3-ubyte",
    ),
    "unwritable store": (f"evaluate {LENET} --root locked", "cannot be written"),
    "no such config": ("evaluate --config nothing.yaml", "nothing.yaml"),
    "no report": ("report", "There is no result below"),
    "no such run": ("report nosuchrun", "There is no run 'nosuchrun'"),
    "no runs to show": ("ui --root nothing", "There are no runs yet"),
}


@pytest.mark.parametrize("case", CASES)
def test_mistakes(case: str, things: Path, assay: Assay) -> None:
    words, expected = CASES[case]
    code, _, err = assay(*words.split())
    assert code == 2, err
    assert expected in err
    assert "Traceback" not in err
    assert not (things / "executed").exists()


@pytest.mark.parametrize("command", ["evaluate", "recover", "explain"])
def test_negative_epsilon(things: Path, assay: Assay, command: str) -> None:
    (things / "probes.yaml").write_text(
        "probes: [{class_path: callbacks.AdversarialProbe, init_args: {attack: "
        "{class_path: callbacks.FGSM}, epsilons: [-0.1]}}]"
    )
    code, _, err = assay(command, *LENET.split(), "--config", "probes.yaml")
    assert code == 2
    assert "finite radii >= 0" in err


def test_unreachable_server_costs_no_row(things: Path, assay: Assay) -> None:
    words = [*LENET.split(), "--probes", "clean", "--tracking.uri", "http://127.0.0.1:9"]
    code, out, err = assay("evaluate", *words)
    assert code == 1  # nothing that was typed is wrong
    assert "does not answer" in err
    assert "accuracy %" in out, "measured all the same"
    assert list((things / "mlruns" / "results").glob("*/rows/clean.parquet"))
    assert len([line for line in err.splitlines() if line.startswith("assay")]) == 1


def test_spoiled_files_can_be_skipped_and_are_recorded(things: Path, assay: Assay) -> None:
    words = "fine-tune --model lenet --data ImageFolder --data.root spoiled --data.on_corrupt skip"
    code, out, err = assay(*words.split(), "--trainer.max_epochs", "1")
    assert code == 0, err
    assert "2 files that are no images were left out" in out


def test_an_option_that_stands_twice_in_a_file(assay: Assay, home: Path) -> None:
    (home / "twice.yaml").write_text("seed: 1\nchunk: 8\nseed: 2\n")
    code, _, err = assay("evaluate", "--config", "twice.yaml", "--model", "lenet")
    assert code == 2
    assert "`--config` 'twice.yaml': the key 'seed' stands twice (line 3)." in err
