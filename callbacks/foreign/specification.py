"""`torchvision:GaussianBlur(kernel_size=9, sigma=0.5|1|2)`: a transform of another library."""

import ast
from dataclasses import dataclass
from typing import Any

from datamodules.errors import UserError

MOST = 5
"""Values of the swept parameter, one for each severity."""
EXAMPLE = '"torchvision:GaussianBlur(kernel_size=9, sigma=0.5|1|2|3|4)"'


@dataclass(frozen=True)
class Specification:
    """What is said of a transform.

    Args:
        library: that it is of.
        name: of its class.
        fixed: parameters that are the same at every severity.
        swept: the parameter that is the severity; "" where none is.
        values: of it, mild to severe.
    """

    library: str
    name: str
    fixed: tuple[tuple[str, Any], ...] = ()
    swept: str = ""
    values: tuple[Any, ...] = ()

    @property
    def levels(self) -> list[dict[str, Any]]:
        """The arguments of every severity."""
        if not self.swept:
            return [dict(self.fixed)]
        return [{**dict(self.fixed), self.swept: value} for value in self.values]

    def __str__(self) -> str:
        told = [f"{name}={value!r}" for name, value in self.fixed]
        told += [f"{self.swept}={'|'.join(map(repr, self.values))}"] if self.swept else []
        return f"{self.library}:{self.name}({', '.join(told)})"


def specification(text: str) -> Specification:
    """Reads `LIBRARY:Class(parameter=value, swept=mild|...|severe)`; nothing in it is run.

    Values are literals: numbers, words in quotes, lists, tuples, True, False, None.

    Raises:
        UserError: it is none, with what was expected.
    """
    library, _, call = text.partition(":")
    try:
        node = ast.parse(call.strip(), mode="eval").body
    except SyntaxError as error:
        raise _mistake(text, error.msg) from None
    if isinstance(node, ast.Name):
        return Specification(library, node.id)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise _mistake(text, "there is no class with its parameters in parentheses")
    if node.args or any(word.arg is None for word in node.keywords):
        raise _mistake(text, "every parameter needs its name, as in sigma=1")
    given = {str(word.arg): _values(text, word.value) for word in node.keywords}
    swept = [name for name, values in given.items() if len(values) > 1]
    if len(swept) > 1:
        raise _mistake(text, f"{' and '.join(swept)} both have several values, only one may")
    (name, values) = (swept[0], given.pop(swept[0])) if swept else ("", ())
    if len(values) > MOST:
        raise _mistake(text, f"{name} has {len(values)} values, but there are {MOST} severities")
    fixed = tuple((name, value) for name, (value,) in given.items())
    return Specification(library, node.func.id, fixed, name, values)


def _values(text: str, node: ast.expr) -> tuple[Any, ...]:
    """The values of a parameter: one, or several between bars."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return (*_values(text, node.left), *_values(text, node.right))
    try:
        return (ast.literal_eval(node),)
    except (ValueError, TypeError):
        word = ast.unparse(node)
        quoted = f"; write '{word}' in quotes" if isinstance(node, ast.Name) else ""
        raise _mistake(text, f"{word} is no number, text, list or tuple{quoted}") from None


def _mistake(text: str, why: str) -> UserError:
    return UserError(
        f"Expected a transform as in {EXAMPLE}, the values of one parameter mild to severe between "
        f"bars, but got {text!r}: {why}."
    )
