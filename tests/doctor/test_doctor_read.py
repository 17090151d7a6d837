"""Are tools read as they print? Captures of others' machines, one row or figure of each checked by eye."""

from __future__ import annotations

from typing import Any

import pytest
from support_doctor import CAPTURES, all_areas, capture, index, value

from weighbridge.doctor_read import number, read_csv, read_matrix, read_pairs, version, within


def questions_of(capture_name: str) -> list[str]:
    """The question that a capture answers, and those that read the same text in their own way."""
    asked = index()[capture_name]["answers"]
    derived = [n for area in all_areas().values() for n, q in area.questions.items() if q.of == asked]
    return [asked, *derived]


def test_every_capture_says_whose_it_is() -> None:
    assert {p.stem for p in CAPTURES.glob("*.txt")} == set(index())
    assert len(index()) >= 30
    for name, entry in index().items():
        assert entry.keys() <= {"answers", "source", "cut", "note"}, name
        assert entry["source"]


@pytest.mark.parametrize("name", sorted(index()))
def test_every_capture_is_read_by_its_question(name: str) -> None:
    found = [value(question, capture(name)) for question in questions_of(name)]
    assert any(found), f"nothing of {name} was understood"


CHIPS: list[tuple[str, int, dict[str, Any]]] = [
    ("npu-smi-910b3-x8-24.1.rc2", 8, {"npu": 7, "name": "910B3", "health": "OK", "temp": 41, "used": 3350}),
    ("npu-smi-910b3-23.0.5.1", 2, {"npu": 1, "name": "910B3", "bus": "0000:C2:00.0", "used": 3162, "total": 65536}),
    ("npu-smi-910b2c-24.1.rc2.2", 2, {"npu": 1, "name": "910B2C", "power": 102.0, "used": 3378}),
    ("npu-smi-910b4-24.1.1", 2, {"npu": 1, "name": "910B4", "used": 29356, "total": 32768}),
    ("npu-smi-a3-24.1.rc3.7", 2, {"npu": 0, "name": "Ascend910", "chip": 1, "phy": 1, "power": "-", "used": 3186}),
    ("npu-smi-a3-25.2.1", 3, {"npu": 1, "chip": 0, "phy": 2, "used": 3125}),
    ("npu-smi-a3-25.3.rc1", 2, {"npu": 0, "chip": 1, "temp": 30, "used": 2896}),
    ("npu-smi-a3-26.0.rc2", 2, {"npu": 0, "chip": 1, "temp": 34, "used": 2874, "total": 65536}),
]


@pytest.mark.parametrize(("name", "chips", "last"), CHIPS)
def test_the_chips_of_seven_releases_of_npu_smi(name: str, chips: int, last: dict[str, Any]) -> None:
    rows = value("npu_smi", capture(name))
    assert len(rows) == chips
    assert rows[-1].items() >= last.items()


@pytest.mark.parametrize(
    ("name", "pairs", "links"),
    [
        ("topo-4xl40s", 6, {"NODE": 2, "SYS": 4}),
        ("topo-4xh100-nv6", 6, {"NV6": 6}),
        ("topo-dgx-a100", 7 + 6 + 5 + 4, {"NV12": 22}),
        ("topo-dgx-a100-320g", 7 + 6 + 5 + 4 + 3 + 2, {"NV12": 27}),
        ("topo-8xh100", 7 + 6 + 5, {"NV18": 18}),
        ("topo-4090-and-others", 10, {"SYS": 4, "PHB": 2, "NODE": 4}),
        ("topo-2x5090", 1, {"PHB": 1}),
        ("p2p-2x5090", 1, {"GNS": 1}),
        ("p2p-5-cards-ok", 10, {"OK": 10}),
    ],
)
def test_links_between_cards_and_not_to_network_adapters(name: str, pairs: int, links: dict[str, int]) -> None:
    rows = read_matrix(capture(name), "")
    assert len(rows) == pairs
    assert {link: sum(r["link"] == link for r in rows) for link in {r["link"] for r in rows}} == links


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("docker-17.12-kata", {"server_version": "17.12.1-ce", "runtimes": "kata-runtime runc cc-runtime"}),
        ("docker-18.03-live-restore", {"docker_root_dir": "/var/lib/docker", "live_restore_enabled": "true"}),
        ("docker-18.06-kata", {"storage_driver": "overlay2", "kernel_version": "4.4.0-124-generic"}),
        ("docker-29.1-cdi", {"server_version": "29.1.2", "cgroup_version": "2", "cdi": "nvidia.com/gpu=0"}),
        ("docker-29.4-zfs", {"server_version": "29.4.0", "backing_filesystem": "zfs"}),
        ("docker-no-card-runtime", {"runtimes": "io.containerd.runc.v2 runc"}),
    ],
)
def test_docker_info_of_six_releases(name: str, facts: dict[str, str]) -> None:
    assert read_pairs(capture(name), "").items() >= facts.items()


@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("smi-h20-580", "580.95.05"),
        ("smi-h100-550", "550.54.15"),
        ("smi-geforce-510", "510.47.03"),
        ("smi-a10g-470", "470.256.02"),
    ],
)
def test_the_driver_in_the_heading_of_four_releases(name: str, driver: str) -> None:
    assert value("nvidia_driver", capture(name)) == [{"driver_version": driver}]


def test_the_cards_network_ports() -> None:
    assert value("hccn_addresses", capture("hccn-address")) == [
        {"n": 3, "ip": "29.1.112.213", "mask": "255.255.0.0", "said": None}
    ]
    assert value("hccn_addresses", capture("hccn-no-address"))[0]["ip"] is None
    assert value("hccn_links", capture("hccn-well")) == [{"n": 0, "link": "UP"}]
    assert value("hccn_health", capture("hccn-health-init")) == [{"n": 1, "health": "Init"}]
    assert value("hccn_tls", capture("hccn-two-tls")) == [{"n": 0, "on": 0}, {"n": 1, "on": 1}]


def test_driver_and_firmware_say_which_go_together() -> None:
    driver, firmware = value("ascend_versions", capture("versions-24.1.rc3"))
    assert (driver["version"], driver["firmware"]) == ("24.1.rc3", "[7.0.0,7.5.99]")
    assert (firmware["version"], firmware["driver"]) == ("7.5.0.1.129", "[23.0.0,23.0.0.],[24.0,24.0.],[24.1,24.1.]")
    assert within(firmware["version"], driver["firmware"])
    assert within(driver["version"], firmware["driver"])


def test_rocm_in_two_releases() -> None:
    assert value("rocm_smi", capture("rocm-smi-mi300x")) == [{"index": 0, "temp": 39.0, "vram": 95, "busy": 0}]
    assert [r["temp"] for r in value("rocm_smi", capture("rocm-smi-mi250"))][:2] == [47.0, 46.0]


def test_versions_stand_in_their_order() -> None:
    rising = ["23.0.5.1", "24.1.rc2", "24.1.rc2.2", "24.1.rc3", "24.1", "24.1.0.3", "25.0", "470.256.02", "580.95.05"]
    assert sorted(rising, key=version) == rising


@pytest.mark.parametrize(
    ("found", "bounds", "is_in"),
    [
        ("7.3.0.1.231", "[7.0.0, 7.2.99]", False),  # seen with driver 24.1.rc2: exchange between processes failed
        ("7.2.0.1", "[7.0.0,7.2.99]", True),
        ("7.2.99.5", "[7.0.0,7.2.99]", True),
        ("6.4.12", "[6.4.0,6.4.99],[7.0.0,8.9.9]", True),
        ("9.0", "[6.4.0,6.4.99],[7.0.0,8.9.9]", False),
    ],
)
def test_a_version_in_a_range(found: str, bounds: str, is_in: bool) -> None:
    assert within(found, bounds) is is_in


@pytest.mark.parametrize(
    ("text", "is_"),
    [("81559 MiB", 81559), ("88.02 W", 88.02), ("[N/A]", None), ("[Not Supported]", None), ("P0", "P0"), ("12 %", 12)],
)
def test_figures_with_units(text: str, is_: object) -> None:
    assert number(text) == is_


def test_a_row_of_another_length_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="zip"):
        read_csv("index, name\n0, NVIDIA L40S, 3\n", "")


def test_text_that_is_no_table_holds_no_links() -> None:
    assert read_matrix("Failed to initialize NVML: Driver/library version mismatch\n", "") == []
    assert read_matrix("", "") == []
