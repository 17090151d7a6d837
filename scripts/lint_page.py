"""docs/lint.md's list of findings, from the data."""

from __future__ import annotations

from pathlib import Path

from weighbridge.catalog import Catalog
from weighbridge.lint import findings_page

PAGE = Path("docs/lint.md")
MARK = "<!-- made by `make docs` -->\n"


def page(old: str) -> str:
    """The page with its list made anew; what stands above the mark is written by hand."""
    return old.split(MARK)[0] + MARK + "\n" + findings_page(Catalog())


def main() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
