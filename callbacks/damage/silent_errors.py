"""What damage does to single answers: silent and detected errors."""

from torch import Tensor

from callbacks.rows import is_answer


class SilentErrors:
    """What damage does to single answers (Li et al., SC 2017), over all samples.

    Args:
        clean: `(N, K)` logits of the undamaged model.
    """

    def __init__(self, clean: Tensor) -> None:
        self.first = clean.topk(min(5, clean.shape[1]), 1).indices
        self.top = clean.argmax(1)
        self.confidence = clean.softmax(1).gather(1, self.top[:, None])[:, 0]

    def __call__(self, damaged: Tensor) -> dict[str, Tensor]:
        """Compares the answers of a variant.

        Args:
            damaged: `(N, K)` logits.

        Returns:
            `(N,)`: `sdc` and `sdc5` are 0 where there is no answer (see `is_answer`), which counts
            as `due` (detected); `confidence_shift` is the change of the undamaged top class's
            probability.
        """
        answered, answer = is_answer(damaged), damaged.argmax(1)
        confidence = damaged.softmax(1).gather(1, self.top[:, None])[:, 0]
        return {
            "sdc": (answer != self.top) & answered,
            "sdc5": ~(self.first == answer[:, None]).any(1) & answered,
            "due": ~answered,
            "confidence_shift": (confidence - self.confidence).nan_to_num(0),
        }
