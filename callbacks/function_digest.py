"""What a user's functions compute with besides their arguments: globals, closures and defaults.

A network may read `SETTINGS["temperature"]`, the attribute of a configuration object, or a variable
round a hook. None of them is an attribute of the network, and the same source may answer otherwise.
"""

from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import nn


def readings(
    functions: Iterable[FunctionType], is_users: Callable[[str], bool], depth: int = 4
) -> Iterator[tuple[str, Any]]:
    """Yields names and values that functions read, and the byte code of all, in a fixed order.

    Code is yielded too, because that of a lambda or of a notebook is in no file.

    Args:
        functions: where to begin.
        is_users: whether a file of this name is the user's; other functions are not followed.
        depth: of calls.
    """
    seen: set[FunctionType] = set()
    waiting = [(function, depth) for function in functions]
    while waiting:
        function, left = waiting.pop(0)
        if function in seen or not is_users(function.__code__.co_filename):
            continue
        seen.add(function)
        for name, value in _read(function, is_users):
            called = getattr(value, "__func__", value)
            if not isinstance(called, FunctionType):
                yield f"{function.__qualname__} {name}", value
            elif left:
                waiting.append((called, left - 1))


def class_values(part: nn.Module) -> Iterator[tuple[str, Any]]:
    """What the classes of a module keep for all of its instances, in a fixed order."""
    for base in _own_bases(part):
        values = ((name, value) for name, value in vars(base).items() if not name.startswith("__"))
        yield from (
            (f"{base.__qualname__}.{name}", value)
            for name, value in sorted(values, key=lambda x: x[0])
        )


def functions_of(part: nn.Module) -> Iterator[FunctionType]:
    """The functions that a module's answers come from: methods, hooks, a replaced forward."""
    for base in _own_bases(part):
        for member in vars(base).values():
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if isinstance(function, FunctionType):
                yield function
    hooks = (*part._forward_pre_hooks.values(), *part._forward_hooks.values())
    for value in (*hooks, vars(part).get("forward")):
        function = getattr(value, "__func__", value)
        if isinstance(function, FunctionType):
            yield function


def _own_bases(part: nn.Module) -> Iterator[type]:
    """The classes of a module before torch's own base."""
    for base in type(part).__mro__:
        if base is nn.Module:
            return
        yield base


def _read(
    function: FunctionType, is_users: Callable[[str], bool]
) -> Iterator[tuple[str, Any]]:  # fmt: skip
    """Byte code, defaults, closure and globals of one function."""
    codes = list(_codes(function.__code__))
    for code in codes:
        constants = [const for const in code.co_consts if not isinstance(const, CodeType)]
        yield "code", [code.co_code, constants]
    yield "defaults", [function.__defaults__, function.__kwdefaults__]
    names = sorted({name for code in codes for name in code.co_names})
    outside = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    known = {name: _content(cell) for name, cell in outside.items()}
    known |= {name: function.__globals__[name] for name in names if name in function.__globals__}
    for name, value in sorted(known.items()):
        if isinstance(value, ModuleType) and not is_users(getattr(value, "__file__", None) or ""):
            continue
        yield name, value
        held = getattr(value, "__dict__", {})  # of a module, class or object: what is named here
        yield from ((f"{name}.{x}", held[x]) for x in names if x in held)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # of a variable that is not assigned yet
        return None


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A code and those of the functions defined inside it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)
