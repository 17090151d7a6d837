"""docs/benchmark.md: how to measure an appliance, and what each figure means, from the words that the report uses."""

from __future__ import annotations

from pathlib import Path

from weighbridge.benchtext import glossary
from weighbridge.catalog import Catalog
from weighbridge.verbs.measure import metric_file

HEAD = """# The benchmark

`invoke bench` measures a running appliance with its engine's own benchmark, inside the container, through the
gateway, with the owner's key: what a client sees, without the network between. Nothing is installed and the image is
not changed. The key goes over a pipe, never into an argument, the environment of a container or a log.

```sh
invoke bench                                         # the scenarios with a star in: invoke bench --list-scenarios
invoke bench --scenario few,rag --repeats 5 --html bench.html --output new.json
invoke bench --scenario chat --rates 1,4,inf         # a sweep; also --concurrency 1,8,64
invoke bench --gate slo.yaml                         # exit 1 when a limit is broken, and which
invoke bench --compare old.json                      # measures, then sets both beside one another
invoke bench --result new.json --compare old.json    # two results, nothing is measured
```

Requests are random tokens of a fixed length, the answer is as long as the scenario says (the end of text is ignored),
at temperature 0. Each run draws new prompts, so the prefix cache of an earlier run does not help; the seed is in the
result. A short run that is not counted goes first. Scenarios longer than the plan's context are clipped in
proportion, with a word said; more requests at a time than one key may have open wait at the asking side (`invoke run
--key-streams`), and a key's rate (`--key-rate`) shows as failed requests.

A figure is the mean over the runs with half its 95 % interval (Student's t); one run has no interval and says `once`.
Two results are compared by their ratio with Welch's interval, on logarithms; where it holds 1, no difference can be
told. The intervals know the repeats of one start. Two starts of the same plan differ by more: measure both sides more
than once, in turn, on a quiet machine. To search for a faster plan so: [tune.md](tune.md).

The last result of an image is kept in `build/bench/<recipe>.json`. `invoke status` shows it, and the console shows its
throughput and time to first token below the plan, to those who may see the plan; a container that is started anew is
given the figures of its image again.

## Limits

```yaml
goodput: {ttft_ms: 500, tpot_ms: 50}        # what each request must keep; also e2e_ms
limits:                                     # what --gate holds, on the mean over the runs
  - {metric: ttft_ms.p95, at_most: 800}
  - {scenario: few, metric: requests_per_second, at_least: 20}
  - {metric: failed, at_most: 0}
```

A limit on what was not measured is broken.

## The words

"""


def page() -> str:
    return HEAD + glossary(metric_file(Catalog()))


if __name__ == "__main__":
    Path("docs/benchmark.md").write_text(page(), encoding="utf-8")
