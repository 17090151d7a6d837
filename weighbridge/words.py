"""Counts in words: `1 key`, `2 keys`."""

from __future__ import annotations


def many(count: int, noun: str, plural: str = "") -> str:
    """The count with its noun, in the plural unless it is one."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def are(count: int) -> str:
    """The verb that goes with a count."""
    return "is" if count == 1 else "are"
