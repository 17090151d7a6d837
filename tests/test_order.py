"""What was typed, as an Order: text to numbers, with an error that names the flag."""

from __future__ import annotations

from typing import Any

import pytest

from weighbridge.cli import ORDER
from weighbridge.errors import BadValue
from weighbridge.order import read_count, read_name, read_order, read_port
from weighbridge.types import Order


@pytest.mark.parametrize(
    ("text", "number"),
    [("8", 8), (8, 8), ("32k", 32_000), ("32K", 32_768), ("1m", 1_000_000), ("1M", 1_048_576), (" 8 ", 8), ("0", 0)],
)
def test_a_count_may_have_a_suffix(text: Any, number: int) -> None:
    assert read_count("--context", text, "1024") == number


@pytest.mark.parametrize("text", ["", "eight", "8.5", "-1", "1e3", "8 k", "8kk", "0x10", "9" * 13, "2000M", "٨x"])
def test_a_count_that_is_none_names_its_flag(text: str) -> None:
    with pytest.raises(BadValue) as caught:
        read_count("--context", text, "1024")
    assert caught.value.message == f"--context {text!r} is not a whole number from 0 to 1000000000"
    assert caught.value.hint == "for example: --context 1024"


def test_a_count_that_is_out_of_its_bounds_is_told_both() -> None:
    assert (read_count("--x", "1", "2", least=1, most=3), read_count("--x", "3", "2", least=1, most=3)) == (1, 3)
    for text in ("-1", "0", "4", "two"):
        with pytest.raises(BadValue) as caught:
            read_count("--x", text, "2", least=1, most=3)
        assert caught.value.message == f"--x {text!r} is not a whole number from 1 to 3"


COUNTS = [
    "tensor_parallel",
    "pipeline_parallel",
    "data_parallel",
    "context",
    "sequences",
    "batched_tokens",
    "graph_size",
]


@pytest.mark.parametrize("name", COUNTS)
def test_every_count_flag_is_read_as_a_number(name: str) -> None:
    assert getattr(read_order({name: "2"}), name) == 2
    with pytest.raises(BadValue, match=f"--{name.replace('_', '-')} 'two' is not a whole number"):
        read_order({name: "two"})
    for text in ("-1", "0"):  # the two are refused in the same words
        with pytest.raises(BadValue, match=f"{text}' is not a whole number from 1 to 1000000000"):
            read_order({name: text})


@pytest.mark.parametrize("name", ["profile", "model", "engine", "engine_version", "dtype", "kv_dtype", "quantization"])
def test_every_text_flag_is_taken_as_it_is(name: str) -> None:
    assert getattr(read_order({name: "x y"}), name) == "x y"


def test_every_field_of_an_order_is_a_flag_and_read() -> None:
    given = {"utilization": "0.5", "visible_gib": "90", "eager": True, **dict.fromkeys(COUNTS, "2")}
    texts = {n: n for n in Order.__struct_fields__ if n not in given}
    found = read_order({**given, **texts})
    assert all(getattr(found, n) not in (None, Order.__struct_fields__) for n in Order.__struct_fields__)
    assert set(Order.__struct_fields__) <= set(ORDER)


def test_nothing_asked_is_the_default() -> None:
    assert read_order({}) == Order() == read_order({n: None for n in COUNTS} | {"eager": False, "compiled": False})


@pytest.mark.parametrize(
    ("flags", "eager"), [({"eager": True}, True), ({"compiled": True}, False), ({"eager": False}, None)]
)
def test_eager_and_compiled(flags: dict[str, bool], eager: bool | None) -> None:
    assert read_order(flags).eager is eager


def test_eager_and_compiled_are_opposites() -> None:
    with pytest.raises(BadValue, match="--eager and --compiled are opposites"):
        read_order({"eager": True, "compiled": True})


@pytest.mark.parametrize(("text", "share"), [("0.9", 0.9), ("1", 1.0), (".5", 0.5)])
def test_a_share(text: str, share: float) -> None:
    assert read_order({"utilization": text}).utilization == share


def test_a_share_that_is_none() -> None:
    with pytest.raises(BadValue, match="--utilization '90%' is not a number"):
        read_order({"utilization": "90%"})


@pytest.mark.parametrize(("text", "port"), [("8000", 8000), ("0", 0), ("65535", 65535)])
def test_a_port(text: str, port: int) -> None:
    assert read_port(text) == port


@pytest.mark.parametrize(
    ("text", "message"),
    [(text, f"--port {text!r} is no whole number from 0 to 65535") for text in ("65536", "-1", "http")],
)
def test_a_port_that_is_none(text: str, message: str) -> None:
    with pytest.raises(BadValue) as caught:
        read_port(text)
    assert caught.value.message == message


@pytest.mark.parametrize("name", ["a", "weighbridge-demo", "My.App_2", "a" * 63])
def test_a_container_name(name: str) -> None:
    assert read_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "a$b", "a" * 64, "é", "a\n"])
def test_a_container_name_that_is_none(name: str) -> None:
    with pytest.raises(BadValue, match="cannot name a container"):
        read_name(name)
