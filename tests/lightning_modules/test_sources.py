"""Every source of models, what it gives and what it says when it cannot."""

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import nn
from torchvision.datasets import ImageFolder

from datamodules import Preprocessing, UserError
from lightning_modules import (
    SOURCES,
    Classifier,
    FineTuning,
    build,
    load_classifier,
    save_classifier,
)
from lightning_modules.sources import match_classes

GREY = Preprocessing(channels=1, mean=(0.3,), std=(0.4,))
LETTERS = tuple("abcdefg")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, *_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torch.hub._get_cache_or_reload", refuse)


@pytest.mark.parametrize(
    ("source", "architecture", "classes", "size"),
    [
        ("lenet", "builtin:lenet", 7, (None, None)),
        ("builtin:lenet", "builtin:lenet", 7, (None, None)),
        ("cifar_resnet20", "builtin:cifar_resnet20", 7, ((32, 32), None)),
        ("torchvision:resnet18@none", "torchvision:resnet18", 7, (None, None)),
    ],
)
def test_untrained_networks_take_the_classes_of_the_data(
    source: str, architecture: str, classes: int, size: tuple[object, object]
) -> None:
    classifier = load_classifier(source, data_classes=LETTERS, preprocessing=GREY)
    assert (classifier.architecture, classifier.num_classes) == (architecture, classes)
    assert (classifier.preprocessing.resize, classifier.preprocessing.crop) == size
    assert (classifier.classes, classifier.source) == (LETTERS, source)


def test_lenet_without_data_is_the_one_for_mnist() -> None:
    classifier = load_classifier("lenet")
    assert classifier(torch.rand(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("torchvison:resnet18", "no model source 'torchvison'. Did you mean 'torchvision'?"),
        ("lenett", "no built-in model 'lenett'. Did you mean 'lenet'?"),
        ("torchvision:resnet81", "no classifier 'resnet81'. Did you mean 'resnet18'?"),
        ("torchvision:resnet50@IMAGENET_V2", "no weights 'IMAGENET_V2'. Did you mean 'IMAGENET1K"),
        ("torchvision:resnet18", "or torchvision:resnet18@none for random weights."),
        ("hub:owner/repo", "Expected hub:OWNER/REPO:NAME"),
        ("hub:owner/repo:net", "executes code of 'owner/repo': say `--trust_pickle true`"),
        ("checkpoint:absent.pt", "There is no checkpoint 'absent.pt'."),
        ("python:absent:net", "Cannot import python:absent:net: No module named 'absent'"),
    ],
)
def test_mistakes(source: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_classifier(source)
    assert message in str(caught.value)


def test_the_table_is_tested() -> None:
    assert set(SOURCES) == {
        *("builtin", "torchvision", "timm", "hf", "hub", "checkpoint", "mlflow", "maite", "python")
    }


@pytest.mark.parametrize(
    ("source", "package", "extra"), [("timm:x", "timm", "timm"), ("hf:x", "transformers", "hf")]
)
def test_absent_extras_say_how_to_get_them(
    source: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"pip install 'assay\[{extra}\]'"):
        load_classifier(source)


class _Processor(types.SimpleNamespace):
    image_mean, image_std = (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # The published processors of ViT, ResNet, ConvNeXt and one that does not normalise.
        ({"size": {"height": 32, "width": 48}}, ((32, 48), None, "bilinear", 0.5)),
        (
            {
                "size": {"shortest_edge": 256},
                "crop_size": {"height": 224, "width": 224},
                "do_center_crop": True,
                "resample": 3,
            },
            (256, 224, "bicubic", 0.5),
        ),
        (
            {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3},
            (256, 224, "bicubic", 0.5),
        ),
        (
            {"size": {"shortest_edge": 384}, "crop_pct": 0.875, "do_normalize": False},
            (384, None, "bilinear", 0.0),
        ),
    ],
)
def test_hugging_face_processors(
    fields: dict[str, object], expected: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Model(nn.Linear):
        config = types.SimpleNamespace(id2label={1: "dog", 0: "cat"})

        def forward(self, pixel_values: torch.Tensor) -> types.SimpleNamespace:  # type: ignore[override]
            return types.SimpleNamespace(logits=super().forward(pixel_values.flatten(1)))

    package = types.ModuleType("transformers")
    for name, made in (
        ("AutoModelForImageClassification", (Model(48, 2), {"missing_keys": set()})),
        ("AutoImageProcessor", _Processor(**fields)),
    ):
        loader = types.SimpleNamespace(from_pretrained=lambda _, made=made, **__: made)
        setattr(package, name, loader)
    monkeypatch.setitem(sys.modules, "transformers", package)
    classifier = load_classifier("hf:owner/name")
    found = classifier.preprocessing
    assert (found.resize, found.crop, found.interpolation, found.mean[0]) == expected
    assert classifier.classes == ("cat", "dog")
    assert classifier(torch.rand(2, 3, 4, 4)).shape == (2, 2)


def test_timm_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "input_size": (3, 224, 224),
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
    }
    model = nn.Linear(2, 5)
    model.num_classes = 5  # type: ignore[assignment]
    package = types.ModuleType("timm")
    package.list_models = lambda: ["resnet18", "vit_tiny"]  # type: ignore[attr-defined]
    package.create_model = lambda *_, **__: model  # type: ignore[attr-defined]
    package.data = types.SimpleNamespace(resolve_model_data_config=lambda _: settings)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", package)
    found = load_classifier("timm:vit_tiny.augreg_in21k").preprocessing
    assert found == Preprocessing(3, 248, 224, "bicubic", (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(UserError, match=r"'vit_tiy'\. Did you mean 'vit_tiny'"):
        load_classifier("timm:vit_tiy")


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "vit_b_16", "swin_t", "efficientnet_b0"])
def test_torchvision_weights_say_what_they_want(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The preset of the weights is the oracle, on an image of another shape."""

    class Published(nn.Linear):
        transform_input = name == "googlenet"

    weights = torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    monkeypatch.setattr(torchvision.models, "get_model", lambda *_, **__: Published(2, 1000))
    classifier = load_classifier(f"torchvision:{name}")
    assert classifier.classes == tuple(weights.meta["categories"])
    # Smooth: on noise the bicubic kernels for uint8 and for floats clip differently.
    coarse = torch.rand(1, 3, 8, 8) * 0.6 + 0.2
    image = (nn.functional.interpolate(coarse, (300, 280), mode="bilinear")[0] * 255).byte()
    expected = weights.transforms(antialias=True)(image)
    if name == "googlenet":  # as its own transform_input goes on
        expected = torch.stack(
            [
                expected[c] * (s / 0.5) + (m - 0.5) / 0.5
                for c, (s, m) in enumerate(
                    zip((0.229, 0.224, 0.225), (0.485, 0.456, 0.406), strict=True)
                )
            ]
        )
    shown = classifier.preprocessing.apply(image).float() / 255
    normalised = (shown - classifier.mean) / classifier.std
    assert normalised.shape == expected.shape
    assert (normalised - expected).abs().max() < 0.02  # one grey level


def _flat(change: Callable[[nn.Sequential], Any] = lambda net: None) -> nn.Sequential:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    change(net)
    return net


def _sparse(net: nn.Sequential) -> None:
    net[1].weight = nn.Parameter(net[1].weight.detach().to_sparse())


SEALED: dict[str, tuple[Callable[[], Any], str]] = {
    "traced": (lambda: torch.jit.trace(_flat(), torch.rand(2, 1, 8, 8)), "holds a TorchScript"),
    "a part": (lambda: nn.Sequential(torch.jit.script(_flat())), "holds a TorchScript module"),
    "exported": (
        lambda: torch.export.export(_flat(), (torch.rand(2, 1, 8, 8),)).module(),
        "cannot be put into eval mode",
    ),
    "meta": (lambda: _flat(lambda net: net.to("meta")), "'1.weight' of 'python:Sequential' is on"),
    "sparse": (lambda: _flat(_sparse), "'1.weight' of 'python:Sequential' is stored as"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize("case", SEALED)
def test_modules_that_cannot_be_looked_into_are_refused(case: str) -> None:
    make, said = SEALED[case]
    with pytest.raises(UserError, match=said):
        load_classifier(make())


def test_a_users_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("my_models")
    module.net = lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 7))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_models", module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    like = Preprocessing(1, (28, 28), mean=(0.3,), std=(0.4,))
    made = load_classifier("python:my_models:net", data_classes=LETTERS, preprocessing=like)
    assert made.preprocessing == Preprocessing(1, mean=(0.0,), std=(1.0,))
    assert made(torch.rand(2, 1, 28, 28)).shape == (2, 7)
    other = load_classifier("python:my_models:net", data_classes=("x", "y"), new_head=True)
    again = load_classifier(f"checkpoint:{save_classifier(other, tmp_path / 'saved')}")
    assert again.classes == ("x", "y")


def named(*classes: str) -> Classifier:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, len(classes)))
    return Classifier(
        model, classes=classes, preprocessing=GREY, architecture="x", source="model.pt"
    )


@pytest.mark.parametrize(
    ("own", "data", "message"),
    [
        (("cat", "dog"), ("cat", "dog"), None),
        (("0", "1"), ("cat", "dog"), None),  # unnamed
        (("dog", "cat"), ("cat", "dog"), None),
        (("tabby", "hound"), ("cat", "dog"), "'model.pt' has 2 (tabby, hound): no name in common"),
        (("a", "b", "c"), ("cat", "dog"), "the data's 2 classes (cat, dog), but 'model.pt' has 3"),
    ],
)
def test_classes_of_model_and_data(
    own: tuple[str, ...], data: tuple[str, ...], message: str | None
) -> None:
    classifier = named(*own)
    if message is None:
        match_classes(classifier, data)
        assert classifier.classes == data
        return
    with pytest.raises(UserError) as caught:
        match_classes(classifier, data)
    assert message in str(caught.value)
    match_classes(classifier, data, new_head=True)
    assert classifier.classes == data
    assert classifier(torch.rand(3, 1, 2, 2)).shape == (3, 2)


Save = Callable[[Classifier, Path], str]


def _lightning(classifier: Classifier, folder: Path) -> str:
    import lightning as L

    trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", devices=1)
    trainer.strategy.connect(FineTuning(classifier))
    trainer.save_checkpoint(folder / "x.ckpt")
    return f"checkpoint:{folder / 'x.ckpt'}"


def _mlflow(classifier: Classifier, folder: Path) -> str:
    return f"mlflow:{save_classifier(classifier, folder / 'saved').as_uri()}"


@pytest.mark.parametrize("save", [_lightning, _mlflow])
def test_our_own_files_know_everything(save: Save, tmp_path: Path) -> None:
    model = build("lenet", 3, 1)
    saved = Classifier(model, classes="xyz", preprocessing=GREY, architecture="builtin:lenet")
    again = load_classifier(save(saved, tmp_path))
    assert (again.classes, again.preprocessing) == (("x", "y", "z"), GREY)
    image = torch.rand(2, 1, 8, 8)
    assert torch.equal(again.eval()(image), saved.eval()(image))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """MLflow on a database of its own."""
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'store.db'}")
    experiment = mlflow.create_experiment("theirs", (tmp_path / "artifacts").as_uri())
    mlflow.set_experiment(experiment_id=experiment)
    yield mlflow
    mlflow.set_tracking_uri(before)


def small(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()


@pytest.mark.slow  # a database is made, and MLflow traces networks
@pytest.mark.filterwarnings("ignore")
def test_models_that_others_logged(store: Any, tmp_path: Path) -> None:
    image, nets = torch.rand(2, 1, 8, 8), [small(seed) for seed in (1, 2)]
    requirements = {"pip_requirements": []}
    with store.start_run() as run:
        store.pytorch.log_model(
            nets[0],
            name="first",
            serialization_format="pt2",
            input_example=image.numpy(),
            **requirements,
        )
        store.pytorch.log_model(
            nets[1], name="second", serialization_format="pickle", **requirements
        )
    source = f"mlflow:runs:/{run.info.run_id}"
    with pytest.raises(UserError, match=r"is a whole pickled network .*container"):
        load_classifier(source)
    last = load_classifier(source, trust_pickle=True)
    assert torch.equal(last.model(image), nets[1](image))
    assert "took the model 'second' that run" in last.notes[-1]
    assert f"of 2 (also first; {source}/NAME takes another)" in last.notes[-1]
    with pytest.raises(UserError, match="a program of its own"):
        load_classifier(f"{source}/first")
    first = load_classifier(f"{source}/first", trust_pickle=True)
    torch.testing.assert_close(first(image), nets[0](image), rtol=0, atol=1e-6)
    with pytest.raises(UserError, match=r"has no model 'frist'\. Did you mean 'first'"):
        load_classifier(f"{source}/frist")
    with store.start_run() as empty:
        pass
    with pytest.raises(UserError, match="has no model: name one"):
        load_classifier(f"mlflow:runs:/{empty.info.run_id}")


@pytest.mark.slow  # transformers takes seconds to import
@pytest.mark.filterwarnings("ignore")
def test_folders_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    labels = {0: "cat", 1: "dog", 2: "cow"}
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        image_size=32, patch_size=8, id2label=labels, label2id={v: k for k, v in labels.items()},
    )  # fmt: skip
    network = transformers.ViTForImageClassification(config).eval()
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    for name, flags in (("whole", {}), ("shards", {"max_shard_size": "30KB"})):
        network.save_pretrained(tmp_path / name, **flags)
        processor.save_pretrained(tmp_path / name)
    network.save_pretrained(tmp_path / "bare")
    image = torch.rand(2, 3, 32, 32)
    for name in ("whole", "shards", "bare"):
        loaded = [
            load_classifier(f"{kind}:{tmp_path / name}").eval() for kind in ("checkpoint", "hf")
        ]
        for classifier in loaded:
            assert torch.equal(classifier.model(image), network(image).logits)
            assert classifier.classes == ("cat", "dog", "cow")
            assert classifier.preprocessing.mean == ((0.0,) if name == "bare" else (0.5,)) * 3
            assert classifier.preprocessing.resize == (32, 32)
    transformers.ViTModel(config).save_pretrained(tmp_path / "backbone")
    with pytest.raises(UserError, match="lacks 2 weights of an image classifier"):
        load_classifier(f"checkpoint:{tmp_path / 'backbone'}")
    with pytest.raises(UserError, match=r"Or name its folder, checkpoint:.*whole, which knows"):
        load_classifier(f"checkpoint:{tmp_path / 'whole' / 'model.safetensors'}")


@pytest.mark.slow  # timm takes seconds to import
def test_folders_of_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    from timm.models import save_for_hf

    network = timm.create_model("resnet10t", num_classes=4).eval()
    save_for_hf(network, str(tmp_path / "x"), model_config={"label_names": list("abcd")})
    classifier = load_classifier(f"checkpoint:{tmp_path / 'x'}").eval()
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(classifier.model(image), network(image))
    assert (classifier.classes, classifier.preprocessing.crop) == (tuple("abcd"), 176)


PUBLISHED = {"20": 932, "32": 944, "44": 950, "56": 943}


@pytest.mark.parametrize(
    "depth", ["20", *(pytest.param(d, marks=pytest.mark.slow) for d in ("32", "44", "56"))]
)
def test_the_published_weights_give_the_published_accuracy(
    depth: str, shared_data: Path, tmp_path: Path
) -> None:
    import tarfile

    with tarfile.open(shared_data / "cifar10" / "cifar10-test-1017-png.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    (file,) = (shared_data / "weights").glob(f"resnet{depth}-*.th")
    like = Preprocessing(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
    for arch in (f"cifar_resnet{depth}", f"builtin:cifar_resnet{depth}"):
        classifier = load_classifier(f"checkpoint:{file}", arch=arch, preprocessing=like).eval()
        assert classifier.preprocessing == Preprocessing(resize=(32, 32))
    images = ImageFolder(tmp_path / "test")
    to_tensor = torchvision.transforms.ToTensor()
    image = torch.stack([to_tensor(one) for one, _ in images])
    with torch.inference_mode():
        right = classifier(image).argmax(1) == torch.tensor(images.targets)
    assert int(right.sum()) == PUBLISHED[depth]
