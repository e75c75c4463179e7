"""YAML in which no key may stand twice: of two, PyYAML keeps the last and says nothing."""

from typing import Any

import yaml


class _KeysOnce(yaml.SafeLoader):
    """Refuses what YAML's own specification forbids."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Makes a dictionary of keys that each stand once."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:  # before keys of `<<` are put in, which may be replaced
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen |= {name} if name else set()
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """Reads YAML.

    Example:
        >>> read_yaml("a: [1, 2]")
        {'a': [1, 2]}

    Raises:
        yaml.YAMLError: it is none, or a key stands twice.
    """
    return yaml.load(text, Loader=_KeysOnce)


def yaml_problem(error: Exception) -> str:
    """What is wrong and where, in one line: `the key 'a' stands twice (line 3)`."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or " ".join(str(error).split())[:160]
    return f"{said} (line {mark.line + 1})" if mark else str(said)
