"""What every test may lean on."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def _odd_networks() -> None:
    """Loads the table as a module of its own, because tests are no package."""
    spec = importlib.util.spec_from_file_location(
        "odd_networks", Path(__file__).with_name("odd_networks.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["odd_networks"] = module  # so that `python:odd_networks:NAME` and pickles find it
    spec.loader.exec_module(module)


_odd_networks()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test with an argument `odd` over the table of odd networks, by name."""
    if "odd" in metafunc.fixturenames:
        odd = sys.modules["odd_networks"].ODD
        metafunc.parametrize("odd", odd, ids=str)


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
