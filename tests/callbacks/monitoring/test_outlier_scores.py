"""Outlier scores against scikit-learn, scipy and closed forms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from callbacks.monitoring.confidence import energy, max_logit, msp
from callbacks.monitoring.outliers import SCORES, OutlierFit, score_title
from callbacks.monitoring.separation import separation, separation_table
from callbacks.monitoring.virtual_logit import linear_head, principal_dimension
from datamodules import UserError

K, D = 4, 12


@pytest.fixture(scope="module")
def made() -> dict[str, torch.Tensor]:
    """Features in clusters, the logits of a linear head, and others further away."""
    g = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(K, D, generator=g)
    label = torch.randint(K, (600,), generator=g)
    mixing = torch.randn(D, D, generator=g)
    features = centres[label] + torch.randn(600, D, generator=g) @ mixing * 0.5
    weight, bias = torch.randn(K, D, generator=g), torch.randn(K, generator=g)
    other = 4 * torch.randn(200, D, generator=g)
    return {
        "features": features, "label": label, "weight": weight, "bias": bias, "other": other,
        "logits": features @ weight.T + bias, "other_logits": other @ weight.T + bias,
    }  # fmt: skip


@pytest.fixture(scope="module")
def fit(made: dict) -> OutlierFit:
    return OutlierFit.fit(made["features"], made["logits"], made["label"], neighbour=5)


@pytest.fixture(scope="module")
def scores(fit: OutlierFit, made: dict) -> dict[str, np.ndarray]:
    found = fit.scores(made["other"], made["other_logits"])
    return {name: score.numpy() for name, score in found.items()}


def covariance_of(x: np.ndarray) -> EmpiricalCovariance:
    return EmpiricalCovariance(assume_centered=True).fit(x)


def want_mahalanobis(made: dict) -> np.ndarray:
    x, y, other = (made[n].double().numpy() for n in ("features", "label", "other"))
    means = np.stack([x[y == k].mean(0) for k in range(K)])
    shared = covariance_of(x - means[y.astype(int)])
    return -np.stack([shared.mahalanobis(other - mean) for mean in means]).min(0)


def want_rmds(made: dict) -> np.ndarray:
    x, other = made["features"].double().numpy(), made["other"].double().numpy()
    return want_mahalanobis(made) + EmpiricalCovariance().fit(x).mahalanobis(other)


def want_knn(made: dict) -> np.ndarray:
    bank, other = (made[n].numpy() for n in ("features", "other"))
    bank, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (bank, other))
    return -NearestNeighbors(n_neighbors=5).fit(bank).kneighbors(other)[0][:, -1]


def want_vim(made: dict) -> np.ndarray:
    x, w, b, other = (made[n].double().numpy() for n in ("features", "weight", "bias", "other"))
    origin = -np.linalg.pinv(w) @ b
    covariance = covariance_of(x - origin).covariance_
    directions = np.linalg.eigh(covariance)[1][:, : D - D // 2]
    length = np.linalg.norm((x - origin) @ directions, axis=1)
    alpha = (x @ w.T + b).max(1).mean() / length.mean()
    residual = np.linalg.norm((other - origin) @ directions, axis=1)
    return logsumexp(other @ w.T + b, axis=1) - alpha * residual


WANTED = {
    "msp": lambda made: (
        np.exp(made["other_logits"].double().numpy().max(1))
        / np.exp(made["other_logits"].double().numpy()).sum(1)
    ),
    "max_logit": lambda made: made["other_logits"].numpy().max(1),
    "energy": lambda made: logsumexp(made["other_logits"].double().numpy(), axis=1),
    "mahalanobis": want_mahalanobis,
    "rmds": want_rmds,
    "knn": want_knn,
    "vim": want_vim,
}


@pytest.mark.parametrize("name", SCORES)
def test_against_other_libraries(name: str, scores: dict, made: dict) -> None:
    # float32 features of size 30 carry 2e-6; distances are squared
    np.testing.assert_allclose(scores[name], WANTED[name](made), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", SCORES)
def test_contract(name: str, fit: OutlierFit, made: dict, scores: dict) -> None:
    inside = fit.scores(made["features"], made["logits"])[name].numpy()
    assert np.isfinite(inside).all()
    assert inside.shape == (600,)
    assert score_title(name)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    again = fit.scores(made["other"][order], made["other_logits"][order])[name].numpy()
    np.testing.assert_allclose(again, scores[name][order], rtol=1e-6)
    if name in ("mahalanobis", "rmds", "knn"):  # the others only see what the head sees
        assert separation(inside, scores[name])["auroc"] > 0.9


def test_confidence_closed_forms() -> None:
    equal = torch.zeros(3, 10, dtype=torch.float64)
    assert msp(equal).tolist() == pytest.approx([0.1] * 3)
    assert energy(equal).tolist() == pytest.approx([np.log(10)] * 3)
    assert energy(equal, 2.0).tolist() == pytest.approx([2 * np.log(10)] * 3)
    assert max_logit(equal).tolist() == [0] * 3


def test_head_is_recovered(made: dict) -> None:
    weight, bias = linear_head(made["features"], made["logits"])
    torch.testing.assert_close(weight.float(), made["weight"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(bias.float(), made["bias"], rtol=1e-4, atol=1e-3)


def test_dead_and_doubled_features_do_no_harm(made: dict, scores: dict) -> None:
    x, other = (
        torch.cat([made[n], torch.zeros(len(made[n]), 2), made[n][:, :1]], 1)
        for n in ("features", "other")
    )
    fit = OutlierFit.fit(x, made["logits"], made["label"], neighbour=5)
    found = fit.scores(other, made["other_logits"])
    np.testing.assert_allclose(found["mahalanobis"], scores["mahalanobis"], rtol=1e-3)
    assert all(score.isfinite().all() for score in found.values())


def test_residual_is_what_pca_leaves(fit: OutlierFit, made: dict) -> None:
    moved = made["features"].double().numpy() - fit.virtual.origin.numpy()
    twice = np.concatenate([moved, -moved])  # so that PCA's own centre is the origin
    left = moved - PCA(D // 2).fit(twice).inverse_transform(PCA(D // 2).fit_transform(twice))[:600]
    length = np.linalg.norm(moved @ fit.virtual.residual.numpy(), axis=1)
    np.testing.assert_allclose(length, np.linalg.norm(left, axis=1), rtol=1e-6)


@pytest.mark.parametrize(("features", "size"), [(2048, 1000), (768, 512), (512, 256), (84, 42)])
def test_principal_dimension(features: int, size: int) -> None:
    assert principal_dimension(features) == size


def test_both_readings_of_fpr95() -> None:
    random = np.random.default_rng(0)
    inside, outside = random.normal(0, 1, 400_000), random.normal(-3, 2, 400_000)
    found = separation(inside, outside)
    # reference: unit Gaussian against one 3 away with sd 2; .910, .249 and .614
    assert found["auroc"] == pytest.approx(norm.cdf(3 / 5**0.5), abs=2e-3)
    assert found["fpr95_in"] == pytest.approx(0.249, abs=5e-3)
    assert found["fpr95_out"] == pytest.approx(0.614, abs=5e-3)
    assert found["auroc_low"] < found["auroc"] < found["auroc_high"]


def test_scores_are_ranked_raw() -> None:
    """A sigmoid in float32 would tie all of these at 1."""
    random = np.random.default_rng(0)
    inside, outside = random.normal(520, 10, 300), random.normal(500, 10, 300)
    want = roc_auc_score(np.repeat([1, 0], 300), np.concatenate([inside, outside]))
    assert separation(inside, outside)["auroc"] == pytest.approx(want, abs=1e-12)


def test_table_has_a_line_for_each_score_and_set(fit: OutlierFit, made: dict) -> None:
    inside = fit.scores(made["features"], made["logits"])
    other = fit.scores(made["other"], made["other_logits"])
    table = separation_table(inside, {"noise": other, "far": other})
    assert len(table) == 2 * len(SCORES)
    assert {"outliers", "score", "auroc", "fpr95_in", "fpr95_out"} <= set(table)


def test_saved_fit_gives_the_same_scores(fit: OutlierFit, made: dict, tmp_path: Path) -> None:
    again = OutlierFit.load(fit.save(tmp_path / "outliers.safetensors"))
    one, other = (f.scores(made["other"], made["other_logits"]) for f in (fit, again))
    for name in SCORES:
        assert torch.equal(one[name], other[name])
    (tmp_path / "bad").write_bytes(b"nothing")
    with pytest.raises(UserError, match="outlier fit"):
        OutlierFit.load(tmp_path / "bad")


BAD = {
    "shapes": ({"labels": torch.zeros(3)}, "Expected `features`"),
    "neighbour": ({"neighbour": 0}, "neighbour"),
    "finite": ({"features": torch.full((600, D), float("nan"))}, "finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes(case: str, made: dict) -> None:
    change, message = BAD[case]
    given = {n: made[n] for n in ("features", "logits")} | {"labels": made["label"]}
    with pytest.raises(UserError, match=message):
        OutlierFit.fit(**{**given, **change})


def test_fit_follows_the_features_to_their_device(fit: OutlierFit, made: dict) -> None:
    """The device without data takes part in no operation with the CPU, as any other device."""
    found = fit.scores(made["other"].to("meta"), made["other_logits"].to("meta"))
    assert {score.device.type for score in found.values()} == {"meta"}
    moved = fit.to("meta")
    assert moved.scores(made["other"].to("meta"), made["other_logits"].to("meta")).keys() == {
        *SCORES
    }
    assert fit.bank.device.type == "cpu"


@pytest.mark.parametrize("given", [True, False])
def test_masked_classes_change_no_score(given: bool, made: dict) -> None:
    """Minus infinity for a class gives every score of the network that lacks the class."""
    masked = {n: torch.cat([made[n], torch.full((len(made[n]), 2), -torch.inf)], 1)
              for n in ("logits", "other_logits")}  # fmt: skip
    weight = torch.cat([made["weight"], torch.ones(2, D)])
    bias = torch.cat([made["bias"], torch.full((2,), -torch.inf)])
    heads = ((weight, bias), (made["weight"], made["bias"])) if given else (None, None)
    scores = [
        OutlierFit.fit(made["features"], logits, made["label"], head=head, neighbour=5).scores(
            made["other"], other
        )
        for logits, other, head in (
            (masked["logits"], masked["other_logits"], heads[0]),
            (made["logits"], made["other_logits"], heads[1]),
        )
    ]
    for name in SCORES:
        assert scores[0][name].isfinite().all()
        # The pseudo-inverse sums in another order when it is given fewer columns.
        torch.testing.assert_close(scores[0][name], scores[1][name], rtol=1e-5, atol=1e-5)


def test_classes_that_are_all_masked_once_leave_no_head(made: dict) -> None:
    logits = made["logits"].masked_fill(torch.eye(K).bool().repeat(150, 1), -torch.inf)
    with pytest.raises(UserError, match="class that no training image rules out"):
        OutlierFit.fit(made["features"], logits, made["label"])
