"""YAML, read safely and in one way only."""

from typing import Any

import yaml


class Once(yaml.SafeLoader):
    """YAML in which no key stands twice: readers differ in which of the two they take."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """As ever, or a ConstructorError."""
        seen = set()
        for key, _ in node.value:
            if (said := (key.tag, str(key.value))) in seen:
                raise yaml.constructor.ConstructorError(None, None, "a key twice", key.start_mark)
            seen.add(said)
        return super().construct_mapping(node, deep)


def load(text: str) -> Any:
    """The one document in ``text``. Raises a YAMLError, or what a constructor may raise."""
    return yaml.load(text, Once)
