"""What is used again is told by every command that keeps cells."""

from pipelines.study.study import _reused


def test_results_of_earlier_runs_are_counted_with_the_latest() -> None:
    assert _reused([]) == []
    (one,) = _reused(["2026-01-02T03:04:05"])
    assert one == "1 result is from an earlier run of 2026-01-02 03:04."
    two = _reused(["2026-01-02T03:04:05", "2026-01-03T00:00:00"])
    assert two == ["2 results are from an earlier run of 2026-01-03 00:00."]
