"""Disks that are full or closed: one sentence, and no half row is taken for a whole one."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from datamodules.disk import DiskError, disk_errors
from pipelines.report.result import load_result

Assay = Callable[..., tuple[int, str, str]]


@pytest.fixture
def words(lenet: Path) -> list[str]:
    return [
        *("evaluate", "--model", f"checkpoint:{lenet}", "--arch", "lenet", "--data", "Digits"),
        *("--data.limit", "64", "--chunk", "8", "--probes", "clean", "fgsm"),
        *("--tracking.enabled", "false", "--masking", "false"),
    ]


def rows(root: Path) -> pd.DataFrame:
    (file,) = (root / "mlruns" / "results").glob("*/result.json")
    table = load_result(file.parent).parts().rows["fgsm_linf"]
    return table.drop(columns="seconds")


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Files cannot grow beyond a size; what is written up to there stays, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def told(err: str, path: Path, reason: str) -> None:
    assert err.count("assay: ") == 1
    assert "Traceback" not in err
    message = err[err.index("assay: ") :]
    assert str(path) in message
    assert reason in message
    assert "`--root`" in message


def test_a_disk_that_fills_up_while_rows_are_written(
    assay: Assay, words: list[str], home: Path, small_disk: Callable[[int], None]
) -> None:
    code, _, err = assay(*words, "--root", "whole")
    assert code == 0, err
    small_disk(6000)
    code, _, err = assay(*words)
    small_disk(resource.RLIM_INFINITY)
    assert code == 1
    told(err, home / "mlruns" / "resume", "File too large")
    assert not list((home / "mlruns").rglob("*.tmp"))
    # Files that were cut off all the same, by a disk that said nothing.
    shards = (home / "whole" / "mlruns" / "resume").glob("*/*.parquet")
    for file in shards:
        copy = home / "mlruns" / "resume" / file.parent.name / file.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(file.read_bytes()[:3000])
    code, _, err = assay(*words)
    assert code == 0, err
    pd.testing.assert_frame_equal(rows(home), rows(home / "whole"))


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "writes",
    [
        "pandas.DataFrame.to_parquet",
        "pathlib.Path.write_text",
        "pipelines.study.study.save_png",
        "pipelines.study.study.write_page",
    ],
)
def test_a_disk_that_is_full_at_any_place(
    assay: Assay, words: list[str], home: Path, monkeypatch: pytest.MonkeyPatch, writes: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(writes, full)
        code, _, err = assay(*words)
    assert code == 1
    told(err, home / "mlruns", "No space left on device")
    code, _, err = assay(*words)
    assert code == 0, err
    assert len(rows(home))


@pytest.mark.parametrize("tracked", ["true", "false"])
def test_a_root_below_a_file(
    assay: Assay, words: list[str], home: Path, tracked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").touch()
    code, _, err = assay(*words, "--root", "file/below", "--tracking.enabled", tracked)
    assert code == 2
    told(err, home / "file" / "below" / "mlruns", "Not a directory")

    def closed(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "touch", closed)  # root may write everywhere
    code, _, err = assay(*words, "--root", "closed", "--tracking.enabled", tracked)
    assert code == 2
    told(err, home / "closed" / "mlruns", "Permission denied")


def test_what_torch_and_safetensors_say(tmp_path: Path, small_disk: Callable[[int], None]) -> None:
    import safetensors.torch

    tensor = torch.rand(100_000)
    small_disk(20_000)
    for save in (
        lambda: torch.save(tensor, tmp_path / "x.pt"),
        lambda: safetensors.torch.save_file({"x": tensor}, tmp_path / "x.safetensors"),
    ):
        with pytest.raises(DiskError, match="cannot be written"), disk_errors(tmp_path):
            save()


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), disk_errors(Path("/")):
        raise KeyError("no disk")
    with pytest.raises(FileNotFoundError), disk_errors(Path("/")):
        Path("/not/there").read_text()
