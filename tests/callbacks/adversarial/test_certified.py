"""Certified bounds: closed forms, the exact optimum, every odd network, and the band on a page."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from callbacks.adversarial import (
    FGSM,
    L2,
    AdversarialProbe,
    CertifiedProbe,
    Crown,
    IntervalBounds,
    Linf,
    Smoothing,
    SmoothingProbe,
)
from callbacks.adversarial.certified.linear_bounds import crown_boxes
from callbacks.adversarial.certified.margin_bounds import MarginBounds
from callbacks.adversarial.certified.operations import windows
from callbacks.adversarial.certified.program import program, run
from callbacks.adversarial.summary import summarise
from callbacks.measurement import Samples
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.results import ProbeResult
from datamodules.errors import UserError
from lightning_modules import examine, load_classifier

CERTIFICATES = [IntervalBounds(), Crown()]


def margins(net: Any, certificate: MarginBounds, image: Tensor, threat: Any) -> Tensor:
    label = net(image).argmax(1)
    return certificate(program(net, image[:2]), image.double(), label, threat)


EXACT = [(IntervalBounds(), Linf(0.02)), (Crown(), Linf(0.02)), (Crown(), L2(0.05))]


@pytest.mark.parametrize(("certificate", "threat"), EXACT)
def test_a_linear_network_is_bounded_exactly(certificate: MarginBounds, threat: Any) -> None:
    """The least of w.x + b on a ball is w.x0 + b - eps |w|_1, or |w|_2, inside of the box."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    image = 0.4 + 0.2 * torch.rand(5, 1, 4, 4)
    label, weight = net(image).argmax(1), next(iter(net.parameters()))
    apart = weight[label][:, None] - weight[None]
    norms = apart.norm(p=1 if isinstance(threat, Linf) else 2, dim=2)
    logits = net(image)
    exact = logits.gather(1, label[:, None]) - logits - threat.epsilon * norms
    torch.testing.assert_close(margins(net, certificate, image, threat).float(), exact)


def exact_minimum(net: Any, image: Tensor, threat: Linf, wanted: Tensor) -> float:
    """The least of wanted . logits by a linear program for each pattern of active units."""
    first, second = net[1], net[3]
    w, b = first.weight.detach().numpy(), first.bias.detach().numpy()
    c, d = ((wanted @ part).detach().numpy() for part in (second.weight, second.bias))
    point = image.flatten().numpy()
    low, high = np.maximum(point - threat.epsilon, 0), np.minimum(point + threat.epsilon, 1)
    ends = np.stack([low, high], 1)
    best = np.inf
    for pattern in itertools.product([0, 1], repeat=len(b)):
        active = np.array(pattern)
        signs = 1 - 2 * active  # of an active unit -(w.x + b) <= 0
        found = linprog((c * active) @ w, signs[:, None] * w, -signs * b, bounds=ends)
        if found.status == 0:
            best = min(best, float(found.fun + (c * active) @ b + d))
    return best


def test_bounds_lie_below_the_exact_optimum_and_near_it() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    image, threat = torch.rand(3, 1, 2, 2).double(), Linf(0.1)
    label = net(image).argmax(1)
    interval, linear = (margins(net, kind, image, threat) for kind in CERTIFICATES)
    for row, own in enumerate(label.tolist()):
        for other in {0, 1, 2} - {own}:
            wanted = torch.eye(3).double()[own] - torch.eye(3).double()[other]
            exact = exact_minimum(net, image[row], threat, wanted)
            assert interval[row, other] <= linear[row, other] <= exact + 1e-9  # of the solver
            assert linear[row, other] >= exact - 0.1 * abs(exact) - 0.02  # narrow for one layer


@pytest.mark.slow  # torch traces each of some sixty networks: a second each
def test_odd_networks_are_bounded_or_refused(odd: Any) -> None:
    """Nothing that a network answers in the ball lies below what is certified."""
    image, threat = odd.images(2), Linf(0.02)
    try:
        classifier = load_classifier(odd.network(), classes=[str(i) for i in range(odd.classes)])
        examine(classifier.eval(), image)  # as at the door, where some are refused
        model = Queries(classifier, chunk=2)
        samples = Samples(image, model(image).argmax(1), torch.arange(2), model(image))
        probe = CertifiedProbe(epsilons=[threat.epsilon])
        probe.prepare(classifier, None)
        (bound,) = probe.measure(model, samples, probe.settings())
    except UserError:
        return
    assert odd.repeats
    assert not odd.refused
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        corner = torch.rand(image.shape, generator=generator).sub(0.5).sign()
        logits = model(threat.project(image + threat.epsilon * corner, image))
        by_hand = logits - logits.gather(1, samples.label[:, None])
        assert torch.all(by_hand <= bound.logits + 1e-4)  # float32, and margins of 0


NORM = ("running_mean", "running_var", "weight", "bias")


class Branches(nn.Module):
    """Everything that is known: in place, padded pools, sums, pieces, means, constants."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.norm.load_state_dict({name: torch.rand(4) + 0.5 for name in NORM}, strict=False)
        self.other = nn.Conv2d(4, 4, 1, groups=2)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(self.norm(self.conv(2 * (0.5 - x) / 4)), inplace=True)
        y = self.other(x)
        y += x
        pooled = nn.functional.max_pool2d(y.relu_(), 3, 2, 1, ceil_mode=True)
        parts = torch.cat([pooled.mean((2, 3)), x.flatten(2).sum(2) / 36, y[:, :, 0, 0]], 1)
        return self.head(nn.functional.dropout(parts, training=self.training)).softmax(1)


@pytest.mark.parametrize("threat", [Linf(0.03), L2(0.2)], ids=["linf", "l2"])
def test_every_operation_at_once(threat: Any) -> None:
    torch.manual_seed(0)
    net, image = Branches().eval(), torch.rand(4, 2, 6, 6)
    steps, label = program(net, image[:2]), net(image).argmax(1)
    difference = run(steps, image.double()).float() - net(image).log()
    assert difference.std(1).max() < 1e-5  # one number for all classes
    interval, linear = (kind(steps, image.double(), label, threat) for kind in CERTIFICATES)
    assert torch.all(interval <= linear)
    boxes = crown_boxes(steps, image.double(), threat)
    for seed in range(50):
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
        moved = threat.project(image + threat.epsilon * threat.ascent(noise), image)
        answers = net(moved).log()
        assert torch.all(answers.gather(1, label[:, None]) - answers >= linear - 1e-5)
        values = run(steps, moved.double())
        assert torch.all((boxes[-1].low - 1e-6 <= values) & (values <= boxes[-1].high + 1e-6))


def test_windows_are_those_of_a_pooling() -> None:
    image = torch.rand(1, 1, 5, 7)
    for how in [(3, 2, 1, 1, True), ((2, 3), (1, 2), (0, 1), 1, False), (2, 2, 0, 2, False)]:
        seen = windows(image.shape[2:], *how)
        values = image.flatten().take(seen.clamp_min(0)).masked_fill(seen < 0, -torch.inf)
        pooled = nn.functional.max_pool2d(image, *how)
        assert torch.equal(values.amax(0), pooled.flatten())


def test_smoothing_is_that_of_cohen_et_al() -> None:
    """A threshold on one pixel: under noise the answer is right with probability Phi(d / sigma)."""
    net = Queries(lambda x: torch.stack([x[:, 0, 0, 0], 0.5 + 0 * x[:, 0, 0, 0]], 1), chunk=64)
    image = torch.full((40, 1, 1, 1), 0.7)
    smoothing = Smoothing(sigma=0.25, samples=400, alpha=0.05)
    label = torch.zeros(40, dtype=torch.long)
    answer = smoothing(net, image, label, Draw(0, torch.arange(40)), 2)
    true = 0.788144601416603  # Phi(0.8)
    assert torch.all(answer.label == 0)
    # A bound that holds in 95 % of the cases: of 40 at most 6 fail but once in 200.
    assert int((answer.least > true).sum()) <= 6
    assert float(answer.least.mean()) > true - 0.07
    # The radius at which the bound falls to a half is sigma Phi^-1(p), here 0.2.
    exact = torch.tensor([true], dtype=torch.double)
    assert float(smoothing.at(exact, 0.2)) == pytest.approx(0.5, abs=1e-9)


def test_rows_and_the_band(one_pass: Callable[..., Any]) -> None:
    radii = [0.01, 0.1]
    probes = [
        AdversarialProbe(FGSM(), epsilons=radii, objective="verdict"),
        CertifiedProbe(Crown(), epsilons=radii),
        CertifiedProbe(IntervalBounds(), epsilons=radii),
        SmoothingProbe(Smoothing(samples=50, selection=10), epsilons=radii),
    ]
    tables = one_pass(*probes, limit=40)
    attacked, crown, interval, smooth = (tables[probe.name] for probe in probes)
    for rows in (crown, interval, smooth):
        assert (rows["correct"] == rows["certified"]).all()
        by_radius = rows.pivot(index="index", columns="value", values="correct")
        assert (by_radius[0.1] <= by_radius[0.01]).all()
    assert (interval["correct"] <= crown["correct"]).all()
    assert (crown["correct"] <= attacked["correct"]).all()  # certified <= true <= attacked
    assert 0 < crown["correct"].mean() < 1
    results = [
        ProbeResult(p.name, p.family, p.title, p.unit, p.algorithm, 0.1, tables[p.name])
        for p in probes
    ]
    summary = summarise(results, None)
    best = crown.loc[crown["value"] == 0.1, "correct"].mean()
    assert summary.numbers["certified_linf_acc"].interval.value == pytest.approx(best)
    assert any("the truth lies between" in sentence for sentence in summary.sentences)
    assert results[1].table["ece"].isna().all()


def test_the_band_says_where_it_crosses() -> None:
    base = {"setting": "x", "severity": 100, "value": 0.1, "margin": 1.0, "loss": 0.1}
    base |= {"confidence": 0.9, "brier": 0.1, "prediction": 0, "label": 0, "logsumexp": 0.0}
    base |= {"forwards": 1.0, "backwards": 0.0, "seconds": 0.0, "worst_loss": 0.1}
    rows = pd.DataFrame([{**base, "index": i} for i in range(20)])
    shared = ("adversarial", "a title", "epsilon (L∞)", "it", 0.1)
    attack = ProbeResult("fgsm", *shared, rows.assign(correct=0, clean_correct=1))
    bound = ProbeResult("crown", *shared, rows.assign(correct=1, certified=1))
    said = summarise([attack, bound], None).sentences
    assert any("20 of these images are certified and yet broken" in sentence for sentence in said)
