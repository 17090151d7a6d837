"""docs/fit.md: what fits where, by the plans themselves."""

from __future__ import annotations

from pathlib import Path

from weighbridge import memory
from weighbridge.catalog import Catalog
from weighbridge.fit import fit_markdown
from weighbridge.listing import weights_gib

HEAD = """# What fits where

Made by `make docs` from the plans themselves; ask your own with `invoke fit --model M` or `invoke fit --profile P`.
A cell is tensor × pipeline × data parallel and the context in units of 1024 tokens; a dash: does not fit; a star:
narrow, that is less than the model's own context, or a warning in the plan; a question mark: the card's memory is not
public, so a plan needs `--visible-gib`.

Rules of thumb that are in circulation, such as parameters x 2.3 GB or "640 GB for R1", are wrong in both directions:
weights are what the checkpoint's format makes them, and what is left for the KV cache decides the context.

"""


def main() -> None:
    catalog = Catalog()
    lines = ["| model | parameters 1e9 | weights GiB |", "|---|---|---|"]
    for model in catalog.models():
        lines.append(f"| {model.id} | {memory.parameters(model.shape) / 1e9:.2f} | {weights_gib(model):.2f} |")
    page = HEAD + fit_markdown(catalog) + "\n## What the weights take\n\n" + "\n".join(lines) + "\n"
    Path("docs/fit.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
