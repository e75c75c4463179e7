"""What people save, and that the loaded network answers as the saved one did, bit for bit."""

import argparse
import copy
import datetime
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from datamodules import UserError
from lightning_modules import load_classifier

SOURCE = """
from torch import nn


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.bn = nn.BatchNorm2d(width)
        self.layer = nn.Sequential(nn.Conv2d(width, width, 3), nn.ReLU())
        self.fc = nn.Linear(width, 3)

    def forward(self, image):
        return self.fc(self.layer(self.bn(self.conv(image))).mean((2, 3)))


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Net()

    def forward(self, image):
        return self.model(image)


def normed():
    net = Net()
    net.conv = nn.utils.weight_norm(net.conv)
    return net
"""
State = dict[str, Any]
IMAGE = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_nets.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "their_nets", raising=False)


def network(seed: int = 1, width: int = 4) -> Any:
    import their_nets  # type: ignore[import-not-found]

    torch.manual_seed(seed)
    net = their_nets.Net(width)
    net(IMAGE)  # so that the running statistics are not those of a fresh network
    return net.eval()


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def other(state: State) -> State:
    """Weights of the same names and shapes, of an earlier step of training."""
    return {name: value * 0.5 for name, value in state.items()}


def layered(state: State) -> State:
    """A dict a layer, as JAX's libraries keep weights."""
    nested: State = {}
    for name, value in state.items():
        *path, last = name.split(".")
        inside = nested
        for part in path:
            inside = inside.setdefault(part, {})
        inside[last] = value
    return nested


def arrays(state: State) -> State:
    return {name: value.numpy() for name, value in state.items()}


def parameters(state: State) -> State:
    return {name: value for name, value in state.items() if "running" not in name}


CRITERION = {"criterion.weight": torch.ones(3)}
METRICS = {"train_acc.tp": torch.zeros(3), "val_metrics.confmat": torch.zeros(3, 3)}
EARLY: State = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(4)}}}}

SETS: dict[str, tuple[Callable[[State], Any], str]] = {
    "bare": (lambda s: s, ""),
    "state_dict": (lambda s: {"state_dict": s, **EARLY}, ""),
    "model_state_dict": (lambda s: {"model_state_dict": s, **EARLY}, ""),
    "model": (lambda s: {"model": s, "args": {"lr": 0.1}}, ""),
    "net": (lambda s: {"net": s, "acc": 91.2}, ""),
    "network": (lambda s: {"network": s}, ""),
    "weights": (lambda s: {"weights": s}, ""),
    "params": (lambda s: {"params": s}, ""),
    "module": (lambda s: {"module": s, "ds_version": "0.1"}, ""),
    "ema": (lambda s: {"ema": s, **EARLY}, ""),
    "a key of one's own": (lambda s: {"my_best_net": s, **EARLY}, ""),
    "keys in keys": (lambda s: {"checkpoint": {"best": {"model": s}}}, ""),
    "in a list": (lambda s: [s, 0.9, {"lr": 0.1}], ""),
    "a dict a layer": (layered, ""),
    "a dict a layer, under a key": (lambda s: {"params": layered(s)}, ""),
    "arrays": (arrays, ""),
    "parameters, not tensors": (lambda s: {n: nn.Parameter(v, False) for n, v in s.items()}, ""),
    "timm": (lambda s: {"state_dict": other(s), "state_dict_ema": s}, "took 'state_dict_ema', the"),
    "basicsr": (lambda s: {"params": other(s), "params_ema": s}, "took 'params_ema', the average"),
    "torchvision": (
        lambda s: {
            "model": other(s),
            "model_ema": {"n_averaged": torch.tensor(3), **prefixed(s, "module.")},
        },
        "took 'model_ema', the average over training, of 2 sets of weights (also 'model'; "
        "`--weights KEY` takes another); left out n_averaged",
    ),
    "ema_state_dict": (lambda s: {"model": other(s), "ema_state_dict": s}, "took 'ema_state_dict'"),
    "ema without statistics": (
        lambda s: {"state_dict": s, "ema": other(parameters(s))},
        "took 'state_dict', of 2 sets of weights (also 'ema'",
    ),
    "ema of names that are no paths": (
        lambda s: {"model": s, "ema": {n.replace(".", ""): v for n, v in other(s).items()}},
        "took 'model'",
    ),
    "ema as a list": (lambda s: {"model": s, "ema": {"shadow_params": list(s.values())}}, ""),
    "side by side": (
        lambda s: {"state_dict": {**prefixed(other(s), "model."), **prefixed(s, "ema_model.")}},
        "took 'state_dict.ema_model', the average",
    ),
    "mean teacher": (
        lambda s: {"student": other(s), "teacher": s, **EARLY},
        "took 'teacher', of 2 sets of weights (also 'student'",
    ),
    "a wider teacher": (
        lambda s: {"teacher": network(2, 8).state_dict(), "student": s},
        "took 'student', of 2 sets",
    ),
    "a wider teacher, side by side": (
        lambda s: {**prefixed(network(2, 8).state_dict(), "teacher."), **prefixed(s, "student.")},
        "took 'student', of 2 sets",
    ),
    "lightning's average": (
        lambda s: {"state_dict": s, "current_model_state": other(s)},
        "took 'state_dict', of 2 sets",
    ),
    "swa": (lambda s: {"n_averaged": torch.tensor(3), **prefixed(s, "module.")}, "n_averaged"),
    "criterion": (
        lambda s: {"state_dict": {**prefixed(s, "model."), **CRITERION}},
        "left out criterion.weight",
    ),
    "loss": (lambda s: {**s, "loss.weight": torch.ones(3)}, "left out loss.weight"),
    "loss_fn": (lambda s: {**prefixed(s, "net."), "loss_fn.weight": torch.ones(3)}, "loss_fn.weig"),
    "inner criterion": (lambda s: {**s, "ce_loss.pos_weight": torch.ones(3)}, "ce_loss.pos_weight"),
    "metrics": (
        lambda s: {"state_dict": {**prefixed(s, "model."), **METRICS}},
        "left out train_acc.tp, val_metrics.confmat",
    ),
    "class weights": (lambda s: {"model": s, "class_weights": torch.ones(3)}, ""),
    "a history": (
        lambda s: {"net": s, "loss_history": torch.ones(30), "step": torch.tensor(3)},
        "",
    ),
    "body and head": (
        lambda s: {
            "body": {n: v for n, v in s.items() if "fc" not in n},
            "head": {n: v for n, v in s.items() if "fc" in n},
        },
        "put 'body' and 'head' together",
    ),
    "layers of the network": (
        lambda s: {
            "backbone": {n: v for n, v in s.items() if "fc" not in n},
            "fc": {"weight": s["fc.weight"], "bias": s["fc.bias"]},
        },
        "put 'backbone' and 'fc', by layer together",
    ),
    "module.": (lambda s: prefixed(s, "module."), ""),
    "_orig_mod.": (lambda s: prefixed(s, "_orig_mod."), ""),
    "_orig_mod.module.": (lambda s: prefixed(s, "_orig_mod.module."), ""),
    "model._orig_mod.module.": (lambda s: prefixed(s, "model._orig_mod.module."), ""),
    "backbone.": (lambda s: prefixed(s, "backbone."), ""),
    "a name of one's own": (lambda s: prefixed(s, "my_cnn."), ""),
    "that, beside a loss": (lambda s: {**prefixed(s, "my.cnn."), **CRITERION}, "criterion.weight"),
    "inner _orig_mod": (
        lambda s: {n.replace("layer.", "layer._orig_mod."): v for n, v in s.items()},
        "",
    ),
    "a mixture": (
        lambda s: {n if "fc" in n else f"module.backbone.{n}": v for n, v in s.items()},
        "",
    ),
    "checkpointed layers": (
        lambda s: {
            n.replace("layer.", "layer._checkpoint_wrapped_module."): v for n, v in s.items()
        },
        "",
    ),
    "no counters": (lambda s: {n: v for n, v in s.items() if "tracked" not in n}, ""),
    "numpy scalars": (lambda s: {"state_dict": s, "best": np.float64(0.9), "n": np.int64(3)}, ""),
    "an array of objects": (lambda s: {"model": s, "log": np.array([1, "a"], dtype=object)}, ""),
    "training arguments": (lambda s: {"model": s, "args": argparse.Namespace(lr=0.1)}, ""),
    "paths and dates": (
        lambda s: {"model": s, "path": Path("x"), "time": datetime.datetime(2020, 1, 1)},
        "",
    ),
    "a function": (lambda s: {"model": s, "transform": copy.deepcopy}, ""),
}


def answers(path: str | Path, arch: str | None = "python:their_nets:Net", **flags: Any) -> Any:
    classifier = load_classifier(f"checkpoint:{path}", arch=arch, **flags).eval()
    return classifier.model(IMAGE), "; ".join(classifier.notes)


@pytest.mark.parametrize(("wrap", "note"), SETS.values(), ids=SETS)
@pytest.mark.parametrize("arch", ["Net", "Wrapped"])
def test_the_network_answers_as_before(
    wrap: Callable[[State], Any], note: str, arch: str, tmp_path: Path
) -> None:
    net = network()
    torch.save(wrap(net.state_dict()), tmp_path / "x.pt")
    found, notes = answers(tmp_path / "x.pt", f"python:their_nets:{arch}")
    assert torch.equal(found, net(IMAGE))
    assert note in notes.replace("x.pt: ", "")
    assert bool(note) == bool(notes)


@pytest.mark.parametrize(
    ("key", "which"),
    [("state_dict", 1), ("state_dict_ema", 2), ("ema.module", 3), ("ema", 3), ("extra", 4)],
)
def test_the_user_chooses(key: str, which: int, tmp_path: Path) -> None:
    nets = {number: network(number) for number in (1, 2, 3, 4)}
    states = {number: net.state_dict() for number, net in nets.items()}
    content = {
        "state_dict": {**prefixed(states[1], "model."), **prefixed(states[4], "extra.")},
        "state_dict_ema": states[2],
        "ema": {"module": states[3]},
    }
    content["state_dict"] = {**states[1], **prefixed(states[4], "loss.extra.")}
    torch.save(content, tmp_path / "x.pt")
    found, _ = answers(tmp_path / "x.pt", weights="loss.extra" if key == "extra" else key)
    assert torch.equal(found, nets[which](IMAGE))


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    torch.save({"state_dict": network().state_dict()}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"no weights 'state_dic' in .*Did you mean 'state_dict'"):
        answers(tmp_path / "x.pt", weights="state_dic")


MEAN = {"normalize.mean": torch.tensor([0.1307]), "normalize.std": torch.tensor([0.3081])}
BAD: dict[str, tuple[Callable[[State], Any], str]] = {
    "a head of its own": (
        lambda s: {**prefixed(s, "model."), "head.weight": torch.ones(3, 3)},
        "(1 unexpected: head.weight). `--weights model` takes only what lies under it.",
    ),
    "a normalisation of its own": (
        lambda s: {**prefixed(s, "model."), **MEAN},
        "(2 unexpected: normalize.mean, normalize.std). `--weights model` takes only what",
    ),
    "another width": (
        lambda s: {"model": network(1, 5).state_dict()},
        " of another shape: ",
    ),
    "half of it": (
        lambda s: {n: v for n, v in s.items() if "fc" not in n},
        "(2 missing: fc.weight, fc.bias)",
    ),
    "two networks of other names": (
        lambda s: {"generator": {"a.weight": torch.ones(2)}, "critic": {"b.weight": torch.ones(2)}},
        "missing: conv.weight",
    ),
    "eight-bit integers without a scale": (
        lambda s: {**s, "fc.weight": s["fc.weight"].to(torch.int8)},
        "(1 of another type: fc.weight int8 instead of float32)",
    ),
    "no tensors": (lambda s: {"epoch": 3}, "Expected a state dict in"),
    "tensors without names": (lambda s: list(s.values()), "Expected a state dict in"),
    "only the optimizer": (lambda s: dict(EARLY), "Expected a state dict in"),
}


@pytest.mark.parametrize(("wrap", "message"), BAD.values(), ids=BAD)
def test_nothing_unknown_is_dropped(
    wrap: Callable[[State], Any], message: str, tmp_path: Path
) -> None:
    torch.save(wrap(network().state_dict()), tmp_path / "x.pt")
    with pytest.raises(UserError) as caught:
        answers(tmp_path / "x.pt")
    assert message in str(caught.value)


def test_a_normalisation_that_is_left_out_is_told(tmp_path: Path) -> None:
    net = network()
    torch.save({**prefixed(net.state_dict(), "model."), **MEAN}, tmp_path / "x.pt")
    found, _ = answers(tmp_path / "x.pt", weights="model")
    assert torch.equal(found, net(IMAGE))


# -- weights in parts: torch's own removal functions are the oracle --------------------------------


def pruned(net: Any) -> None:
    prune.l1_unstructured(net.conv, "weight", 0.5)
    prune.ln_structured(net.layer[0], "weight", 0.5, 2, 0)


def all_pruned(net: Any) -> None:
    prune.global_unstructured(
        [(net.conv, "weight"), (net.fc, "bias")], prune.L1Unstructured, amount=3
    )


def weight_norm(net: Any) -> None:
    nn.utils.weight_norm(net.conv)
    nn.utils.weight_norm(net.fc, dim=1)
    nn.utils.weight_norm(net.layer[0], dim=None)


def new_weight_norm(net: Any) -> None:
    parametrizations.weight_norm(net.conv)
    parametrizations.weight_norm(net.fc, dim=1)


def spectral_norm(net: Any) -> None:
    nn.utils.spectral_norm(net.conv)
    nn.utils.spectral_norm(net.layer[0], dim=1)  # a square one: only its numbers tell


def new_spectral_norm(net: Any) -> None:
    parametrizations.spectral_norm(net.conv)
    parametrizations.spectral_norm(net.layer[0], dim=1)


def mixed(net: Any) -> None:
    pruned(net)
    parametrizations.weight_norm(net.fc)


PARTS = {
    f.__name__: f
    for f in (
        pruned,
        all_pruned,
        weight_norm,
        new_weight_norm,
        spectral_norm,
        new_spectral_norm,
        mixed,
    )
}


@pytest.mark.parametrize("change", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
def test_parts_are_put_together(change: Callable[[Any], None], prefix: str, tmp_path: Path) -> None:
    net = network()
    change(net)
    for _ in range(20):  # lets the power iteration of the spectral norm settle
        net.train()(IMAGE)
    torch.save(prefixed(net.eval().state_dict(), prefix), tmp_path / "x.pt")
    found, notes = answers(tmp_path / "x.pt")
    assert torch.equal(found, net(IMAGE))
    assert "weights" in notes


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
def test_parts_that_the_network_has_itself_stay_parts(tmp_path: Path) -> None:
    net = network()
    nn.utils.weight_norm(net.conv)
    torch.save(net.state_dict(), tmp_path / "x.pt")
    found, notes = answers(tmp_path / "x.pt", "python:their_nets:normed")
    assert torch.equal(found, net(IMAGE))
    assert not notes


def test_an_unknown_parametrisation_is_named(tmp_path: Path) -> None:
    net = network()
    parametrizations.orthogonal(net.fc)
    torch.save(net.state_dict(), tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"unexpected: fc.parametrizations.weight.original"):
        answers(tmp_path / "x.pt")


# -- types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2"]
)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_types_are_computed_in_float32(dtype: str, suffix: str, tmp_path: Path) -> None:
    net, kind = network(), getattr(torch, dtype)
    state = {n: v.to(kind) if v.is_floating_point() else v for n, v in net.state_dict().items()}
    save = torch.save if suffix == "pt" else safetensors.torch.save_file
    save(state, tmp_path / f"x.{suffix}")
    found, notes = answers(tmp_path / f"x.{suffix}")
    net.load_state_dict({name: value.float() for name, value in state.items()})
    assert torch.equal(found, net(IMAGE))
    assert f"weights of {dtype}, computed in float32" in notes


@pytest.mark.filterwarnings("ignore")
def test_quantised_layers_are_turned_back(tmp_path: Path) -> None:
    if "qnnpack" not in torch.backends.quantized.supported_engines:
        pytest.skip("torch was built without quantised layers")
    net = network()
    torch.backends.quantized.engine = torch.backends.quantized.supported_engines[-1]
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(net), {nn.Linear})
    torch.save(quantised.state_dict(), tmp_path / "x.pt")
    found, notes = answers(tmp_path / "x.pt")
    net.fc.weight.data = quantised.fc.weight().dequantize()
    assert torch.equal(found, net(IMAGE))
    assert "quantised weights turned into float32" in notes


# -- other ways to write a file ------------------------------------------------------------------


def _legacy(net: nn.Module, path: Path) -> None:
    content = {"model": net.state_dict(), "args": argparse.Namespace(lr=0.1), "n": np.float32(1)}
    torch.save(content, path, _use_new_zipfile_serialization=False)


def _plain_pickle(protocol: int) -> Callable[[nn.Module, Path], None]:
    def write(net: nn.Module, path: Path) -> None:
        path.write_bytes(pickle.dumps(net.state_dict(), protocol))

    return write


def _arrays_pickle(net: nn.Module, path: Path) -> None:
    path.write_bytes(pickle.dumps({"model": arrays(net.state_dict()), "__author__": "x"}))


def _npz(net: nn.Module, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays(net.state_dict()))


def _script(net: nn.Module, path: Path) -> None:
    torch.jit.script(net).save(path)


def _trace(net: nn.Module, path: Path) -> None:
    torch.jit.trace(net, IMAGE).save(path)


def _export(net: nn.Module, path: Path) -> None:
    torch.export.save(torch.export.export(net, (IMAGE,)), path)


def _attributes(net: nn.Module, path: Path) -> None:
    state = net.state_dict()
    state["fc.weight"].note = "a tensor with an attribute"  # type: ignore[attr-defined]
    torch.save(state, path)


WRITERS: dict[str, tuple[Callable[[nn.Module, Path], None], str]] = {
    "safetensors": (lambda n, p: safetensors.torch.save_file(n.state_dict(), p), "x.safetensors"),
    "safetensors under another name": (
        lambda n, p: safetensors.torch.save_file(n.state_dict(), p),
        "x.bin",
    ),
    "the old format": (_legacy, "x.th"),
    "the newest pickle": (lambda n, p: torch.save(n.state_dict(), p, pickle_protocol=5), "x.pt"),
    "pickle.dump": (_plain_pickle(4), "x.pkl"),
    "pickle.dump, protocol 2": (_plain_pickle(2), "x.pkl"),
    "pickled arrays": (_arrays_pickle, "x.pkl"),
    "npz": (_npz, "x.npz"),
    "a whole module": (lambda n, p: torch.save(n, p), "x.pt"),
    "a whole module in a dict": (lambda n, p: torch.save({"model": n, "ema": None}, p), "x.pt"),
    "a whole module, old format": (
        lambda n, p: torch.save(n, p, _use_new_zipfile_serialization=False),
        "x.th",
    ),
    "TorchScript, scripted": (_script, "x.pt"),
    "TorchScript, traced": (_trace, "x.pt"),
    "torch.export": (_export, "x.pt2"),
    "tensors with attributes": (_attributes, "x.pt"),
}


@pytest.mark.parametrize(("write", "name"), WRITERS.values(), ids=WRITERS)
@pytest.mark.filterwarnings("ignore")
def test_weights_are_read_and_nothing_is_run(
    write: Callable[[nn.Module, Path], None], name: str, tmp_path: Path
) -> None:
    net = network()
    write(net, tmp_path / name)
    expected = net(IMAGE)
    path = tmp_path / "their_nets.py"
    path.write_text(path.read_text().replace("width=4", "width=4, _=print('imported')"))
    assert torch.equal(answers(tmp_path / name)[0], expected)


def test_a_trusted_pickle_is_read_by_pickle(tmp_path: Path) -> None:
    net = network()
    _plain_pickle(4)(net, tmp_path / "x.pkl")
    assert torch.equal(answers(tmp_path / "x.pkl", trust_pickle=True)[0], net(IMAGE))


def test_of_two_trusted_modules_the_average_is_taken(tmp_path: Path) -> None:
    net = network(2)
    torch.save({"model": network(1), "ema": net}, tmp_path / "x.pt")
    found, notes = answers(tmp_path / "x.pt", None, trust_pickle=True)
    assert torch.equal(found, net(IMAGE))
    assert "took 'ema'" in notes


# -- folders ---------------------------------------------------------------------------------------


def _shards(folder: Path, suffix: str, state: dict[str, Tensor]) -> None:
    """Two files and their index, as Hugging Face and Accelerate lay them out."""
    import json

    names = list(state)
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    save = safetensors.torch.save_file if suffix == "safetensors" else torch.save
    files = {name: f"{stem}-0000{1 + i % 2}-of-00002.{suffix}" for i, name in enumerate(names)}
    for file in set(files.values()):
        save({n: state[n] for n in names if files[n] == file}, folder / file)
    text = json.dumps({"metadata": {}, "weight_map": files})
    (folder / f"{stem}.{suffix}.index.json").write_text(text)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
@pytest.mark.parametrize("named", ["folder", "index"])
def test_shards(suffix: str, named: str, tmp_path: Path) -> None:
    net, folder = network(), tmp_path / "saved"
    folder.mkdir()
    _shards(folder, suffix, net.state_dict())
    path = folder if named == "folder" else next(folder.glob("*.json"))
    assert torch.equal(answers(path)[0], net(IMAGE))
    next(folder.glob("*-00002-*")).unlink()
    with pytest.raises(UserError, match=r"names 2 files, but 1 of them are not there: .*-00002-of"):
        answers(path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_accelerate(name: str, tmp_path: Path) -> None:
    net, folder = network(), tmp_path / "saved"
    folder.mkdir()
    (safetensors.torch.save_file if "safe" in name else torch.save)(net.state_dict(), folder / name)
    (folder / "optimizer.bin").write_bytes(b"")
    assert torch.equal(answers(folder)[0], net(IMAGE))


@pytest.mark.filterwarnings("ignore")
def test_a_sharded_folder_of_torch(tmp_path: Path) -> None:
    import torch.distributed.checkpoint as dcp

    net = network()
    optimizer = torch.optim.Adam(net.parameters())
    net(IMAGE).sum().backward()
    optimizer.step()
    state = {"app": {"model": net.state_dict(), "optim": optimizer.state_dict()}, "epoch": 3}
    dcp.save(state, checkpoint_id=tmp_path / "saved")
    assert torch.equal(answers(tmp_path / "saved")[0], net(IMAGE))
    next((tmp_path / "saved").glob("*.distcp")).unlink()
    with pytest.raises(UserError, match=r"lacks its file '__0_0\.distcp'"):
        answers(tmp_path / "saved")
