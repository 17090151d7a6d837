"""A plan as a picture: one memory bar for each pipeline stage, as SVG, and a page around it that explains itself."""

from __future__ import annotations

from html import escape

from weighbridge.report import plan_rows
from weighbridge.types import Plan, RankMemory

_WIDTH, _BAR, _ROW, _LEFT, _RIGHT = 860, 34, 74, 96, 24
# Fills that hold in light and dark; each is named beside the bars too, so colour alone says nothing.
_STYLE = """\
.page{fill:#ffffff}.ink{fill:#1b1f24}.soft{fill:#57606a}.weights{fill:#3b5bdb}.kv{fill:#2b8a3e}
.band{fill:#e8a33d}.overhead{fill:#868e96}.free{fill:#dee2e6}.limit{stroke:#1b1f24}
@media (prefers-color-scheme:dark){.page{fill:#15191e}.ink{fill:#e6edf3}.soft{fill:#9da7b3}.weights{fill:#748ffc}
.kv{fill:#51cf66}.band{fill:#ffc078}.overhead{fill:#adb5bd}.free{fill:#343a40}.limit{stroke:#e6edf3}}
text{font:13px system-ui,sans-serif}.head{font-weight:600;font-size:15px}"""
_PARTS = (
    ("weights", "weights"), ("kv", "KV cache promised"), ("band", "band: cache or overhead"),
    ("overhead", "overhead, at the least"), ("free", "not used"),
)  # fmt: skip


def plan_svg(plan: Plan) -> str:
    """The bars alone; every rank of a stage holds the same, so a stage is drawn once."""
    stages = {r.stage: r for r in reversed(plan.memory.per_rank)}
    height = 64 + _ROW * len(stages) + 28
    title = f"{plan.model} on {plan.profile}: memory of a card, GiB"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="t">',
        f'<title id="t">{escape(title)}</title><style>{_STYLE}</style>',
        f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
        f'<text class="ink head" x="16" y="28">{escape(title)}</text>',
    ]
    for row, stage in enumerate(sorted(stages)):
        parts += _stage(stages[stage], 48 + row * _ROW, f"stage {stage}" if len(stages) > 1 else "card")
    return "\n".join([*parts, *_legend(height - 18), "</svg>"]) + "\n"


def _stage(rank: RankMemory, top: float, name: str) -> list[str]:
    scale = (_WIDTH - _LEFT - _RIGHT) / rank.visible_gib
    band = max(0.0, rank.budget_gib - rank.weights_gib - rank.kv_gib_low - rank.overhead_gib_low)
    spans = [
        ("weights", rank.weights_gib), ("kv", rank.kv_gib_low), ("band", band), ("overhead", rank.overhead_gib_low),
        ("free", rank.visible_gib - rank.budget_gib),
    ]  # fmt: skip
    parts, x = [f'<text class="ink" x="16" y="{top + 22}">{escape(name)}</text>'], float(_LEFT)
    for kind, gib in spans:
        wide = gib * scale
        label = f"{dict(_PARTS)[kind]}: {gib:.2f} GiB"
        parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{top}" width="{wide:.1f}" height="{_BAR}">'
            f"<title>{label}</title></rect>"
        )
        x += wide
    edge = _LEFT + rank.budget_gib * scale
    parts.append(
        f'<line class="limit" x1="{edge:.1f}" x2="{edge:.1f}" y1="{top - 4}" y2="{top + _BAR + 4}" stroke-width="1.5"/>'
    )
    text = (
        f"weights {rank.weights_gib:.2f} + KV cache {rank.kv_gib_low:.2f} to {rank.kv_gib_high:.2f} + overhead"
        f" {rank.overhead_gib_low:.2f} to {rank.overhead_gib_high:.2f};"
        f" budget {rank.budget_gib:.2f} of {rank.visible_gib:.2f}"
    )
    return [*parts, f'<text class="soft" x="{_LEFT}" y="{top + _BAR + 18}">{text}</text>']


def _legend(y: float) -> list[str]:
    parts, x = [], 16
    for kind, words in _PARTS:
        parts.append(f'<rect class="{kind}" x="{x}" y="{y - 11}" width="12" height="12"/>')
        parts.append(f'<text class="soft" x="{x + 18}" y="{y}">{words}</text>')
        x += 40 + 7 * len(words)
    return parts


_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top }}
th {{ font-weight: 500; opacity: .75 }}
svg {{ width: 100%; height: auto }}
code {{ display: block; white-space: pre-wrap; overflow-wrap: anywhere; padding: .75rem; border: 1px solid #8886 }}
.warning {{ border-left: 4px solid #e8a33d; padding-left: .75rem }}
</style>
<h1>{title}</h1>
{warnings}
<table>
{rows}
</table>
{svg}
<h2>Because</h2>
<ul>
{because}
</ul>
<h2>The engine is called with</h2>
<code>{command}</code>
</html>
"""


def plan_html(plan: Plan) -> str:
    """One page that needs nothing else: figures, bars, reasons, the engine's arguments."""
    return _PAGE.format(
        title=escape(f"{plan.model} on {plan.profile}"),
        warnings="\n".join(f'<p class="warning">{escape(w)}</p>' for w in plan.warnings),
        rows="\n".join(f"<tr><th>{escape(k)}<td>{escape(v)}" for k, v in plan_rows(plan)),
        svg=plan_svg(plan),
        because="\n".join(f"<li>{escape(b)}" for b in plan.because),
        command=escape(" ".join([*plan.command, *plan.engine_args])),
    )
