"""The smoke report tied to its image: beside it on this host, in a layout, at a registry."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from registries import real_registry

from weighbridge.effects.oci.attach import attach, check_place
from weighbridge.effects.oci.digests import Digests
from weighbridge.effects.oci.layout import LayoutSink
from weighbridge.effects.oci.registry import RegistrySink
from weighbridge.effects.records import digest_of, keep_smoke, proofs, smoke_bytes
from weighbridge.errors import BadValue, HostError
from weighbridge.image import BAKED, CONFIG, MANIFEST, TAR, Image, plain, sealed
from weighbridge.reference import read_reference
from weighbridge.referrer import SMOKE, referrers_tag, smoke_artifact, with_referrer
from weighbridge.smoke_report import read_report
from weighbridge.types import Check, SmokeReport

RECIPE = "0123456789abcdef"


def report(**more: Any) -> SmokeReport:
    checks = (Check(id="chat", ok=True, seconds=0.1, detail="Paris"), Check(id="x", ok=None, seconds=0.0, detail="no"))
    given = {"url": "http://127.0.0.1:1", "model": "m", "checks": checks, "seconds": 1.0, "key_file": "/root/key"}
    return SmokeReport(**{**given, "about": {"recipe": RECIPE}, **more})


def image(recipe: str = RECIPE) -> Image:
    config = plain({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
    layers: list[dict[str, Any]] = []
    manifest = {
        "schemaVersion": 2, "mediaType": MANIFEST, "config": sealed(config).descriptor(CONFIG), "layers": layers,
        "annotations": {BAKED: recipe},
    }  # fmt: skip
    assert TAR
    return Image((), config, plain(manifest), {})


def layout(folder: Path, recipe: str = RECIPE) -> Path:
    with closing(LayoutSink(folder, "demo", folder)) as sink:
        sink.commit(image(recipe), ())
    return folder


def test_the_artifact_is_one_of_the_specification() -> None:
    subject = {"mediaType": MANIFEST, "digest": "sha256:ab", "size": 3, "annotations": {"x": "y"}}
    made = json.loads(smoke_artifact(b'{"a": 1}', subject, {"smoke": "passed"}).manifest)
    assert made["artifactType"] == made["layers"][0]["mediaType"] == SMOKE
    assert made["subject"] == {"mediaType": MANIFEST, "digest": "sha256:ab", "size": 3}
    empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # the specification's own
    assert made["config"] == {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2}
    assert made["annotations"] == {"io.weighbridge.smoke": "passed"}
    assert referrers_tag("sha256:ab") == "sha256-ab"


def test_an_index_of_referrers_names_each_once() -> None:
    subject = {"mediaType": MANIFEST, "digest": "sha256:ab", "size": 3}
    one, other = (smoke_artifact(text, subject, {}) for text in (b"1", b"2"))
    index = json.loads(with_referrer([one.descriptor(), {"digest": "sha256:cd"}], one))
    assert [e["digest"] for e in index["manifests"]] == ["sha256:cd", one.descriptor()["digest"]]
    assert len(json.loads(with_referrer(index["manifests"], other))["manifests"]) == 3


def test_a_layout_lists_it_beside_the_image_and_a_new_bake_keeps_it(tmp_path: Path) -> None:
    folder = layout(tmp_path / "out")
    made = attach(report(), str(folder), tmp_path / "cache")
    assert attach(report(), str(folder), tmp_path / "cache") == made, "twice is once"
    entries = json.loads((folder / "index.json").read_bytes())["manifests"]
    assert [e.get("artifactType") for e in entries] == [None, SMOKE]
    manifest = json.loads((folder / "blobs/sha256" / made["digest"].removeprefix("sha256:")).read_bytes())
    assert manifest["subject"]["digest"] == made["subject"] == entries[0]["digest"]
    document = (folder / "blobs/sha256" / manifest["layers"][0]["digest"].removeprefix("sha256:")).read_bytes()
    assert read_report(document.decode(), "it").about["recipe"] == RECIPE
    assert b"/root/key" not in document, "where the key lay is this host's business"
    assert b"127.0.0.1" not in document, "and so is how it was reached"
    layout(folder)
    assert (folder / "blobs/sha256" / made["digest"].removeprefix("sha256:")).is_file()
    layout(folder, "fedcba9876543210")
    entries = json.loads((folder / "index.json").read_bytes())["manifests"]
    assert [e.get("artifactType") for e in entries] == [None], "what another image passed says nothing of this one"
    assert not (folder / "blobs/sha256" / made["digest"].removeprefix("sha256:")).exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"about": {"recipe": "fedcba9876543210"}}, "and the report of fedcba987654"), ({"about": {}}, "of None")],
)
def test_a_report_about_another_image_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = layout(tmp_path / "out")
    before = (folder / "index.json").read_bytes()
    with pytest.raises(BadValue, match=said):
        attach(report(**change), str(folder), tmp_path / "cache")
    assert (folder / "index.json").read_bytes() == before


def test_weights_that_were_not_asked_are_told(tmp_path: Path) -> None:
    folder = layout(tmp_path / "out")
    with pytest.raises(BadValue, match="holds weights"):
        attach(report(about={"recipe": RECIPE, "weights": "sha256:others"}), str(folder), tmp_path / "cache")
    made = attach(report(), str(folder), tmp_path / "cache")
    manifest = json.loads((folder / "blobs/sha256" / made["digest"].removeprefix("sha256:")).read_bytes())
    assert manifest["annotations"]["io.weighbridge.smoke.weights"] == "mounted"


@pytest.mark.parametrize("place", ["build/no-such-folder", "localhost:5000/demo"])
def test_a_place_that_is_none_is_told_before_anything_is_asked(place: str) -> None:
    with pytest.raises(BadValue, match="is neither a layout") as caught:
        check_place(place)
    assert "--ref" not in f"{caught.value.message} {caught.value.hint}"


def test_a_folder_that_is_no_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="no OCI layout"):
        attach(report(), str(tmp_path), tmp_path / "cache")


def test_a_registry_keeps_it_where_clients_look(tmp_path: Path) -> None:
    with real_registry(tmp_path / "registry") as address:
        with pytest.raises(HostError, match="no such image"):
            attach(report(), f"{address}/team/demo:1", tmp_path / "cache")
        with (
            closing(Digests(tmp_path / "digests")) as digests,
            closing(
                RegistrySink(read_reference(f"{address}/team/demo:1"), digests, {"DOCKER_CONFIG": "/none"})
            ) as sink,
        ):
            sink.commit(image(), ())
        made = attach(report(), f"{address}/team/demo:1", tmp_path / "cache")
        again = attach(report(seconds=2.0), f"{address}/team/demo:1", tmp_path / "cache")

        def get(name: str) -> Any:
            found = httpx.get(
                f"http://{address}/v2/team/demo/manifests/{name}", trust_env=False,
                headers={"Accept": f"{MANIFEST}, application/vnd.oci.image.index.v1+json"},
            )  # fmt: skip
            assert found.status_code == 200, found.text
            return found

        assert f"sha256:{hashlib.sha256(get('1').content).hexdigest()}" == made["subject"], "the image is as it was"
        assert get(made["digest"]).json()["subject"]["digest"] == made["subject"]
        index = get(referrers_tag(made["subject"])).json()["manifests"]
        assert [e["digest"] for e in index] == [made["digest"], again["digest"]]
        assert {e["artifactType"] for e in index} == {SMOKE}


# --- beside the image on this host -------------------------------------------------------------------------


def test_the_last_report_is_kept_under_its_image(tmp_path: Path) -> None:
    assert proofs(RECIPE, tmp_path).smoke_words == "-"
    assert keep_smoke(report(about={}), tmp_path) is None, "of a server at an address nobody knows the image"
    path = keep_smoke(report(), tmp_path)
    assert path is not None
    found = proofs(RECIPE, tmp_path)
    assert found.smoke == msgspec.structs.replace(report(), key_file=None, url="")
    assert found.smoke_digest == digest_of(path.read_bytes()) == digest_of(smoke_bytes(report()))
    assert found.smoke_words.startswith("1 of 1 passed, quick (")
    assert found.plain()["smoke"]["ok"] is True
    path.write_text("{", encoding="utf-8")
    assert proofs(RECIPE, tmp_path).smoke is None
