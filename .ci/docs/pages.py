"Pages of the site in markdown: links led to pages, notebooks with their stored outputs, formulas as pictures."

import ast
import base64
import hashlib
import html
import io
import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from markdown.extensions.toc import slugify
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

FENCE = re.compile(r"(^ *```.*?^ *```|`[^`\n]+`)", re.S | re.M)
LINK = re.compile(r'(\]\(|(?:href|src)=")([^)"\s]*)')
FORMULA = re.compile(r"(?<![\\\w$])\$([^$\n]*\\[^$\n]*)\$")
FOLDED_LINES = 40  # an exported cell of more lines is folded


@dataclass
class Site:
    "What there is in the repository, and where on the site it is read"

    root: Path
    repository: str = ""  # address of the repository, for what has no page
    pages: dict = field(default_factory=dict)  # path in the repository -> path of its page, both with /
    files: dict = field(default_factory=dict)  # path on the site -> bytes of a picture

    def lead(self, link: str, source: str, page: str) -> str:
        "A link of a file in the repository as the page made of it needs it"
        raw = self.repository.replace("//github.com/", "//raw.githubusercontent.com/")
        for own in (f"{self.repository}/blob/main/", f"{self.repository}/tree/main/", f"{raw}/main/"):
            if link.startswith(own):  # README's, which PyPI shows too
                link = posixpath.relpath(link.removeprefix(own), posixpath.dirname(source) or ".")
        if urlsplit(link).scheme or link.startswith("//"):
            return link
        path, _, anchor = link.partition("#")
        end = "#" + slugify(unquote(anchor).replace("-", " "), "-") if anchor else ""
        if not path:
            return end or link
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), unquote(path)))
        there = self.root / target
        if target in self.pages:
            return relative(self.pages[target], page) + end
        if there.suffix in (".png", ".svg", ".jpg", ".gif") and there.is_file():
            self.files[target] = there.read_bytes()
            return relative(target, page)
        if there.exists() and not target.startswith(".."):
            kind = "tree" if there.is_dir() else "blob"
            return f"{self.repository}/{kind}/main/{target}" + (f"#{anchor}" if anchor else "")
        return link  # leads nowhere: the check of links names it

    def text(self, text: str, source: str, page: str) -> str:
        "Markdown of the repository as markdown of the site; code stays as it is, but for GitHub's bars in tables"
        parts = FENCE.split(text)
        parts[1::2] = [code if code.lstrip().startswith("```") else code.replace(r"\|", "|") for code in parts[1::2]]
        for i in range(0, len(parts), 2):
            part = LINK.sub(lambda m: m[1] + self.lead(m[2], source, page), parts[i])
            part = FORMULA.sub(lambda m: self.formula(m[1], page), part)
            parts[i] = re.sub(r"^(?!\s*(?:[-*]|\d+\.) )(\S.*)\n(?=(?:[-*]|\d+\.) )", r"\1\n\n", part, flags=re.M)
        return "".join(parts)

    def formula(self, tex: str, page: str) -> str:
        "A formula as a picture, so that no script of another site is asked for one"
        from matplotlib import mathtext

        out = io.BytesIO()
        try:
            depth = mathtext.math_to_image(f"${tex}$", out, format="svg", dpi=72)
        except ValueError:  # more of TeX than matplotlib knows
            return f"<code>{html.escape(tex)}</code>"
        name = f"assets/formulas/{hashlib.sha256(tex.encode()).hexdigest()[:12]}.svg"
        self.files[name] = out.getvalue()
        style = f"vertical-align:-{depth / 10:.2f}em"
        return f'<img class="formula" style="{style}" alt="{html.escape(tex)}" src="{relative(name, page)}">'


def relative(target: str, page: str) -> str:
    "The way from a page to another one, or to a picture"
    return posixpath.relpath(target, posixpath.dirname(page) or ".")


def directives(source: str) -> tuple:  # (name -> what follows it, source without them)
    "What nbdev reads in the first lines of a cell"
    lines = source.split("\n")
    n = next((i for i, line in enumerate(lines) if not re.match(r"#\s*\|", line)), len(lines))
    words = [re.split(r"[\s:]+", line.split("|", 1)[1].strip()) for line in lines[:n]]
    return {name: " ".join(rest) for name, *rest in words}, "\n".join(lines[n:]).strip("\n")


def exported_to(cells: list) -> str:
    "The module that a notebook is exported to, '' if to none; one that goes on with another's names it at each cell"
    found = [directives(c.source)[0] for c in cells if c.cell_type == "code"]
    return next((m for names in found if (m := names.get("default_exp") or names.get("export"))), "")


def heading(path: Path) -> tuple:  # (title, the sentence under it)
    "What a notebook or a page of markdown says that it is about"
    cells = (
        nbformat.read(path, 4).cells if path.suffix == ".ipynb" else [nbformat.v4.new_markdown_cell(path.read_text())]
    )
    text = next((c.source for c in cells if c.cell_type == "markdown"), "")
    title, about = re.search(r"^# (.+)", text, re.M), re.search(r"^> (.+)", text, re.M)
    return readable(title[1].strip() if title else path.stem), (about[1].strip() if about else "")


def readable(title: str) -> str:
    "A title that begins with a module's name, as `heart.sports`, without its package"
    return re.sub(r"^\w+\.(\w+)(?=$|: )", lambda m: m[1].capitalize(), title)


def notebook_page(site: Site, source: str, page: str) -> str:
    "A notebook as markdown: hidden cells dropped, exported code labelled with its module, outputs as they are stored"
    cells = nbformat.read(site.root / source, 4).cells
    module, parts, above = exported_to(cells), [], ""
    for cell in cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"^# (.+)$", lambda m: f"# {readable(m[1])}", cell.source, flags=re.M)
            above = (re.findall(r"^#+ (.+)", text, re.M) or [above])[-1]
            parts.append(site.text(text, source, page))
        elif cell.cell_type == "code":
            names, code = directives(cell.source)
            if names.keys() & {"hide", "default_exp"} or not code:
                continue
            label = f"hrft.{names['export'] or module}" if "export" in names else ""
            parts.append(code_html(code, label, cell.get("id", "")))
            parts += [output_html(site, out, cell, above, page) for out in cell.outputs]
    if parts and module:
        parts.insert(1, whereabouts(site, module, source, page))
    return "\n\n".join(part for part in parts if part) + "\n"


def whereabouts(site: Site, module: str, source: str, page: str) -> str:
    "The line under a notebook's title: its module, and where it is edited"
    reference = relative(site.pages[f"hrft.{module}"], page) if f"hrft.{module}" in site.pages else ""
    name = f"[`hrft.{module}`]({reference})" if reference else f"`hrft.{module}`"
    return f"Module {name} · [notebook]({site.repository}/blob/main/{source})\n{{ .whereabouts }}"


def code_html(code: str, module: str, cell: str) -> str:
    "A cell's code, with the module that it is exported to; imports and long exported code are folded"
    formatter = HtmlFormatter(cssclass="highlight", wrapcode=True)
    shown = highlight(code, PythonLexer(), formatter)
    named, imports = _defined(code)
    kind = "code exported" if module else "code"
    start = f'<div class="{kind}" id="cell-{cell}" data-search-exclude>'
    if imports or module and code.count("\n") >= FOLDED_LINES:
        what = "imports" if imports else ", ".join(n for n in named if n[0] != "_") or ", ".join(named) or "code"
        label = f"<summary>{module}{': ' if module else ''}{html.escape(what)}</summary>"
        return f"{start}<details>{label}{shown}</details></div>"
    label = f'<span class="filename">{module}</span>' if module else ""
    return start + shown.replace("<pre>", label + "<pre>", 1) + "</div>"


def _defined(code: str) -> tuple:  # (names, whether there is nothing but imports)
    "What a cell defines"
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return [], False
    named = [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    inner = [n for node in body for n in (node.body if isinstance(node, ast.If) else [node])]  # of `if TYPE_CHECKING:`
    return named, all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in inner)


def output_html(site: Site, out, cell, above: str, page: str) -> str:
    "One stored output: a picture, a table, or text"
    if out.output_type == "stream":
        return _text_html(out.text) if out.name == "stdout" else ""
    data = out.get("data", {})
    if "image/png" in data:
        name = f"{posixpath.splitext(page)[0]}_files/{cell.id}-{cell.outputs.index(out)}.png"
        site.files[name] = base64.b64decode(data["image/png"])
        titles = re.findall(r"""(?:set_)?(?:sup)?title[=(]\s*f?['"]([^'"{]+)""", cell.source)
        alt = html.escape(above + (": " + "; ".join(titles) if titles else ""))
        return f'<div class="output"><img alt="Plot: {alt}" loading="lazy" src="{relative(name, page)}"></div>'
    if "image/svg+xml" in data:
        return f'<div class="output">{data["image/svg+xml"]}</div>'
    if "text/html" in data and "<script" not in data["text/html"]:
        table = re.sub(r"<style.*?</style>\s*", "", data["text/html"], flags=re.S)
        return f'<div class="output table">{table}</div>'
    if "text/markdown" in data:
        shown = re.sub(r"^#+ (.+)$", r"**\1**", data["text/markdown"], flags=re.M)
        return f'<div class="output" markdown="1">\n\n{shown}\n\n</div>'
    return _text_html(data.get("text/plain", "\n".join(out.get("traceback", []))))


def _text_html(text: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).rstrip()
    return f'<div class="output"><pre>{html.escape(text)}</pre></div>' if text else ""
