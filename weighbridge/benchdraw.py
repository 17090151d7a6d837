"""A benchmark as a picture: throughput with its runs, latencies from median to 99th percentile, a row a point."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from weighbridge.bench import BenchReport, Measured
from weighbridge.benchtext import bench_text, number
from weighbridge.verdict import estimate, values
from weighbridge.words import many

_WIDTH, _ROW, _TOP, _GAP = 1080, 46, 76, 26
_LEAST_LEFT, _LETTER = 190, 6.9  # a letter of the labels is about so wide
_LEGEND = (
    "dots: single runs; line: 95 % interval of their mean; latency: the strong bar ends at the median, the pale one at"
    " the 99th percentile"
)
_PANELS = (
    ("output tokens/s", "output_tokens_per_second"), ("TTFT, ms", "ttft_ms"), ("TPOT, ms", "tpot_ms"),
    ("E2E, ms", "e2e_ms"),
)  # fmt: skip
# As in a plan's picture: fills that hold in light and dark, and no meaning that is told by colour alone.
_STYLE = """\
.page{fill:#ffffff}.ink{fill:#1b1f24}.soft{fill:#57606a}.bar{fill:#3b5bdb}.range{fill:#a5b4f3}.dot{fill:#1b1f24}
.rule{stroke:#d0d7de}.reach{stroke:#1b1f24}
@media (prefers-color-scheme:dark){.page{fill:#15191e}.ink{fill:#e6edf3}.soft{fill:#9da7b3}.bar{fill:#748ffc}
.range{fill:#3f4f9a}.dot{fill:#e6edf3}.rule{stroke:#343a40}.reach{stroke:#e6edf3}}
text{font:13px system-ui,sans-serif}.head{font-weight:600;font-size:15px}.small{font-size:11px}"""


def bench_svg(report: BenchReport) -> str:
    """The picture alone. Bars start at 0; dots are runs; a latency's bar reaches from its p50 to its p99."""
    rows = [m for m in report.measured if m.repeats]
    height = _TOP + _ROW * max(1, len(rows)) + 44
    title = f"{report.model} on {report.profile}, {report.engine} {report.engine_version}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="t">',
        f'<title id="t">{escape(title)}</title><style>{_STYLE}</style>',
        f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
        f'<text class="ink head" x="16" y="28">{escape(title)}</text>',
    ]
    for i, m in enumerate(rows):
        parts += _label(m, _TOP + i * _ROW)
    begin = max(_LEAST_LEFT, 36 + _LETTER * max((len(m.point.label) for m in rows), default=0))
    wide = (_WIDTH - begin - _GAP * len(_PANELS)) / len(_PANELS)
    for n, (words, metric) in enumerate(_PANELS):
        left = begin + n * (wide + _GAP)
        parts.append(f'<text class="ink" x="{left:.1f}" y="58">{escape(words)}</text>')
        parts.append(
            f'<line class="rule" x1="{left:.1f}" x2="{left:.1f}" y1="{_TOP - 8}" y2="{height - 40}" stroke-width="1"/>'
        )
        parts += _throughput(rows, metric, left, wide) if n == 0 else _latency(rows, metric, left, wide)
    parts.append(f'<text class="soft small" x="16" y="{height - 14}">{_LEGEND}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _label(measured: Measured, y: float) -> list[str]:
    point = measured.point
    size = f"{point.prefix_tokens + point.input_tokens} in, {point.output_tokens} out, {many(point.prompts, 'request')}"
    return [
        f'<text class="ink" x="16" y="{y + 12}">{escape(point.label)}</text>',
        f'<text class="soft small" x="16" y="{y + 28}">{size}</text>',
    ]


def _throughput(rows: Sequence[Measured], metric: str, left: float, wide: float) -> list[str]:
    most = max((v for m in rows for v in values(m, metric)), default=0) or 1
    scale, parts = (wide - 62) / most, []
    for i, m in enumerate(rows):
        y, found = _TOP + i * _ROW, values(m, metric)
        middle = estimate(found)
        parts.append(_bar("bar", left, y, middle.mean * scale, f"{number(middle.mean)} a second"))
        if middle.low is not None and middle.high is not None:
            low, high = max(0.0, middle.low) * scale, min(most * 1.1, middle.high) * scale
            parts.append(
                f'<line class="reach" x1="{left + low:.1f}" x2="{left + high:.1f}" y1="{y + 24}" y2="{y + 24}"'
                ' stroke-width="2"/>'
            )
        parts += [f'<circle class="dot" cx="{left + v * scale:.1f}" cy="{y + 24}" r="2.5"/>' for v in found]
        parts.append(_figure(left + middle.mean * scale, y, number(middle.mean)))
    return parts


def _latency(rows: Sequence[Measured], metric: str, left: float, wide: float) -> list[str]:
    most = max((v for m in rows for v in values(m, f"{metric}.p99")), default=0) or 1
    scale, parts = (wide - 92) / most, []
    for i, m in enumerate(rows):
        y = _TOP + i * _ROW
        p50, p99 = (estimate(values(m, f"{metric}.{p}")).mean for p in ("p50", "p99"))
        parts.append(_bar("range", left, y, p99 * scale, f"99th percentile {number(p99)} ms"))
        parts.append(_bar("bar", left, y, p50 * scale, f"median {number(p50)} ms"))
        parts.append(_figure(left + p99 * scale, y, f"{number(p50)} … {number(p99)}"))
        dots = values(m, f"{metric}.p50")
        parts += [f'<circle class="dot" cx="{left + v * scale:.1f}" cy="{y + 24}" r="2.5"/>' for v in dots]
    return parts


def _figure(x: float, y: float, words: str) -> str:
    return f'<text class="ink small" x="{x + 6:.1f}" y="{y + 12}">{words}</text>'


def _bar(kind: str, left: float, y: float, wide: float, title: str) -> str:
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{y}" width="{max(wide, 1):.1f}" height="16">'
        f"<title>{escape(title)}</title></rect>"
    )


_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }}
svg {{ width: 100%; height: auto }}
pre {{ overflow-x: auto; padding: .75rem; border: 1px solid #8886; font-size: 13px }}
.wrap {{ white-space: pre-wrap; overflow-wrap: anywhere }}
</style>
<h1>{title}</h1>
{svg}
<h2>Figures</h2>
<pre tabindex="0">{text}</pre>
<h2>Measured with</h2>
<pre class="wrap">{command}

{arguments}</pre>
</html>
"""


def bench_html(report: BenchReport) -> str:
    """One page that needs nothing else: the picture, the figures, what was run."""
    return _PAGE.format(
        title=escape(f"Benchmark: {report.model} on {report.profile}"),
        svg=bench_svg(report),
        text=escape(bench_text(report)),
        command=escape(report.command),
        arguments=escape(" ".join(report.engine_args)),
    )
