"""Every error: a subject with its numbers, something to type, and the exit code that says whose fault it is."""

from __future__ import annotations

import pytest

from weighbridge import errors
from weighbridge.errors import DoesNotFit, Failed, Refused, WeighbridgeError, nearest, unknown

KINDS = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, WeighbridgeError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_an_error_is_two_lines_and_an_object(kind: type[WeighbridgeError]) -> None:
    error = kind("the lorry weighs 41.2 t; the bridge bears 40.0", "try --lorry smaller")
    assert str(error) == "the lorry weighs 41.2 t; the bridge bears 40.0\n  try --lorry smaller"
    assert error.to_json() == {
        "error": "the lorry weighs 41.2 t; the bridge bears 40.0",
        "hint": "try --lorry smaller",
        "alternatives": [],
    }


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("UnknownName", 2), ("BadFile", 2), ("BadValue", 2), ("Unsupported", 2), ("DoesNotFit", 2),
        ("NotPublic", 2),  # what was asked
        ("HostError", 1), ("NotReady", 1),  # what the world did
    ],
)  # fmt: skip
def test_the_exit_code_says_whose_fault_it_is(name: str, code: int) -> None:
    kind = getattr(errors, name)
    assert kind.exit_code == code
    assert issubclass(kind, Refused if code == 2 else Failed)


def test_the_tree_atop_the_module_is_the_tree() -> None:
    drawn = errors.__doc__ or ""
    assert [k.__name__ for k in KINDS if k.__name__ not in drawn] == []


def test_alternatives_travel_along() -> None:
    found = [{"command": "invoke plan --profile cpu", "change": "another machine", "holds": "context 1 tokens, x"}]
    error = DoesNotFit("a", "b")
    error.alternatives = tuple(found)
    assert error.to_json()["alternatives"] == found


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("a100-80-x4", "a100-80g"),
        ("a100", "a100-80g"),
        ("A100-80G", "a100-80g"),
        ("910B", "910b-64g"),
        ("xyz", None),
        ("", None),
    ],
)
def test_the_name_that_was_probably_meant(name: str, meant: str | None) -> None:
    assert nearest(name, ["a10", "a100-80g", "l40s-48g", "910b-64g"]) == meant


def test_an_unknown_name_suggests_or_lists() -> None:
    near = unknown("profile", "l40s", ["l40s-48g"], "invoke profiles")
    assert near.message == "no profile called 'l40s'"
    assert near.hint == "did you mean l40s-48g? see them all with: invoke profiles"
    assert unknown("profile", "zz", ["l40s-48g"], "invoke profiles").hint == "see them all with: invoke profiles"
