"""Answers of a teacher, kept by sample index so that each image is asked about once."""

import torch
from torch import Tensor

from lightning_modules.distillation.answers import Answers


class AnswerCache:
    """One row for each sample index; valid while nothing random is done to the images.

    Keyed by index and not by the order of batches, so that a shuffled loader pairs nothing wrongly.

    Args:
        max_bytes: what would not fit is not kept, and asked again.
    """

    def __init__(self, max_bytes: int = 2**32) -> None:
        self.max_bytes = max_bytes
        self._tables: dict[str, Tensor] = {}
        self._known = torch.zeros(0, dtype=torch.bool)

    def __len__(self) -> int:
        return int(self._known.sum())

    def get(self, index: Tensor) -> Answers | None:
        """Returns the rows `index` `(N,)`, or None unless all of them are known."""
        if not len(self._known) or int(index.max()) >= len(self._known):
            return None
        if not bool(self._known[index].all()):
            return None
        rows = {name: table[index] for name, table in self._tables.items()}
        return Answers(rows.pop(""), rows)

    def put(self, index: Tensor, answers: Answers) -> None:
        """Keeps the rows `index` `(N,)`."""
        columns = {"": answers.logits, **answers.features}
        if not self._grown(int(index.max()) + 1, columns):
            return
        for name, column in columns.items():
            self._tables[name][index] = column
        self._known[index] = True

    def _grown(self, rows: int, columns: dict[str, Tensor]) -> bool:
        """Makes room for `rows` rows, at least twice as many as before; False if it is too much."""
        if rows <= len(self._known):
            return True
        wanted = max(rows, 2 * len(self._known))
        bytes_a_row = sum(stored[0].numel() * stored.element_size() for stored in columns.values())
        if wanted * bytes_a_row > self.max_bytes:
            return False
        for name, column in columns.items():
            table = column.new_empty(wanted, *column.shape[1:])
            if name in self._tables:
                table[: len(self._known)] = self._tables[name]
            self._tables[name] = table
        known = torch.zeros(wanted, dtype=torch.bool, device=columns[""].device)
        known[: len(self._known)] = self._known
        self._known = known
        return True
