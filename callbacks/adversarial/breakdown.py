"""Which attack broke what: of every attack of a threat model, and which images it alone broke."""

from collections.abc import Iterator

import pandas as pd

from callbacks.adversarial.attack_set import AttackSet
from callbacks.worst_case import found_points, within

_NAMED = 6


def broken_by(attacks: AttackSet) -> pd.DataFrame:
    """What every attack broke at the headline radius or a smaller one, image by image.

    A point that is as near breaks an image too, whatever radius was attacked.

    Args:
        attacks: of one threat model.

    Returns:
        Bool, one line an image that all of them met and that is right undisturbed, by index; one
        column an attack, by title.
    """
    columns = {}
    for result in attacks.results:
        rows = result.rows
        if "clean_correct" in rows:
            rows = rows.loc[rows["clean_correct"] == 1]
        near = set(within(found_points(rows), attacks.radius)["index"])
        inside = rows["severity"] <= attacks.step
        if inside.any() or near:
            name = result.title.split(" (")[0]
            broken = (inside & (rows["correct"] == 0)) | pd.Series(rows["index"]).isin(near)
            columns[name] = broken.groupby(rows["index"]).any()
    return pd.concat(columns, axis=1).dropna().astype(bool) if columns else pd.DataFrame()


def breakdown_sentences(attacks: AttackSet) -> Iterator[str]:
    """`Of 40 images broken, PGD broke 38 (3 of them alone), Square 12 (1).`; of several attacks."""
    broken = broken_by(attacks)
    count = int(broken.any(axis=1).sum()) if len(broken.columns) > 1 else 0
    if not count:
        return
    order = broken.sum().sort_values(ascending=False, kind="stable").index[:_NAMED]
    alone = broken[broken.sum(axis=1) == 1].sum()
    told = [f"{name} {int(broken[name].sum()):,} ({int(alone[name]):,})" for name in order]
    more = f" and {len(broken.columns) - _NAMED} more" if len(broken.columns) > _NAMED else ""
    yield (
        f"Of {count:,} images broken in {attacks.sign} ({len(broken):,} are right undisturbed) "
        f"each attack broke so many (in brackets: it alone): {', '.join(told)}{more}."
    )
