"""Rows on disk: whole or not at all, reused exactly when nothing that matters changed."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from callbacks.digests import weights_digest
from callbacks.measurement import Setting
from callbacks.resume import Resume
from callbacks.shards import Shards

A, B = Setting("pgd", 100, 0.1), Setting("pgd", 200, 0.2)


def rows(*index: int) -> dict[str, torch.Tensor]:
    i = torch.tensor(index)
    return {"index": i, "loss": i.float() / 3, "correct": i % 2 == 0}


def test_rows_come_back_bit_for_bit(tmp_path: Path) -> None:
    Resume(tmp_path, [A], {"seed": 0}).keep(A, rows(4, 2, 7))
    known = Resume(tmp_path, [A], {"seed": 0}).known(A, torch.tensor([2, 3, 4]))
    assert known["index"].tolist() == [4, 2]
    assert torch.equal(known["loss"], torch.tensor([4.0, 2.0]) / 3)
    assert known["correct"].tolist() == [True, True]


def test_only_what_is_missing_is_left(tmp_path: Path) -> None:
    first = Resume(tmp_path, [A], {"seed": 0})
    first.keep(A, rows(0, 1))
    both = Resume(tmp_path, [A, B], {"seed": 0})  # an epsilon was added
    both.keep(B, rows(1, 2))
    again = Resume(tmp_path, [A, B], {"seed": 0})
    index = torch.tensor([0, 1, 2, 3])
    assert again.unfinished(index).tolist() == [True, False, True, True]
    groups = {tuple(s): mask.tolist() for s, mask in again.groups(index)}
    assert groups == {(A,): [False, False, True, True], (B,): [True, False, False, True]}


@pytest.mark.parametrize("facts", [{"seed": 1}, {"seed": 0, "chunk": 8}])
def test_other_facts_are_other_rows(tmp_path: Path, facts: dict) -> None:
    Resume(tmp_path, [A], {"seed": 0}).keep(A, rows(0, 1))
    assert Resume(tmp_path, [A], facts).known(A, torch.tensor([0, 1])) == {}
    assert (
        Resume(tmp_path, [Setting("pgd", 100, 0.1 + 1e-12)], {"seed": 0})
        .unfinished(torch.tensor([0]))
        .all()
    )


def test_half_written_and_spoiled_shards_are_measured_again(tmp_path: Path) -> None:
    shards = Shards(tmp_path / "key", {})
    shards.append(pd.DataFrame({"index": [3, 4]}))
    (tmp_path / "key" / "000000000009.77.tmp").write_bytes(b"half")
    (tmp_path / "key" / "000000000010.parquet").write_bytes(b"PAR1 spoiled")
    assert shards.load()["index"].tolist() == [3, 4]


def test_no_folder_keeps_nothing(tmp_path: Path) -> None:
    resume = Resume(None, [A], {})
    resume.keep(A, rows(0))
    assert resume.known(A, torch.tensor([0])) == {}
    assert not list(tmp_path.iterdir())


def test_weights_digest_sees_one_bit_and_buffers() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = weights_digest(model)
    assert weights_digest(model) == before
    model[0].weight.data.view(torch.int32)[0, 0] ^= 1
    flipped = weights_digest(model)
    model[1].running_mean += 1
    assert len({before, flipped, weights_digest(model)}) == 3
