"""Files that hold their own network: the same answers as the original, or one sentence."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from callbacks.adversarial import FGSM, AdversarialProbe
from callbacks.damage import DamageProbe, Zero
from callbacks.queries import Queries
from datamodules import UserError
from lightning_modules import inspect_checkpoint, load_classifier, load_saved, save_classifier
from lightning_modules.black_box import BlackBox, open_black_box, require_gradients, require_layers
from lightning_modules.checkpoint_files.onnx_header import read_onnx_header

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated, its files are not gone

IMAGE = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Adapts to any number of images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(144, 3)

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(self.conv(image).relu().flatten(1))


class OneBatch(Net):
    """Traced, it takes as many images as it was traced with."""

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(self.conv(image).relu().view(int(image.shape[0]), -1))


class Several(Net):
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        feature = self.conv(image).relu().flatten(1)
        return {"feature": feature, "logits": self.fc(feature)}


class Detached(Net):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.detach())


class Named(Net):
    def forward(self, pixel_values: Tensor) -> Tensor:
        return super().forward(pixel_values)


def made(kind: type[nn.Module] = Net) -> nn.Module:
    torch.manual_seed(1)
    return kind().eval()


def _traced(kind: type[nn.Module], batch: int = 2) -> Callable[[Path], nn.Module]:
    def write(path: Path) -> nn.Module:
        net = made(kind)
        torch.jit.trace(net, torch.rand(batch, 1, 8, 8), strict=False).save(path)
        return net

    return write


def _scripted(path: Path) -> nn.Module:
    net = made()
    torch.jit.script(net).save(path)
    return net


def _frozen(path: Path) -> nn.Module:
    net = made()
    torch.jit.freeze(torch.jit.script(net)).save(path)
    return net


def _half(path: Path) -> nn.Module:
    net = made().half()
    torch.jit.script(net).save(path)
    return net.float()


def _exported(
    kind: type[nn.Module], dynamic: bool = False, by_name: bool = False
) -> Callable[[Path], nn.Module]:
    def write(path: Path) -> nn.Module:
        net, image = made(kind), torch.rand(2, 1, 8, 8)
        shapes = ({0: torch.export.Dim.DYNAMIC},) if dynamic else None
        given = ((), {"pixel_values": image}) if by_name else ((image,), None)
        torch.export.save(torch.export.export(net, *given, dynamic_shapes=shapes), path)
        return net

    return write


# name: (writes the file and returns the network, file, differentiable, images a call)
CASES: dict[str, tuple[Callable[[Path], nn.Module], str, bool, int | None]] = {
    "traced": (_traced(Net), "x.pt", True, None),
    "traced for one image": (_traced(OneBatch, 1), "x.pt", True, 1),
    "traced for four images": (_traced(OneBatch, 4), "x.pt", True, 4),
    "traced, several answers": (_traced(Several), "x.pt", True, None),
    "traced, no gradient": (_traced(Detached), "x.pt", False, None),
    "scripted": (_scripted, "x.torchscript", True, None),
    "frozen": (_frozen, "x.pt", True, None),
    "half": (_half, "x.pt", True, None),
    "exported": (_exported(Net), "x.pt2", True, 2),
    "exported, any batch": (_exported(Net, dynamic=True), "x.pt2", True, None),
    "exported, by name": (_exported(Named, by_name=True), "x.pt2", True, 2),
    "exported, several answers": (_exported(Several), "x.pt2", True, 2),
}


@pytest.mark.parametrize(("write", "name", "differentiable", "batch"), CASES.values(), ids=CASES)
def test_answers_as_the_original(
    write: Callable[[Path], nn.Module],
    name: str,
    differentiable: bool,
    batch: int | None,
    tmp_path: Path,
) -> None:
    net = write(tmp_path / name)
    classifier = load_classifier(f"checkpoint:{tmp_path / name}", trust_pickle=True).eval()
    box = classifier.model
    assert isinstance(box, BlackBox)
    assert (box.differentiable, classifier.num_classes) == (differentiable, 3)
    assert ("takes" in classifier.notes[0]) == (batch is not None)
    with torch.no_grad():
        expected = net(IMAGE)
        expected = expected["logits"] if isinstance(expected, dict) else expected
        # half: the weights are rounded, and sums of 144 products too
        limit = 2e-3 if box.contract.dtype == torch.float16 else 1e-6
        for images in (IMAGE, IMAGE[:1], IMAGE.repeat(9, 1, 1, 1)):
            answer = classifier(images)
            assert len(answer) == len(images)
            torch.testing.assert_close(answer[:1].float(), expected[:1], rtol=0, atol=limit)
        again = pickle.loads(pickle.dumps(box)), copy.deepcopy(box)
        assert all(torch.equal(one(IMAGE), box(IMAGE)) for one in again)
    assert not list(box.parameters()), "what runs is sealed"
    if differentiable:
        label = torch.tensor([0, 1, 2, 0, 1])
        loss = nn.functional.cross_entropy
        ask = lambda model: Queries(model).gradient(  # noqa: E731
            IMAGE, lambda logits, y: loss(logits, y, reduction="none"), label
        )
        original = lambda image: (lambda a: a["logits"] if isinstance(a, dict) else a)(net(image))  # noqa: E731
        torch.testing.assert_close(ask(classifier)[2], ask(original)[2], rtol=0, atol=limit)


@pytest.mark.parametrize("write", [_traced(Net), _exported(Net)])
def test_what_brings_its_own_program_needs_consent(
    write: Callable[[Path], nn.Module], tmp_path: Path
) -> None:
    write(tmp_path / "x.pt")
    with pytest.raises(UserError, match="a program of its own that could do anything: say `--tru"):
        load_classifier(f"checkpoint:{tmp_path / 'x.pt'}")


def test_says_what_it_cannot(tmp_path: Path) -> None:
    _traced(Detached)(tmp_path / "x.pt")
    classifier = load_classifier(f"checkpoint:{tmp_path / 'x.pt'}", trust_pickle=True)
    named = f"'{tmp_path / 'x.pt'}' is a TorchScript file, which only answers: "
    with pytest.raises(UserError) as caught:
        Queries(classifier).gradient(IMAGE, lambda logits: logits.sum(1))
    assert f"This needs gradients, and {named}choose what asks for answers" in str(caught.value)
    with pytest.raises(UserError, match="The attack 'fgsm_linf' needs gradients, and"):
        AdversarialProbe(FGSM(), epsilons=[0.1]).prepare(classifier, None)
    with pytest.raises(UserError, match="The damage 'zero' needs the network's layers and weights"):
        DamageProbe(Zero(), (0.1,)).prepare(classifier, None)
    for plain in (nn.Linear(2, 2), lambda image: image):
        require_gradients(plain)
        require_layers(plain)


def test_wrong_sizes_are_told(tmp_path: Path) -> None:
    _exported(Net)(tmp_path / "x.pt2")
    box = open_black_box(tmp_path / "x.pt2", trust_pickle=True)
    with pytest.raises(UserError, match=r"takes images of 1x8x8 .* but got 3x8x8"):
        box(torch.rand(2, 3, 8, 8))
    _traced(Net)(tmp_path / "x.pt")
    box = open_black_box(tmp_path / "x.pt", trust_pickle=True)
    with pytest.raises(UserError, match=r"cannot answer images of 1x9x9: .*mat1 and mat2"):
        box(torch.rand(2, 1, 9, 9))


def test_survives_saving_and_two_files_differ(tmp_path: Path) -> None:
    _scripted(tmp_path / "x.pt")
    _traced(Net)(tmp_path / "y.pt")
    boxes = [
        load_classifier(f"checkpoint:{tmp_path / name}", trust_pickle=True)
        for name in ("x.pt", "y.pt")
    ]
    folder = save_classifier(boxes[0], tmp_path / "saved")
    again = load_saved(folder, trust_pickle=True)
    assert torch.equal(again(IMAGE), boxes[0](IMAGE))
    assert (again.classes, again.preprocessing) == (boxes[0].classes, boxes[0].preprocessing)
    with pytest.raises(UserError, match="a program of its own"):
        load_saved(folder)
    assert not torch.equal(boxes[0].model.digest, boxes[1].model.digest)  # type: ignore[arg-type]


# -- ONNX: files are written byte by byte, as the format's own description has it ------------------

FLOAT, UINT8, HALF = 1, 2, 10
Shape = tuple[int | str, ...]


def _varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def _field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _value_info(name: str, shape: Shape, kind: int) -> bytes:
    dims = b"".join(_field(1, _field(1 if isinstance(n, int) else 2, n)) for n in shape)
    tensor = _field(1, kind) + _field(2, dims)
    return _field(1, name) + _field(2, _field(1, tensor))


def _tensor(name: str, tensor: Tensor) -> bytes:
    dims = b"".join(_field(1, n) for n in tensor.shape)
    return dims + _field(2, FLOAT) + _field(8, name) + _field(9, tensor.numpy().tobytes())


def _node(kind: str, inputs: str, output: str, **numbers: int) -> bytes:
    made = b"".join(_field(1, name) for name in inputs.split()) + _field(2, output)
    named = (_field(1, k) + _field(3, v) + _field(20, 2) for k, v in numbers.items())
    return made + _field(4, kind) + b"".join(_field(5, attribute) for attribute in named)


def onnx_file(
    path: Path, shape: Shape, kind: int = FLOAT, answers: Shape | None = None
) -> nn.Linear:
    """Flatten and a linear layer of 48 inputs and 3 outputs."""
    torch.manual_seed(1)
    net = nn.Linear(48, 3).requires_grad_(False)
    nodes = [
        _node("Cast", "image", "real", to=FLOAT),
        _node("Flatten", "real", "flat", axis=1),
        _node("Gemm", "flat weight bias", "logits", transB=1),
    ]
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "net")
    weights = {"weight": net.weight, "bias": net.bias}
    graph += b"".join(_field(5, _tensor(name, value)) for name, value in weights.items())
    graph += _field(11, _value_info("image", shape, kind))
    graph += _field(12, _value_info("logits", answers or (shape[0], 3), FLOAT))
    opset = _field(2, 17)
    path.write_bytes(_field(1, 8) + _field(2, "hand") + _field(7, graph) + _field(8, opset))
    return net


ONNX: dict[str, tuple[Shape, int]] = {
    "any batch": (("n", 3, 4, 4), FLOAT),
    "two images": ((2, 3, 4, 4), FLOAT),
    "channels last": (("n", 4, 4, 3), FLOAT),
    "bytes": (("n", 3, 4, 4), UINT8),
    "half": ((2, 3, 4, 4), HALF),
}


@pytest.mark.parametrize(("shape", "kind"), ONNX.values(), ids=ONNX)
def test_onnx_answers_as_the_layer(shape: Shape, kind: int, tmp_path: Path) -> None:
    net = onnx_file(tmp_path / "x.onnx", shape, kind)
    header = read_onnx_header(tmp_path / "x.onnx")
    open_dims = tuple(n if isinstance(n, int) else None for n in shape)
    assert (header.inputs[0].shape, header.outputs[0].shape[1]) == (open_dims, 3)
    assert (header.producer, header.nodes, header.parameters) == ("hand", 3, 147)

    found = inspect_checkpoint(tmp_path / "x.onnx")
    assert (found.kind, found.classes, found.channels, found.size) == ("ONNX", 3, 3, 4)
    assert found.command.startswith(
        f"assay evaluate --model checkpoint:{tmp_path / 'x.onnx'} --data"
    )

    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    image = torch.randint(256, (5, 3, 4, 4)) / 255
    classifier = load_classifier(f"checkpoint:{tmp_path / 'x.onnx'}").eval()
    seen = image.movedim(1, 3) if shape[-1] == 3 else image
    seen = (seen * 255).round() if kind == UINT8 else seen.half().float() if kind == HALF else seen
    torch.testing.assert_close(classifier(image), net(seen.flatten(1)), rtol=1e-5, atol=1e-4)
    assert not classifier.model.differentiable
    assert classifier.preprocessing.resize == (4, 4)
    with pytest.raises(UserError, match=r"needs gradients, and .* is an ONNX file"):
        Queries(classifier).gradient(image, lambda logits: logits.sum(1))
    again = load_saved(save_classifier(classifier, tmp_path / "saved"))
    assert torch.equal(again(image), classifier(image))


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut off": (lambda p: (onnx_file(p, (1, 3, 4, 4)), _shorten(p)), "opened: it is cut off."),
    "garbage": (
        lambda p: p.write_bytes(b"\x08\x07\x12\x07pytorch" + b"x" * 500),
        "opened: it has no graph.",
    ),
}


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(("write", "message"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("arch", [None, "lenet"])
def test_broken_onnx_files(
    write: Callable[[Path], Any], message: str, arch: str | None, tmp_path: Path
) -> None:
    write(tmp_path / "x.onnx")
    with pytest.raises(UserError) as caught:
        load_classifier(f"checkpoint:{tmp_path / 'x.onnx'}", arch=arch)
    assert message in str(caught.value)
    with pytest.raises(UserError) as caught:
        inspect_checkpoint(tmp_path / "x.onnx")
    assert message in str(caught.value)


def test_onnx_keeps_to_its_own_network(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    onnx_file(tmp_path / "x.onnx", ("n", 3, 4, 4))
    classifier = load_classifier(f"checkpoint:{tmp_path / 'x.onnx'}", arch="lenet")
    assert "`--arch lenet` was not used" in classifier.notes[1]
    onnx_file(tmp_path / "x.onnx", ("n", 48))
    with pytest.raises(UserError, match="which is no batch of images"):
        load_classifier(f"checkpoint:{tmp_path / 'x.onnx'}")


def test_onnx_without_its_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    onnx_file(tmp_path / "x.onnx", ("n", 3, 4, 4))
    with pytest.raises(UserError, match=r"pip install 'assay\[onnx\]'"):
        load_classifier(f"checkpoint:{tmp_path / 'x.onnx'}")


@pytest.mark.gpu
def test_moves_with_the_images(tmp_path: Path) -> None:
    for write, name in ((_traced(Net), "x.pt"), (_exported(Net), "x.pt2")):
        net = write(tmp_path / name)
        box = open_black_box(tmp_path / name, trust_pickle=True).cuda()
        answer = box(IMAGE.cuda())
        assert answer.is_cuda
        torch.testing.assert_close(answer.cpu(), net(IMAGE), rtol=0, atol=1e-3)  # TF32 of the GPU
