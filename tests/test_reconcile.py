"""Planned against reported, on lines as engines print them."""

from __future__ import annotations

import pytest
from support import plan_for

from weighbridge.catalog import Catalog
from weighbridge.reconcile import read_metrics, read_reported, reconcile
from weighbridge.report import reconciliation_text
from weighbridge.types import Reconciliation

CUDA = """\
(EngineCore pid=301) INFO 11-21 01:55:10 [gpu_model_runner.py:4821] Model loading took 61.07 GiB memory and 1.2 seconds
(EngineCore pid=301) INFO 11-21 01:56:02 [gpu_worker.py:560] Available KV cache memory: 9.94 GiB
(EngineCore pid=301) INFO 11-21 01:56:02 [kv_cache_utils.py:2200] GPU KV cache size: 40,704 tokens
(EngineCore pid=301) INFO 11-21 01:56:02 [kv_cache.py:22] Maximum concurrency for 39,424 tokens per request: 1.03x
(EngineCore pid=301) INFO 11-21 01:56:20 [gpu_model_runner.py:5900] Graph capturing finished in 9 secs, took 0.92 GiB
"""
CPU = (
    "(EngineCore pid=4870) INFO 11-21 01:35:37 [kv_cache_utils.py:2327] CPU KV cache size: 1,048,576 tokens,"
    " Maximum concurrency for 2,048 tokens per request: 512.00x"
)


@pytest.fixture
def patterns(catalog: Catalog) -> dict[str, str]:
    return catalog.engine("vllm").reported


def test_an_engine_on_cards_is_read(patterns: dict[str, str]) -> None:
    found = read_reported(CUDA.splitlines(), patterns)
    assert found == {"weights_gib": 61.07, "kv_gib": 9.94, "kv_tokens": 40704, "concurrency": 1.03, "graph_gib": 0.92}


def test_the_cpu_engine_says_two_figures_in_one_line(patterns: dict[str, str]) -> None:
    assert read_reported([CPU], patterns) == {"kv_tokens": 1048576, "concurrency": 512.0}


def test_of_several_ranks_the_least_cache_and_the_most_weights_count(patterns: dict[str, str]) -> None:
    ranks = ["Available KV cache memory: 7.6 GiB", "Available KV cache memory: 7.9 GiB"]
    weights = ["Model loading took 32.85 GiB", "Model loading took 32.89 GiB"]
    assert read_reported([*ranks, *weights], patterns) == {"kv_gib": 7.6, "weights_gib": 32.89}


def run_of_32b(catalog: Catalog, patterns: dict[str, str], log: str = CUDA) -> Reconciliation:
    plan = plan_for(catalog, "h100-80g-x1", "deepseek-r1-distill-qwen-32b")
    return reconcile(plan, read_reported(log.splitlines(), patterns))


def test_a_promise_that_was_kept(catalog: Catalog, patterns: dict[str, str]) -> None:
    """The run is a real one: tests/calibration/rows/h100-vllm-0.26.0.yaml, h2-q32b."""
    found = run_of_32b(catalog, patterns)
    assert found.missing_share == 0
    tokens = next(x for x in found.lines if x.name == "KV cache tokens")
    assert tokens.low <= tokens.reported <= tokens.high
    assert "warning" not in reconciliation_text(found)


def test_a_promise_that_was_broken_says_by_how_much(catalog: Catalog, patterns: dict[str, str]) -> None:
    found = run_of_32b(catalog, patterns, CUDA.replace("40,704", "35,000"))
    assert found.missing_share == pytest.approx(0.116, abs=0.01)
    assert "fewer tokens of KV cache than were promised" in reconciliation_text(found)


NEW = (
    'vllm:cache_config_info{block_size="128",cache_dtype="auto",engine="0",kv_cache_max_concurrency="512.0",'
    'kv_cache_size_tokens="1048576",num_gpu_blocks="8192",sliding_window="None"} 1.0'
)
OLD = (
    "# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig\n"
    'vllm:cache_config_info{block_size="16",cache_dtype="auto",note="a \\"b\\"",num_gpu_blocks="2544"} 1.0\n'
    'vllm:num_requests_running{engine="0"} 0.0\n'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (NEW, {"kv_tokens": 1048576, "concurrency": 512}),
        (OLD, {"kv_tokens": 2544 * 16}),
        (OLD + NEW, {"kv_tokens": 2544 * 16, "concurrency": 512}),  # of several engines the least
        (OLD.replace("2544", "None"), {}),
        ("vllm:cache_config_info{} 1.0", {}),
        ("<html>404</html>", {}),
        ("", {}),
    ],
)
def test_the_metrics_say_the_same_as_the_log(text: str, expected: dict[str, float], catalog: Catalog) -> None:
    """The first is what vLLM 0.32 on a CPU answered, shortened; blocks alone are what older ones give."""
    assert read_metrics(text, catalog.engine("vllm").metrics) == expected


def test_a_log_without_figures(catalog: Catalog, patterns: dict[str, str]) -> None:
    assert (
        reconciliation_text(run_of_32b(catalog, patterns, "nothing")) == "the engine reported no figures of its memory"
    )
