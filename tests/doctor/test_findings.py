"""Is each finding found where it is, and nothing where all is well?"""

from __future__ import annotations

import re
from pathlib import Path

import cases
import pytest
from cases import CASES, H100, NPU, Case, cards, reply
from support_doctor import HERE, MISSING, all_areas, capture, catalog, failed, ids, ok, report

from weighbridge.catalog import Catalog
from weighbridge.doctor import Answer, about, areas, judge
from weighbridge.doctor_report import doctor_json, doctor_text
from weighbridge.errors import BadFile, UnknownName

FINDINGS = {i: f for area in all_areas().values() for i, f in area.findings.items()}
# Provoked by a card whose image nobody has written down yet: see test_an_image_of_unknown_runtime.
ELSEWHERE = {"nvidia-driver-next"}
NVIDIA = (
    "sudo apt install linux-headers-$(uname -r) nvidia-open && sudo reboot"
    "  # once NVIDIA's own repository for Debian {0} is set up: https://docs.nvidia.com/datacenter/tesla/"
)
OWN = "sudo apt install nvidia-driver && sudo reboot  # from non-free"


def test_every_finding_has_a_case_and_there_are_enough() -> None:
    assert {c.id for c in CASES} | ELSEWHERE == set(FINDINGS)
    assert len(FINDINGS) >= 45


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_a_finding_is_found(case: Case) -> None:
    found = {f.id: f for f in report(case.answers, case.profile, **(case.given or {})).found}
    assert case.id in found
    it = found[case.id]
    assert all((it.says, it.means, it.type))
    assert not re.search(r"[{}]{2}|Undefined|None", " ".join((it.says, *it.type)))


WELL_HOST: dict[str, Answer] = {
    "docker_info": ok(capture("docker-29.1-cdi")),
    "cgroups": ok("cgroup2fs\n"),
    "uname": ok("Linux host 6.8.0-60-generic #63-Ubuntu SMP x86_64 GNU/Linux\n"),
    "meminfo": ok(cases.MEMORY.format(20_000_000, 8_000_000, 8_000_000, 0)),
    "vm": ok("overcommit_memory 0\novercommit_ratio 50\n"),
    "cpuinfo": ok("model name : Intel Xeon\nflags : avx2 avx512f avx512_bf16 amx_bf16\n"),
    "limits": ok("Max open files            65536                1048576              files\n"),
    "time": ok("NTPSynchronized=yes\n"),
    "selinux": ok("Permissive\n"),
    "cmdline": ok("ro iommu=pt\n"),
    "iommu": ok("dmar0\n87\n"),
    "governor": ok("performance\n"),
    "id": ok("uid=1000(ann) gid=1000(ann) groups=1000(ann),999(docker)\n"),
    "dmesg": ok(""),
    **{name: reply("https://there", 1) for name in ("hub", "mirror", "registry", "registry_ascend")},
}
WELL_GIVEN = {
    "store": cases.STORE,
    "docker_root": cases.ROOT,
    "proxies": cases.PROXIES,
    "port": cases.PORT,
}
WELL_CARDS: dict[str, Answer] = {
    "nvidia_smi": cases.SMI_580,
    "nvidia_query": cards(8, driver_version="580.95.05"),
    "nvidia_query_throttle": ok(cases.THROTTLE.format("…", "Not Active", "Not Active", "Not Active", "Not Active")),
    "nvidia_query_fabric": ok(cases.FABRIC.format("Completed", "Success")),
    "nvidia_remapped": ok(cases.REMAPPED),
    "nvidia_apps": ok("gpu_uuid, pid, process_name, used_gpu_memory [MiB]\n"),
    "nvidia_topo": ok(capture("topo-8xh100")),
    "nvidia_p2p_read": ok(capture("p2p-5-cards-ok")),
    "nvidia_nvlink": ok(capture("nvlink-gb200")),
    "nvidia_fabricmanager": ok("LoadState=loaded\nActiveState=active\nSubState=running\n"),
    "nvidia_nodes": cases.NODES,
    "nvidia_pci": ok("0000:18:00.0 vendor=0x10de device=0x2330 class=0x030200 numa=0 link=32 x16 max=32 x16\n"),
    "nvidia_cdi": ok("cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n"),
    "nvidia_toolkit": ok("NVIDIA Container Toolkit CLI version 1.17.8\n"),
}
WELL_NPUS: dict[str, Answer] = {
    "npu_smi": ok(cases.NPUS),
    "ascend_nodes": ok(cases.DAVINCI),
    "ascend_user": ok("uid=1000(HwHiAiUser) gid=1000(HwHiAiUser) groups=1000(HwHiAiUser)\n"),
    "ascend_versions": ok(cases.VERSIONS + "== /usr/local/Ascend/firmware/version.info\nVersion=7.7.0.1.231\n"),
    "ascend_hccn": ok(capture("hccn-well") + capture("hccn-address")),
}


@pytest.mark.parametrize(
    ("answers", "profile"),
    [({**WELL_HOST, **WELL_CARDS}, H100), ({**WELL_HOST, **WELL_NPUS}, NPU), (WELL_HOST, "cpu")],
    ids=["cuda", "ascend", "cpu"],
)
def test_nothing_is_found_where_all_is_well(answers: dict[str, Answer], profile: str) -> None:
    found = report(answers, profile, **WELL_GIVEN)
    worse = [f"{f.id}: {f.says}" for f in found.found]
    assert worse == []
    assert found.not_judged == {}


def test_a_finding_with_a_fix_is_a_command_that_names_no_folder_of_others() -> None:
    fixes = {i: f.fix.command for i, f in FINDINGS.items() if f.fix}
    assert len(fixes) >= 8
    assert not [i for i, line in fixes.items() if re.search(r"\brm\b|--force|>|mkfs|reboot|apt|-rf", line)]


def test_an_image_of_unknown_runtime() -> None:
    profile = {"id": "x", "family": "cuda", "image": "example/engine:1", "min_driver": {"12": 525, "13": 580}}
    only = about(all_areas(), None, ["nvidia-driver-next"])
    found = judge(only, {"nvidia_smi": ok(capture("smi-h100-550"))}, {"profile": profile})
    assert [f.says for f in found.found] == ["driver 550.54.15 runs images of CUDA 12, not of 13 (needs 580)"]


@pytest.mark.parametrize(
    ("distribution", "line"),
    [
        ("ID=ubuntu\nID_LIKE=debian\n", "sudo apt install nvidia-driver-580-server && sudo reboot"),
        ('ID_LIKE="ubuntu debian"\nID=linuxmint\n', "sudo apt install nvidia-driver-580-server && sudo reboot"),
        ('VERSION_ID="12"\nID=debian\n', NVIDIA.format(12)),
        ('ID=debian\nVERSION_ID="13"\n', NVIDIA.format(13)),
        ("ID=debian\nVERSION_CODENAME=forky\n", "# install driver 580 or newer from NVIDIA's own repository"),
        ('VERSION_ID="2026.2"\nID=kali\nID_LIKE=debian\n', "# install driver 580 or newer from NVIDIA's own"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "sudo dnf install nvidia-open && sudo reboot"),
        ("ID=arch\n", "# install driver 580 or newer as your distribution does: "),
        (None, "# install driver 580 or newer as your distribution does: "),
    ],
)
def test_the_driver_is_installed_as_the_distribution_calls_it(distribution: str | None, line: str) -> None:
    named = {"os_release": ok(distribution)} if distribution else {}
    provoked = [c for c in CASES if c.id in ("nvidia-driver-missing", "nvidia-driver-floor", "nvidia-driver-old")]
    assert len(provoked) == 3
    for case in provoked:
        found = {f.id: f.type[0] for f in report({**case.answers, **named}, case.profile).found}
        assert found[case.id].startswith(line)


@pytest.mark.parametrize(("release", "line"), [("11", NVIDIA.format(11)), ("12", OWN), ("13", OWN), ("14", NVIDIA)])
def test_debians_own_driver_is_taken_where_it_is_new_enough(release: str, line: str) -> None:
    profile = {"id": "x", "family": "cuda", "image": "example/engine:1", "min_driver": {"12": 525}}
    answers = {"os_release": ok(f'ID=debian\nVERSION_ID="{release}"\n'), "nvidia_smi": MISSING}
    (found,) = judge(about(all_areas(), None, ["nvidia-driver-missing"]), answers, {"profile": profile}).found
    assert found.type[0].startswith(line.format(release))


def test_what_was_not_answered_is_not_judged_and_says_why() -> None:
    found = report({"nvidia_query": failed('Field "fabric.state" is not a valid field to query.\n')})
    assert found.not_judged["nvidia-ecc-errors"] == "nvidia-smi failed"
    assert found.not_judged["store-low"] == "store was not looked at"
    assert "nvidia-ecc-errors" not in found.judged


def test_an_answer_in_another_form_stops_nothing() -> None:
    odd = {
        "nvidia_query": ok("index, name\n0, NVIDIA L40S, and a comma\n"),
        "meminfo": ok(cases.MEMORY.format(1, 0, 0, 0)),
    }
    found = report(odd, "cpu")
    assert "memory-low" in found.judged
    odd = {"nvidia_query": ok("index, name\n0, NVIDIA L40S\n")}
    assert "another form" in report(odd).not_judged["nvidia-persistence-off"]


def test_a_profile_leaves_out_the_cards_of_other_families() -> None:
    assert "nvidia-driver-missing" not in report({}, "cpu").judged
    assert "ascend-health" not in {*report({}, H100).judged, *report({}, H100).not_judged}
    assert {"nvidia-driver-missing", "docker-missing"} <= set(report({}, H100).judged)


def test_errors_come_first_and_make_the_exit_code() -> None:
    few = {"nvidia_smi": cases.SMI_580, "nvidia_query": cards(7, persistence_mode="Disabled")}
    found = report({"docker_info": failed("x"), **few}, H100)
    assert [f.severity for f in found.found] == sorted(
        (f.severity for f in found.found), key=["error", "warning", "info"].index
    )
    assert found.errors == 2
    assert doctor_json(found)["ok"] is False
    text = doctor_text(found, "h100-80g-x8")
    assert "error   nvidia-cards-few: 7 of 8 cards are here" in text
    assert "$ sudo nvidia-smi -pm 1" in text
    assert text.splitlines()[-1] == "1 can be mended: invoke doctor --fix (nvidia-persistence-off)"


def test_rows_are_one_finding_that_names_them() -> None:
    found = report({"nvidia_query": cards(8, temperature_gpu="90")})
    assert [f.says for f in found.found if f.id == "nvidia-hot"] == ["cards 0, 1, 2, 3, 4, 5, 6 and 7: 90 °C"]


def test_a_path_of_the_machine_is_one_word_of_the_line_to_type() -> None:
    path = '/srv/it\'s a "store"; $(id)'
    found = report({}, None, store={**cases.STORE, "path": path, "writable": False})
    line = next(f.type[0] for f in found.found if f.id == "store-not-writable")
    assert line == "sudo chown $USER '/srv/it'\"'\"'s a \"store\"; $(id)'"


# --- the data -------------------------------------------------------------------------------------------


def own(tmp_path: Path, text: str) -> Catalog:
    (tmp_path / "profiles" / "_doctor").mkdir(parents=True)
    (tmp_path / "profiles" / "_doctor" / "mine.yaml").write_text(text, encoding="utf-8")
    return Catalog(tmp_path)


MINE = """
title: mine
questions:
  weather: {command: [cat, /sky], reads: pairs}
findings:
  rain:
    severity: warning
    when: weather.get('rain') == 'yes'
    says: it rains
    means: bring an umbrella
    type: [date]
"""


def test_ones_own_findings_stand_in_ones_own_catalogue(tmp_path: Path) -> None:
    mine = {"mine": areas(own(tmp_path, MINE))["mine"]}
    assert [f.id for f in judge(mine, {"weather": ok("rain: yes\n")}).found] == ["rain"]
    assert judge(mine, {"weather": ok("rain: no\n")}).found == ()


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("severity: warning", "severity: bad", "severity", "edit"),
        ("means:", "meens:", "unknown key 'meens'", "did you mean means?"),
        ("weather.get", "wether.get", "nobody asks 'wether'", "did you mean weather?"),
        ("== 'yes'", "== 'yes", "unexpected char", "edit"),
        ("says: it rains", "says: 'it rains {{ row.x }'", "unexpected '}'", "edit"),
    ],
)
def test_a_slip_in_the_data_names_file_and_finding(old: str, new: str, message: str, hint: str, tmp_path: Path) -> None:
    assert old in MINE
    with pytest.raises(BadFile) as caught:
        areas(own(tmp_path, MINE.replace(old, new)))
    assert caught.value.message.startswith(str(tmp_path / "profiles" / "_doctor" / "mine.yaml"))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_only_names_findings_and_a_typo_its_near_miss() -> None:
    only = about(all_areas(), None, ["nvidia-xid", "store-low"])
    assert [i for area in only.values() for i in area.findings] == ["nvidia-xid", "store-low"]
    only = about(all_areas(), None, ["nvidia-toolkit-missing"])
    assert {q for area in only.values() for q in area.questions} == {"docker_info", "nvidia_smi"}
    with pytest.raises(UnknownName) as caught:
        about(all_areas(), None, ["nvidia-xd"])
    assert "did you mean nvidia-xid?" in caught.value.hint


def test_the_capture_script_asks_what_the_doctor_asks() -> None:
    """A folder that it writes holds an answer to every question that is a command."""
    script = (HERE / "capture.sh").read_text(encoding="utf-8")
    variables = dict(re.findall(r"^(Q)=(\S+)$", script, re.MULTILINE)[:1])
    fields = "".join(re.findall(r"^Q=(?:\$Q)?(\S+)$", script, re.MULTILINE))
    script = script.replace("$Q", fields).replace('"', "").replace("'", "")
    wrong = []
    for area in all_areas().values():
        for name, question in area.questions.items():
            words = list(question.command[2:] if question.command[:2] == ("sh", "-c") else question.command)
            line = " ".join(words).replace('"', "").replace("'", "")
            if words and f"{name.replace('_', '-')} {line}" not in script:
                wrong.append(f"{name}: {line}")
    assert wrong == []
    assert variables


def test_every_profile_of_the_catalogue_can_be_judged() -> None:
    for profile in catalog().profiles():
        found = report({}, profile.id)
        assert found.profile == profile.id
        assert "docker-missing" in found.judged


def test_ids_keep_their_names() -> None:
    """Ids are what people search for and scripts test: they are lower case, with their area's word first."""
    assert [i for i in FINDINGS if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)+", i)] == []
    assert ids({"docker_info": failed("x")}) >= {"docker-not-answering"}


@pytest.mark.parametrize(("family", "table"), [("cuda", "image_major"), ("ascend", "image_cann")])
def test_every_pinned_image_has_the_runtime_that_its_driver_is_judged_by(family: str, table: str) -> None:
    """Whoever raises an engine's version says here which runtime the new image holds."""
    engines = [catalog().engine(e).families for e in catalog().engine_ids()]
    pinned = {f[family].bases[f[family].version].image.split("@")[0] for f in engines if family in f}
    known = next(area.tables[table] for area in all_areas().values() if table in area.tables)
    assert pinned == set(known)
