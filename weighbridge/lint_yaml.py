"""Where the keys and values of a YAML text stand, so that a finding names its line."""

from __future__ import annotations

import math
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from weighbridge.errors import BadValue

_JOINED = "``"  # what some pages make of a line break
_MOST_ENTRIES = 100_000  # with each alias written out
_DEEPEST = 100
_DATE = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """A date stays the text that it is, as engines of containers read it: a label may hold one that no calendar has."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != _DATE]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def value_of(text: str) -> Any:
    """What a YAML text says. Raises yaml.YAMLError, BadValue for one that nobody can mean."""
    loader = _Loader(whole(text))
    try:
        node = _bounded(loader)
        return None if node is None else loader.construct_document(node)
    except ValueError as e:
        raise BadValue(f"a value in this YAML is not what its form or tag says: {e}", "put it in quotes") from None


def _bounded(loader: yaml.SafeLoader) -> Node | None:
    try:
        node = loader.get_single_node()
        entries, depth = _size(node, {}) if node is not None else (0, 0)
    except RecursionError:
        depth = entries = math.inf
    if depth > _DEEPEST:
        hint = "paste only what starts the container: invoke lint --file FILE"
        raise BadValue(f"the brackets or aliases of this YAML go more than {_DEEPEST} levels deep", hint)
    if entries > _MOST_ENTRIES:
        hint = "write out what its services share, or leave out what lint need not see"
        raise BadValue(f"this YAML has more than {_MOST_ENTRIES:,} entries once its aliases are written out", hint)
    return node


def _size(node: Node, known: dict[int, tuple[float, float]]) -> tuple[float, float]:
    """(entries, levels) with each alias written out; without end for one that leads back to itself."""
    if id(node) not in known:
        known[id(node)] = math.inf, math.inf
        below = node.value if isinstance(node, SequenceNode | MappingNode) else ()
        parts = [part for n in below for part in (n if isinstance(n, tuple) else (n,))]
        sizes = [_size(part, known) for part in parts]
        known[id(node)] = 1 + sum(n for n, _ in sizes), 1 + max((d for _, d in sizes), default=0)
    return known[id(node)]


class Places:
    """Lines of a text by the path of keys (and of positions in lists) that leads there."""

    def __init__(self, text: str) -> None:
        """Raises BadValue."""
        self.lines: dict[tuple[str, ...], int] = {}
        self.original = [n for n, line in enumerate(text.splitlines(), 1) for _ in range(line.count(_JOINED) + 1)]
        try:
            node = _bounded(_Loader(whole(text)))
        except yaml.YAMLError:
            return
        if node is not None:
            self._walk(node, ())

    def _walk(self, node: Node, path: tuple[str, ...]) -> None:
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
