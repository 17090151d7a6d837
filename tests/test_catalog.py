"""profiles/, models/ and images/ as values: names, aliases, near misses, and files that say something wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import ROOT

from weighbridge.catalog import Catalog, read_json, read_yaml
from weighbridge.errors import BadFile, Refused, UnknownName, Unsupported

CARDS = [
    "910b-64g", "a100-40g", "a100-80g", "b200-180g", "cpu", "h100-80g", "h20-141g", "h20-96g", "h200-141g", "l20-48g",
    "l40s-48g", "rtx4090-24g",
]  # fmt: skip


def test_the_cards_that_were_promised_are_there(catalog: Catalog) -> None:
    assert set(CARDS) <= set(catalog.card_ids())


@pytest.mark.parametrize("card_id", Catalog().card_ids())
def test_a_card_says_where_its_figures_come_from(card_id: str, catalog: Catalog) -> None:
    card = catalog.card(card_id)
    assert card.sources
    assert card.visible_basis
    assert card.counts == tuple(sorted(card.counts))
    assert card.marketed_gb is None or card.memory_gib < card.marketed_gb
    assert (card.visible_gib is None) == card.visible_basis.startswith("unknown")
    assert card.interconnect.tensor_parallel_cards <= max(card.counts)
    assert set(card.evidence) <= set(catalog.engine_ids())
    assert catalog.family(card.family).default_engine in catalog.engine_ids()


@pytest.mark.parametrize("model_id", Catalog().model_ids())
def test_a_model_says_where_its_figures_come_from(model_id: str) -> None:
    found = read_yaml(ROOT / "models" / f"{model_id}.yaml")
    assert found["sources"]
    assert found["licence"]


# --- names of profiles ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "card_id", "count", "nodes"),
    [
        ("a100-80g-x4", "a100-80g", 4, 1),
        ("a100-80g", "a100-80g", 1, 1),
        ("h20-96g-x8-n2", "h20-96g", 8, 2),
        ("910b-64g-x8", "910b-64g", 8, 1),
        ("cpu", "cpu", 1, 1),
        ("a100-80gb-x4", "a100-80g", 4, 1),  # an alias
        ("rtx4090-x2", "rtx4090-24g", 2, 1),
    ],
)
def test_a_profile_is_card_by_count_by_machines(
    name: str, card_id: str, count: int, nodes: int, catalog: Catalog
) -> None:
    found = catalog.profile(name)
    assert (found.card_id, found.count, found.nodes, found.cards) == (card_id, count, nodes, count * nodes)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("a100-80-x4", "no profile called 'a100-80-x4'", "did you mean a100-80g-x4?"),
        ("A100-80G-x4", "no profile called 'A100-80G-x4'", "did you mean a100-80g-x4?"),
        ("l40-48g-x4", "no profile called 'l40-48g-x4'", "-48g-x4?"),
        ("h20-96g-x8-m2", "no profile called 'h20-96g-x8-m2'", "invoke profiles"),
        ("zzz", "no profile called 'zzz'", "see them all with: invoke profiles"),
        ("", "no profile called ''", "see them all with: invoke profiles"),
        ("a100-80g\n-x4", "no profile called 'a100-80g\\n-x4'", "invoke profiles"),
        ("_cuda", "no profile called '_cuda'", "invoke profiles"),
        ("../profiles/cpu", "no profile called '../profiles/cpu'", "invoke profiles"),
        ("x" * 400, "no profile called 'xxx", "see them all with: invoke profiles"),
    ],
)
def test_an_unknown_profile_suggests_one(name: str, message: str, hint: str, catalog: Catalog) -> None:
    with pytest.raises(UnknownName) as caught:
        catalog.profile(name)
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("a100-80g-x3", "a100-80g-x3: NVIDIA A100 SXM4 80 GB comes with 1, 2, 4, 8 a machine, not 3", "a100-80g-x2"),
        ("a100-80g-x16", "comes with 1, 2, 4, 8 a machine, not 16", "a100-80g-x8"),
        ("a100-80g-x0", "comes with 1, 2, 4, 8 a machine, not 0", "a100-80g-x1"),
        ("a100-80g-x8-n0", "a100-80g-x8-n0: 0 machines", "try --profile a100-80g-x8"),
    ],
)
def test_a_count_that_is_not_sold_suggests_one(name: str, message: str, hint: str, catalog: Catalog) -> None:
    with pytest.raises(Unsupported) as caught:
        catalog.profile(name)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_aliases_are_nobodys_second_name(catalog: Catalog) -> None:
    names = [n for c in catalog.card_ids() for n in (c, *catalog.card(c).aliases)]
    assert len(names) == len(set(names))


# --- names of models -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("deepseek-r1-distill-llama-70b", "deepseek-r1-distill-llama-70b"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "deepseek-r1-distill-llama-70b"),
        ("DeepSeek-R1-Distill-Llama-70B", "deepseek-r1-distill-llama-70b"),
        ("Qwen/Qwen3-0.6B", "qwen3-0.6b"),
        ("deepseek-r1-671b", "deepseek-r1"),
    ],
)
def test_a_model_has_an_id_aliases_and_a_repository(name: str, model_id: str, catalog: Catalog) -> None:
    assert catalog.model(name).id == model_id


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("deepseek-r1-distil-llama-70b", "did you mean deepseek-r1-distill-llama-70b?"),
        ("qwen3-0.6", "did you mean qwen3-0.6b?"),
        ("%%%", "--model-config FILE_OR_FOLDER"),
        ("_architectures", "--model-config FILE_OR_FOLDER"),
        ("../profiles/cpu", "--model-config FILE_OR_FOLDER"),
        ("é" * 200, "--model-config FILE_OR_FOLDER"),
    ],
)
def test_an_unknown_model_suggests_one_or_says_how_to_give_its_shape(name: str, hint: str, catalog: Catalog) -> None:
    with pytest.raises(UnknownName) as caught:
        catalog.model(name)
    assert caught.value.message == f"no model called {name!r}"
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["..", "_shared", "../images/vllm", "x" * 400])
def test_an_engine_is_no_path(name: str, catalog: Catalog) -> None:
    with pytest.raises(UnknownName, match="no engine called"):
        catalog.engine(name)


def test_bundled_weights_are_found_where_they_are(catalog: Catalog) -> None:
    bundled = [m for m in catalog.models() if m.bundled]
    assert bundled, "the default model travels along"
    for model in bundled:
        folder = catalog.model_folder(model)
        assert folder is not None
        packed = catalog.model_from_config(model.id, folder)
        assert packed.shape == model.shape, "the file in models/ says what the weights' own config.json says"
    assert catalog.model_folder(catalog.model("qwen3-8b")) is None


# --- files that say something wrong --------------------------------------------------------------------


def card_text(old: str = "", new: str = "") -> str:
    text = (ROOT / "profiles" / "a100-80g.yaml").read_text(encoding="utf-8")
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: [", "not YAML"),
        ("- a\n- b\n", "holds list, not a mapping"),
        ("", "is empty"),
        ("\x00", "not YAML"),
        (b"\xff\xfe\xff", "not YAML"),
        ("!!python/object/apply:os.system [id]", "not YAML"),
        (card_text("visible_gib: 79.25", "visible_gib: much"), "visible_gib"),
        (card_text("visible_gib: 79.25\n"), "visible_gib"),
        (card_text("counts: [1, 2, 4, 8]", "counts: 8"), "counts"),
        (card_text("kind: nvlink", "kind: rope"), "interconnect.kind"),
        (card_text("fp8: weight-only", "fp8: perhaps"), "precisions"),
        (card_text("family: cuda", "family: abacus"), "_abacus.yaml: no such family"),
    ],
)
def test_a_damaged_profile_names_its_file_and_what_is_wrong(text: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "profiles" / "mine.yaml"
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadFile) as caught:
        Catalog(tmp_path).profile("mine-x4")
    assert message in caught.value.message
    assert "\n" not in caught.value.message + caught.value.hint
    assert str(path) in caught.value.message or "_abacus.yaml" in caught.value.message


def test_ones_own_folder_wins(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    text = card_text("visible_gib: 79.25", "visible_gib: 70.5")
    (tmp_path / "profiles" / "a100-80g.yaml").write_text(text, encoding="utf-8")
    assert Catalog(tmp_path).card("a100-80g").visible_gib == 70.5
    assert Catalog(tmp_path).card_ids() == Catalog().card_ids()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"{", "not JSON"),
        (b"[1]", "holds list, not an object"),
        (b"\xff\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_damaged_json_names_its_file(content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(BadFile) as caught:
        read_json(tmp_path)
    assert caught.value.message.startswith(f"{tmp_path / 'config.json'}: ")
    assert message in caught.value.message


def test_a_path_that_cannot_be_is_refused() -> None:
    with pytest.raises(Refused):
        read_json(Path("x" * 400))


def test_every_alias_names_its_card(catalog: Catalog) -> None:
    """One that reads like a count of cards never would."""
    for card_id in catalog.card_ids():
        card = catalog.card(card_id)
        for alias in card.aliases:
            assert catalog.profile(f"{alias}-x{card.counts[0]}").card_id == card_id
            if 1 in card.counts:
                assert catalog.profile(alias).card_id == card_id
