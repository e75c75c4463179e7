import pytest
from torch.utils.data import Dataset, DistributedSampler

from datamodules.sampler import ExactDistributedSampler


class Some(Dataset):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n


@pytest.mark.parametrize("n", [1, 23, 24, 1017])
@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_every_sample_goes_to_one_process(n: int, processes: int) -> None:
    samplers = [ExactDistributedSampler(Some(n), processes, rank) for rank in range(processes)]
    shares = [list(sampler) for sampler in samplers]
    assert sorted(row for share in shares for row in share) == list(range(n))
    assert [len(sampler) for sampler in samplers] == [len(share) for share in shares]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert isinstance(samplers[0], DistributedSampler), "else Lightning would replace it"
