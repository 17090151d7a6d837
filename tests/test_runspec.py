"""One RunSpec, several spellings: each is read back and compared with the others, field by field."""

from __future__ import annotations

import re
import shlex
from typing import Any, NamedTuple

import pytest
import yaml
from support import Case, cases, plan_for, spec_of

from weighbridge.catalog import Catalog
from weighbridge.errors import UnknownName
from weighbridge.facts import Mount
from weighbridge.memory import GIB
from weighbridge.plan import slug
from weighbridge.render import RUNTIMES, render_image, render_target, spelling
from weighbridge.runspec import _mount, api_body, container_name, image_tag, line
from weighbridge.types import Plan, Reach, RunSpec

RUNNABLE = [c for c in cases() if not c.name.endswith(("-refused", "-planned"))]
SWITCHES = {"--detach", "--read-only"}


EVERYTHING = Reach(
    keys="/srv/my keys/keys", tls_cert="/srv/tls/cert.pem", tls_key="/srv/tls/key.pem", tls_gid=1000, memory_mib=65536,
    cors="https://chat.example.org", console="open", key_rate=5, key_streams=7, stop_seconds=60,
)  # fmt: skip


class Made(NamedTuple):
    plan: Plan
    spec: RunSpec


@pytest.fixture(params=RUNNABLE, ids=lambda c: c.name, scope="module")
def made(request: pytest.FixtureRequest, catalog: Catalog) -> Made:
    case: Case = request.param
    plan = case.plan(catalog)
    return Made(plan, spec_of(plan, catalog, reach=EVERYTHING if case.name.endswith("-asked") else None))


def options(text: str) -> tuple[dict[str, list[str]], list[str]]:
    """A command line as a shell and the runtime read it: flags with their values, and what follows them."""
    words = shlex.split(text.replace("\\\n", " "))
    assert words[1] == "run"
    found: dict[str, list[str]] = {}
    rest = words[2:]
    while rest and rest[0].startswith("--"):
        flag = rest.pop(0)
        found.setdefault(flag, []).append("" if flag in SWITCHES else rest.pop(0))
    return found, rest


def pairs(rows: list[str]) -> dict[str, str]:
    return dict(row.split("=", 1) for row in rows)


def mib(text: str) -> int:
    assert text.endswith("m")
    return int(text[:-1])


def fields(mount: str) -> dict[str, str]:
    return {k: v for k, _, v in (part.partition("=") for part in mount.split(","))}


def spoken(made: Made, catalog: Catalog) -> dict[str, Any]:
    text = render_target("compose", made.plan, made.spec, catalog)["compose.yaml"].text
    found = yaml.safe_load(text.replace("$$", "$"))
    assert isinstance(found, dict)
    return found


# --- docker line = SDK ---------------------------------------------------------------------------------


def test_the_docker_line_says_what_the_sdk_is_told(made: Made) -> None:
    found, rest = options(line(made.spec, "docker"))
    body = api_body(made.spec)
    host = body["HostConfig"]
    assert rest == [body["Image"]]
    assert found["--name"] == [made.spec.name]
    assert found["--user"] == [body["User"]]
    assert ("--detach" in found, "--read-only" in found) == (True, host["ReadonlyRootfs"])
    assert [mib(m) * 1024**2 for m in found.get("--memory", ["0m"])] == [host["Memory"]]
    assert found["--cap-drop"] == host["CapDrop"]
    assert found["--security-opt"] == host["SecurityOpt"]
    assert found["--pids-limit"] == [str(host["PidsLimit"])]
    assert found["--stop-timeout"] == [str(body["StopTimeout"])]
    policy = host["RestartPolicy"]
    assert found["--restart"] == [f"{policy['Name']}:{policy['MaximumRetryCount']}"]
    ((inner, (outer,)),) = host["PortBindings"].items()
    assert found["--publish"] == [f"{outer['HostIp']}:{outer['HostPort']}:{inner.removesuffix('/tcp')}"]
    assert list(body["ExposedPorts"]) == [inner]
    assert mib(found["--shm-size"][0]) * 1024**2 == host["ShmSize"]
    nodes = [(d, d, "rwm") for d in found.get("--device", [])]
    assert nodes == [(d["PathOnHost"], d["PathInContainer"], d["CgroupPermissions"]) for d in host["Devices"]]
    assert found.get("--group-add", []) == host["GroupAdd"]
    limits = {u["Name"]: str(u["Soft"]) for u in host["Ulimits"]}
    assert pairs(found.get("--ulimit", [])) == limits
    assert all(u["Soft"] == u["Hard"] for u in host["Ulimits"])
    assert dict(t.split(":", 1) for t in found["--tmpfs"]) == host["Tmpfs"]
    assert found.get("--env", []) == body["Env"]
    assert pairs(found["--label"]) == body["Labels"]
    known = SWITCHES | {
        "--name", "--user", "--cap-drop", "--security-opt", "--pids-limit", "--restart", "--publish", "--shm-size",
        "--device", "--group-add", "--ulimit", "--tmpfs", "--env", "--label", "--stop-timeout", "--memory",
    }  # fmt: skip
    assert set(found) - known <= {"--mount", "--gpus"}, "a flag that neither this nor the next two comparisons look at"
    assert "--network" not in found
    assert host["NetworkMode"] == "default"


@pytest.mark.parametrize(("address", "written"), [("::1", "[::1]"), ("::", "[::]"), ("10.0.0.7", "10.0.0.7")])
def test_an_address_is_published_in_all_spellings(address: str, written: str, catalog: Catalog) -> None:
    plan = plan_for(catalog, "cpu", "weighbridge-demo")
    spec = spec_of(plan, catalog, reach=Reach(keys="/srv/keys/keys", address=address))
    for runtime in RUNTIMES:
        assert options(line(spec, runtime))[0]["--publish"] == [f"{written}:8000:8000"]
    assert spoken(Made(plan, spec), catalog)["services"]["engine"]["ports"] == [f"{written}:8000:8000"]
    ports = api_body(spec)["HostConfig"]["PortBindings"]
    assert ports == {"8000/tcp": [{"HostIp": address, "HostPort": "8000"}]}


def test_mounts_are_the_same_in_both(made: Made) -> None:
    found, _ = options(line(made.spec, "docker"))
    said = [(f["type"], f["source"], f["target"], "readonly" in f) for f in map(fields, found["--mount"])]
    mounts = api_body(made.spec)["HostConfig"]["Mounts"]
    sdk = [(m["Type"], m["Source"], m["Target"], m.get("ReadOnly", False)) for m in mounts]
    assert said == sdk
    assert said[0][3], "weights are read-only"


def test_keys_and_certificates_are_folders_that_are_read_only(made: Made) -> None:
    found, _ = options(line(made.spec, "docker"))
    said = {f["target"]: ("readonly" in f, f["source"]) for f in map(fields, found["--mount"])}
    keys, tls = said["/etc/weighbridge/keys"], said.get("/etc/weighbridge/tls")
    assert keys in ((True, "/srv/keys"), (True, "/srv/my keys"))
    assert tls in (None, (True, "/srv/tls"))
    assert (tls is not None) == ("WEIGHBRIDGE_TLS_CERT=/etc/weighbridge/tls/cert.pem" in found["--env"])


def test_cards_are_the_same_in_all(made: Made, catalog: Catalog) -> None:
    docker, _ = options(line(made.spec, "docker"))
    podman, _ = options(line(made.spec, "podman"))
    sdk = api_body(made.spec)["HostConfig"]["DeviceRequests"]
    compose = spoken(made, catalog)["services"]["engine"].get("deploy")
    if made.spec.device_request is None:
        assert "--gpus" not in docker
        assert (sdk, compose) == ([], None)
        assert docker.get("--device", []) == podman.get("--device", [])
        return
    indexes = [str(i) for i in range(made.plan.cards_per_node)]
    assert docker["--gpus"] == ['"device=' + ",".join(indexes) + '"']  # the inner quotes keep the commas together
    assert sdk == [{"Driver": "nvidia", "DeviceIDs": indexes, "Capabilities": [["gpu"]]}]
    assert podman["--device"] == [f"nvidia.com/gpu={i}" for i in indexes]
    (reserved,) = compose["resources"]["reservations"]["devices"]
    assert reserved == {"driver": "nvidia", "device_ids": indexes, "capabilities": ["gpu"]}


def test_podman_says_what_docker_says_but_for_the_cards(made: Made) -> None:
    docker, image = options(line(made.spec, "docker"))
    podman, same = options(line(made.spec, "podman"))
    assert image == same
    for found in (docker, podman):
        found.pop("--gpus", None)
        if made.spec.device_request:
            found.pop("--device", None)
    assert docker == podman


# --- compose = docker line -----------------------------------------------------------------------------


def test_the_compose_file_says_what_the_docker_line_says(made: Made, catalog: Catalog) -> None:
    found, (image,) = options(line(made.spec, "docker"))
    whole = spoken(made, catalog)
    service = whole["services"]["engine"]
    assert service["image"] == image
    assert [service["container_name"]] == found["--name"]
    assert [service["user"]] == found["--user"]
    assert service["read_only"] is True
    assert [service.get("mem_limit")] == found.get("--memory", [None])
    assert service["cap_drop"] == found["--cap-drop"]
    assert service["security_opt"] == found["--security-opt"]
    assert [str(service["pids_limit"])] == found["--pids-limit"]
    assert [service["restart"]] == found["--restart"]
    assert [service["stop_grace_period"]] == [f"{s}s" for s in found["--stop-timeout"]]
    assert service["ports"] == found["--publish"]
    assert [service["shm_size"]] == found["--shm-size"]
    assert service["devices"] == found.get("--device", [])
    assert service["group_add"] == found.get("--group-add", [])
    assert {k: str(v) for k, v in service["ulimits"].items()} == pairs(found.get("--ulimit", []))
    assert service["tmpfs"] == found["--tmpfs"]
    assert service["environment"] == pairs(found.get("--env", []))
    assert service["labels"] == pairs(found["--label"])
    volumes = [(v["type"], v["source"], v["target"], v.get("read_only", False)) for v in service["volumes"]]
    assert volumes == [(f["type"], f["source"], f["target"], "readonly" in f) for f in map(fields, found["--mount"])]
    named = {v["source"] for v in service["volumes"] if v["type"] == "volume"}
    assert {v["name"] for v in whole.get("volumes", {}).values()} == named


@pytest.mark.parametrize("model_id", Catalog().model_ids())
def test_a_compose_project_has_a_name_that_compose_takes(model_id: str, catalog: Catalog) -> None:
    """Lower case, digits, dashes and underscores: no dots, though models have them."""
    plan = plan_for(catalog, "h200-141g-x8", model_id)
    whole = spoken(Made(plan, spec_of(plan, catalog)), catalog)
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", whole["name"])


def test_a_dollar_stays_a_dollar_in_compose(catalog: Catalog) -> None:
    hostile = next(c for c in RUNNABLE if "$" in c.order.model)
    plan = hostile.plan(catalog)
    text = render_target("compose", plan, spec_of(plan, catalog), catalog)["compose.yaml"].text
    assert "$$(id)" in text
    assert not re.search(r"(?<!\$)\$(?!\$)", text)


# --- what never is -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*RUNTIMES, "compose"])
def test_nothing_is_opened_that_need_not_be(name: str, made: Made, catalog: Catalog) -> None:
    text = spelling(name, made.plan, made.spec, catalog)
    for never in ("privileged: true", "--privileged", "cap-add", "cap_add", "network host", "network=host",
                  "network_mode", "ipc host", "ipc=host", "ipc:", "pid:", "--pid=", "--pid ", "seccomp", "apparmor",
                  "0.0.0.0", "docker.sock", "userns"):  # fmt: skip
        assert never not in text
    assert "127.0.0.1:8000:8000" in text
    assert "10001:0" in text


def test_every_choice_has_its_reason(made: Made) -> None:
    assert all(made.spec.reasons.values())
    chosen = {
        "device_request": made.spec.device_request is not None, "devices": bool(made.spec.devices),
        "cache": bool(made.spec.volumes), "memory": made.spec.memory_mib is not None, "user": True, "stop": True,
    }  # fmt: skip
    assert {name: name in made.spec.reasons for name in chosen} == chosen, "a reason for what was not chosen"
    assert all(m.because for m in made.spec.mounts)
    assert all(t.because for t in made.spec.tmpfs)


# --- names ---------------------------------------------------------------------------------------------


def test_a_tag_is_one_that_registries_take(made: Made) -> None:
    repository, tag = made.spec.image.split(":")
    assert re.fullmatch(r"[a-z0-9]+([._/-][a-z0-9]+)*", repository)
    assert re.fullmatch(r"[\w][\w.-]{0,127}", tag)


def test_a_tag_stays_short_enough_whatever_the_names(catalog: Catalog) -> None:
    plan = plan_for(catalog, "h20-96g-x8-n2", "deepseek-r1")
    long = image_tag(
        type(plan)(**{**{f: getattr(plan, f) for f in plan.__struct_fields__}, "model": "m" * 200}), "0" * 64
    )
    assert len(long.split(":")[1]) <= 128


def test_the_digest_in_tag_and_label_is_the_images(made: Made, catalog: Catalog) -> None:
    digest = render_image(made.plan, catalog).digest
    assert made.spec.image.endswith(f"-{digest[:12]}")
    assert made.spec.labels["io.weighbridge.plan"] == digest


def test_names_that_were_changed_are_kept_apart(catalog: Catalog) -> None:
    plan = plan_for(catalog, "cpu", "qwen3-0.6b")
    fields = {f: getattr(plan, f) for f in plan.__struct_fields__}
    names = [container_name(Plan(**{**fields, "model": m})) for m in ("a b", "a;b", "a-b", "x/a-b")]
    assert len(set(names)) == 4
    assert {slug(m) for m in ("a b", "a;b", "a-b", "x/a-b")} == {"a-b"}
    assert names[2] == "weighbridge-a-b"


def test_two_appliances_share_no_volume(catalog: Catalog) -> None:
    """What lies in it is executed."""
    plan = plan_for(catalog, "l40s-48g-x1", "qwen3-8b")
    one, two = spec_of(plan, catalog), spec_of(plan, catalog, name="other")
    assert list(one.volumes) == ["weighbridge-cache-weighbridge-qwen3-8b"]
    assert list(two.volumes) == ["weighbridge-cache-other"]


def test_the_label_tells_containers_apart_and_not_their_names(catalog: Catalog) -> None:
    plan = plan_for(catalog, "l40s-48g-x1", "qwen3-8b")
    plain = spec_of(plan, catalog)
    same = [spec_of(plan, catalog, port=9000), spec_of(plan, catalog, name="other")]
    others = [
        spec_of(plan, catalog, weights="/elsewhere"),
        spec_of(plan_for(catalog, "l40s-48g-x1", "qwen3-8b", context=1024), catalog),
    ]
    label = "io.weighbridge.spec"
    assert {s.labels[label] for s in same} == {plain.labels[label]}
    assert plain.labels[label] not in {s.labels[label] for s in others}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/srv/a b", "type=bind,source=/srv/a b,target=/m,readonly"),
        ("/srv/a,b", 'type=bind,"source=/srv/a,b",target=/m,readonly'),
        ('/srv/a"b', 'type=bind,"source=/srv/a""b",target=/m,readonly'),
    ],
)
def test_paths_with_commas_and_quotes_are_still_one_path(source: str, expected: str) -> None:
    assert _mount(Mount(source=source, target="/m", because="test")) == expected


def test_shm_is_given_in_whole_units(made: Made) -> None:
    assert made.spec.shm_gib * GIB == int(made.spec.shm_gib * GIB)


@pytest.mark.parametrize(("name", "hint"), [("dockr", "did you mean docker?"), ("compos", "did you mean compose?")])
def test_an_unknown_spelling_suggests_one(name: str, hint: str, catalog: Catalog) -> None:
    plan = plan_for(catalog, "cpu", "qwen3-0.6b")
    with pytest.raises(UnknownName) as caught:
        spelling(name, plan, spec_of(plan, catalog), catalog)
    assert hint in caught.value.hint


# --- the context is whole ------------------------------------------------------------------------------


def test_a_dockerfile_copies_nothing_that_is_not_in_the_context(made: Made, catalog: Catalog) -> None:
    files = set(render_image(made.plan, catalog).files) | {"wheels/", "console/", "config/"}
    text = render_image(made.plan, catalog).files["Dockerfile"].text
    rows = [row.split()[1:-1] for row in text.splitlines() if row.startswith("COPY ") and "--from" not in row]
    assert [word for row in rows for word in row if word not in files] == []


def test_the_plan_travels_in_the_image(made: Made, catalog: Catalog) -> None:
    text = render_image(made.plan, catalog).files["Dockerfile"].text
    assert re.search(r"^COPY .*plan\.json.* /opt/weighbridge/", text, re.MULTILINE)


def test_cards_by_their_cdi_names_for_docker_too(catalog: Catalog) -> None:
    plan = plan_for(catalog, "h100-80g-x2", "qwen3-8b", tensor_parallel=2)
    spec = spec_of(plan, catalog, reach=Reach(keys="/srv/keys/keys", cdi=True))
    names = ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]
    found, _ = options(line(spec, "docker"))
    assert "--gpus" not in found
    assert found["--device"] == names
    assert api_body(spec)["HostConfig"]["DeviceRequests"] == [{"Driver": "cdi", "DeviceIDs": names}]
    service = spoken(Made(plan, spec), catalog)["services"]["engine"]
    assert service["deploy"]["resources"]["reservations"]["devices"] == [{"driver": "cdi", "device_ids": names}]


def test_the_groups_that_own_the_nodes_are_added_once(catalog: Catalog) -> None:
    plan = plan_for(catalog, "mi300x-192g-x2", "qwen3-8b")
    spec = spec_of(plan, catalog, reach=Reach(keys="/srv/keys/keys", device_gids=(44, 109), tls_gid=109))
    assert spec.groups == ("video", "render", "44", "109")
    assert spec.environment["ROCR_VISIBLE_DEVICES"] == "0,1"
