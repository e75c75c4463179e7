"""Which class is taken for which."""

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from pipelines.evaluate.answers import taken_for


def test_it_is_sklearns_and_no_answer_is_none_of_a_class() -> None:
    draw = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"label": draw.integers(3, size=90), "prediction": draw.integers(3, size=90)}
    ).assign(logsumexp=1.0)
    expected = confusion_matrix(rows["label"], rows["prediction"], normalize="true")
    assert np.allclose(taken_for(rows, 3), expected)
    silent = rows.assign(prediction=0, logsumexp=np.where(rows["label"] == 2, np.nan, 1.0))
    assert taken_for(silent, 3).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
