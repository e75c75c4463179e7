"""What every data set promises, over the table of cases in conftest."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from datamodules import (
    CIFAR10,
    DATA,
    MNIST,
    Batch,
    Digits,
    ImageDataModule,
    Preprocessing,
    UserError,
)

Make = Callable[..., ImageDataModule]
SPLITS = ("train", "val", "test")


def joined(data: ImageDataModule, batches: Iterable[Batch]) -> Batch:
    """All batches of a loader in one, as the model sees them."""
    ready = [data.on_after_batch_transfer(batch, 0) for batch in batches]
    return Batch(*(torch.cat(parts) for parts in zip(*ready, strict=True)))


def loaded(data: ImageDataModule, split: str) -> Batch:
    return joined(data, getattr(data, f"{split}_dataloader")())


@pytest.mark.parametrize("split", SPLITS)
def test_batches_have_shape_type_and_range(make: Make, split: str) -> None:
    data = make(batch_size=7)
    batch = next(iter(getattr(data, f"{split}_dataloader")()))
    assert isinstance(batch, Batch)
    image, label, index = data.on_after_batch_transfer(batch, 0)
    n = min(7, len(data.images(split)))
    assert image.shape[:2] == (n, data.preprocessing.channels)
    assert image.dtype == torch.float32
    assert 0 <= float(image.min()) < 0.2 < 0.8 < float(image.max()) <= 1
    assert label.dtype == index.dtype == torch.int64
    assert label.shape == index.shape == (n,)
    assert int(label.min()) >= 0
    assert int(label.max()) < data.num_classes == len(data.classes)


def test_an_index_means_one_image(make: Make) -> None:
    """Whatever the batch size, the order, the limit and the split beside it."""
    data = make(batch_size=5)
    every = {name: loaded(data, name) for name in SPLITS}
    for name in SPLITS:
        assert every[name].index.unique().numel() == len(data.images(name))
    assert torch.equal(every["test"].index, data.test_index)
    limited = loaded(make(batch_size=3, limit=6), "test")
    place = {int(index): row for row, index in enumerate(every["test"].index)}
    rows = [place[int(index)] for index in limited.index]
    assert torch.equal(limited.image, every["test"].image[rows])
    assert torch.equal(limited.label, every["test"].label[rows])


def test_splits_share_nothing_and_keep_the_classes(make: Make) -> None:
    data = make(val_fraction=0.3)
    parts = {name: data.images(name) for name in SPLITS}
    if not data.has_val:
        together = torch.cat([parts["train"].index, parts["val"].index])
        assert together.unique().numel() == len(together)
        share = len(parts["val"]) / len(together)
        counts = torch.stack([parts[name].label.bincount() for name in ("train", "val")])
        assert ((counts[1] - share * counts.sum(0)).abs() <= 1.5).all()
    if "Split at random" in str(data.notes):
        rest = torch.cat([parts["train"].index, parts["val"].index]).tolist()
        assert not set(rest) & set(parts["test"].index.tolist())


def test_the_seed_decides_splits_limit_and_order(make: Make) -> None:
    same, again, other = (make(seed=seed, limit=12) for seed in (3, 3, 4))
    for name in SPLITS:
        assert torch.equal(loaded(same, name).index, loaded(again, name).index)
    assert not torch.equal(loaded(same, "train").index, loaded(other, "train").index)
    one, two = (loaded(same, "train").index for _ in range(2))
    assert torch.equal(one, two), "a new loader starts again"
    loader = same.train_dataloader()
    first, second = ([*joined(same, loader).index] for _ in range(2))
    assert first != second, "an epoch has an order of its own"


def sets(make: Make) -> int:
    """How many data sets there are: a limit is of each."""
    return len(getattr(make(), "parts", "1"))


def test_a_limit_is_random_stratified_and_nested(make: Make) -> None:
    full = make().images("test")
    parts = {n: make(limit=n).images("test") for n in (1, 5, 12, 10**6)}
    for n, part in parts.items():
        assert len(part) == min(n * sets(make), len(full))
        assert set(part.index.tolist()) <= set(full.index.tolist())
    assert set(parts[5].index.tolist()) <= set(parts[12].index.tolist())
    share = len(parts[12]) / len(full)
    classes = len(full.label.unique())
    expected = share * full.label.bincount(minlength=classes)
    assert ((parts[12].label.bincount(minlength=classes) - expected).abs() <= 1.5).all()


def test_loading_leaves_the_global_random_state(make: Make) -> None:
    before = torch.get_rng_state()
    loaded(make(), "train")
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_change_nothing(make: Make) -> None:
    alone, helped = make(limit=9), make(limit=9, num_workers=1, batch_size=4)
    for one, other in zip(loaded(alone, "test"), loaded(helped, "test"), strict=True):
        assert torch.equal(one, other)


def test_the_manifest_is_stable_and_sensitive(make: Make) -> None:
    data, again = make(), make()
    data.setup("test")
    again.setup("fit")
    again.setup("test")
    assert json.loads(json.dumps(data.manifest())) == data.manifest()
    assert data.manifest()["splits"]["test"] == again.manifest()["splits"]["test"]
    assert data.manifest_digest() == again.manifest_digest() == make(limit=5).manifest_digest()
    assert data.manifest_digest() != make(resize=(9, 9)).manifest_digest()
    facts = make(limit=5)
    facts.setup("test")
    test = facts.manifest()["splits"]["test"]
    assert test["samples"] == sum(test["per_class"]) == 5 * sets(make)
    assert test["available"] == len(data.images("test"))
    assert test["digest"] == data.manifest()["splits"]["test"]["digest"]
    assert test["indices"] != data.manifest()["splits"]["test"]["indices"]
    assert facts.split_indices() == {"test": facts.test_index.tolist()}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_gets_what_it_wants(make: Make, channels: int) -> None:
    data = make(limit=6)
    data.adopt(Preprocessing(channels, 40, 32, mean=(0.5,) * channels, std=(0.2,) * channels))
    wanted = data.preprocessing.channels
    assert loaded(data, "test").image.shape == (6 * sets(make), wanted, 32, 32)
    conversion = data.manifest()["conversion"]
    assert (conversion is None) == (wanted == data.native.channels)
    if conversion:
        assert conversion.startswith("grey" if wanted == 3 else "RGB")


def test_the_users_options_come_first(make: Make) -> None:
    data = make(limit=6, resize=16, crop=16)
    data.adopt(Preprocessing(resize=40, crop=32))
    assert loaded(data, "test").image.shape[2:] == (16, 16)


@pytest.mark.parametrize("augment", ["none", "crop", "crop_flip"])
def test_only_training_images_are_augmented(make: Make, augment: str) -> None:
    data = make(augment=augment, limit=12)
    plain = loaded(data, "train").image

    class Training:
        training, global_rank, world_size = True, 0, 1

    data.trainer = Training()  # type: ignore[assignment]
    seen = loaded(data, "train").image
    assert torch.equal(plain, seen) == (augment == "none")
    again = make(augment=augment, limit=12)
    again.trainer = Training()  # type: ignore[assignment]
    assert torch.equal(loaded(again, "train").image, seen)
    data.trainer.training = False  # type: ignore[misc]
    assert torch.equal(loaded(data, "train").image, plain)


class Writes(L.LightningModule):
    """Writes the indices that its process sees."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.seen = folder, []
        self.layer = torch.nn.Linear(64, 10)

    def _see(self, batch: Batch) -> Tensor:
        self.seen += batch.index.tolist()
        return self.layer(batch.image.flatten(1)).square().mean()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._see(batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._see(batch)

    def on_test_epoch_end(self) -> None:
        (self.folder / f"test-{self.global_rank}.json").write_text(json.dumps(self.seen))

    def on_train_epoch_end(self) -> None:
        (self.folder / f"train-{self.global_rank}.json").write_text(json.dumps(self.seen))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


def two_processes(**flags: object) -> L.Trainer:
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    flags = {**quiet, "accelerator": "cpu", "devices": 2, "strategy": "ddp_fork", **flags}
    return L.Trainer(**flags)  # type: ignore[arg-type]


@pytest.mark.ddp
@pytest.mark.parametrize("own_sampler", [True, False])
def test_two_processes_test_every_sample_once(tmp_path: Path, own_sampler: bool) -> None:
    data = Digits(limit=23, batch_size=4)
    trainer = two_processes(use_distributed_sampler=not own_sampler)
    trainer.test(Writes(tmp_path), data, verbose=False)
    seen = [json.loads((tmp_path / f"test-{rank}.json").read_text()) for rank in range(2)]
    index = Digits(limit=23).test_index.tolist()
    assert seen == [index[0::2], index[1::2]]


@pytest.mark.ddp
def test_two_processes_train_on_everything(tmp_path: Path) -> None:
    data = Digits(limit=24, batch_size=4)
    trainer = two_processes(max_epochs=1, limit_val_batches=0)
    trainer.fit(Writes(tmp_path), data)
    seen = [json.loads((tmp_path / f"train-{rank}.json").read_text()) for rank in range(2)]
    assert sorted(seen[0] + seen[1]) == Digits(limit=24).images("train").index.tolist()


@pytest.mark.ddp
def test_fewer_samples_than_processes(tmp_path: Path) -> None:
    message = "at least one test sample a process, but got 1 for 2: use fewer `trainer.devices`"
    with pytest.raises(Exception, match=message):
        two_processes().test(Writes(tmp_path), Digits(limit=1), verbose=False)


@pytest.mark.parametrize("name", DATA)
def test_the_command_line_makes_it(name: str, tmp_path: Path) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageDataModule, "data")
    words = f"--data {name} --data.root {tmp_path} --data.batch_size 64 --data.resize 20"
    words += " --data.on_corrupt skip --data.limit 5"
    words += " --data.test_archive jpeg75" if name == "CIFAR10" else ""
    if name == "Prepared":  # looks at once what form it has
        np.save(tmp_path / "labels.npy", np.arange(2))
        np.save(tmp_path / "fog.npy", np.zeros((10, 8, 8, 3), np.uint8))
    words += " --data.root a=Digits,b=RotatedDigits" if name == "Joined" else ""
    made = parser.instantiate_classes(parser.parse_args(words.split()))["data"]
    assert type(made) is DATA[name]
    assert (made.batch_size, made.limit, made.on_corrupt) == (64, 5, "skip")
    assert made.preprocessing.resize == 20


def test_the_default_root_is_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert CIFAR10(test_archive="jpeg75").root == tmp_path / "assay" / "CIFAR10"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert MNIST().root == tmp_path / ".cache" / "assay" / "MNIST"


def test_a_label_without_a_class() -> None:
    class Wrong(Digits):
        classes = tuple("012345678")

    message = "Expected labels 0 to 8 for the 9 classes of Wrong, but got 0 to 9."
    with pytest.raises(UserError, match=message):
        Wrong().setup("test")
