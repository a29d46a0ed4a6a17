"Render README.md from nbs/index.ipynb; with --check, say whether it is up to date."

import re
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent


def readme() -> str:
    "The README's text: the index without its hidden cells, front matter and directives, code marked as Python"
    notebook = nbformat.read(ROOT / "nbs/index.ipynb", as_version=4)
    notebook.cells = [c for c in notebook.cells if not c.source.startswith("# | hide") and c.cell_type != "raw"]
    for cell in notebook.cells:
        cell.source = re.sub(r"^# \| .*\n", "", cell.source, flags=re.M)
    notebook.metadata.language_info = {"name": "python"}
    text, _ = MarkdownExporter().from_notebook_node(notebook)
    return "<!-- Made from nbs/index.ipynb by `make readme`. -->\n\n" + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


if __name__ == "__main__":
    path = ROOT / "README.md"
    if "--check" in sys.argv:
        sys.exit(
            0
            if path.exists() and path.read_text(encoding="utf-8") == readme()
            else "README.md differs from nbs/index.ipynb; run `make readme`."
        )
    path.write_text(readme(), encoding="utf-8")
