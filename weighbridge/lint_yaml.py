"""Where the keys and values of a YAML text stand, so that a finding names its line."""

from __future__ import annotations

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_JOINED = "``"  # what some pages make of a line break
_DEEPEST = 20


class Places:
    """Lines of a text by the path of keys (and of positions in lists) that leads there."""

    def __init__(self, text: str) -> None:
        self.lines: dict[tuple[str, ...], int] = {}
        self.original = [n for n, line in enumerate(text.splitlines(), 1) for _ in range(line.count(_JOINED) + 1)]
        try:
            node = yaml.SafeLoader(whole(text)).get_single_node()
        except (yaml.YAMLError, RecursionError):
            return
        if node is not None:
            self._walk(node, ())

    def _walk(self, node: Node, path: tuple[str, ...]) -> None:
        if len(path) > _DEEPEST:  # an alias may lead back to itself
            return
        if isinstance(node, MappingNode):
            for key, value in node.value:
                below = (*path, str(key.value) if isinstance(key, ScalarNode) else "")
                self.lines[below] = key.start_mark.line + 1
                self._walk(value, below)
        elif isinstance(node, SequenceNode):
            for n, value in enumerate(node.value):
                self.lines[(*path, str(n))] = value.start_mark.line + 1
                self._walk(value, (*path, str(n)))

    def line(self, *path: str) -> int:
        """The line of the value there, else of the nearest key above it; 1 for an empty path."""
        found = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), 1)
        return self.original[found - 1] if found <= len(self.original) else found


def whole(text: str) -> str:
    """The text with the line breaks that a page turned into backquotes."""
    return text.replace(_JOINED, "\n")
