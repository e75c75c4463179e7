"""What every test may lean on."""

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project, or a skip that says what is missing."""
    if not SHARED.is_dir():
        pytest.skip("real data not present: expected ../shared/data beside the project")
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def _one_thread_count() -> None:
    """Kernels round differently for different thread counts; tiny models are fastest with one."""
    torch.set_num_threads(1)
