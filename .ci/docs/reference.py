"The reference: what a module exports, from its source alone, so that nothing is imported for it."

import ast
import html
import io
import re
import textwrap
import tokenize
from dataclasses import dataclass, field
from itertools import groupby


@dataclass
class Entry:
    "A function or a class as its source declares it"

    name: str
    signature: str
    about: str  # docstring
    arguments: list = field(default_factory=list)  # (name, type, default, comment)
    returns: tuple = ()  # (type, comment)
    methods: list = field(default_factory=list)  # of `Entry`
    cell: str = ""  # the notebook's cell that it stands in: nbs/core/00_core.ipynb#cell-1a2b


def comments_of(source: str) -> dict:
    "The comment at the end of each line, or alone on it"
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


def read_module(source: str) -> tuple:  # (docstring, list of `Entry`, constants as (name, value))
    "What a module exports, in the order of its source"
    tree, comments, lines = ast.parse(source), comments_of(source), source.split("\n")
    exported, entries, values = _exported(tree), [], []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in exported:
            entry = (_class if isinstance(node, ast.ClassDef) else _function)(node, comments)
            marks = (re.match(r"# %% (?:\.\./)+(\S+\.ipynb) #(\S+)", line) for line in reversed(lines[: node.lineno]))
            entry.cell = next((f"{m[1]}#cell-{m[2]}" for m in marks if m), "")
            entries.append(entry)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            values += [
                (n, ast.unparse(node.value), comments.get(node.end_lineno, "")) for n in _targets(node, exported)
            ]
    return ast.get_docstring(tree) or "", entries, values


def _exported(tree) -> set:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return {node.name for node in tree.body if hasattr(node, "name") and not node.name.startswith("_")}


def _targets(node, exported: set) -> list:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [n for t in targets for n in (t.elts if isinstance(t, ast.Tuple) else [t])]
    return [n.id for n in names if isinstance(n, ast.Name) and n.id in exported and node.value is not None]


def _function(node, comments: dict) -> Entry:
    spec = node.args
    plain = [*spec.posonlyargs, *spec.args]
    defaults = dict(zip([a.arg for a in plain[len(plain) - len(spec.defaults) :]], spec.defaults))
    defaults |= {a.arg: d for a, d in zip(spec.kwonlyargs, spec.kw_defaults) if d is not None}
    every = [*plain, *filter(None, [spec.vararg]), *spec.kwonlyargs, *filter(None, [spec.kwarg])]
    last = node.returns.end_lineno if node.returns else 0
    rows = []
    for i, a in enumerate(every):
        if a.arg in ("self", "cls"):
            continue
        end = defaults[a.arg].end_lineno if a.arg in defaults else a.end_lineno
        shared = end == last or i + 1 < len(every) and every[i + 1].lineno == end  # a comment there is another one's
        kind = ast.unparse(a.annotation) if a.annotation else ""
        default = ast.unparse(defaults[a.arg]) if a.arg in defaults else ""
        rows.append((a.arg, kind, default, "" if shared else _comment(comments, end, node.lineno)))
    returns = (ast.unparse(node.returns), comments.get(last, "")) if node.returns else ()
    return Entry(node.name, f"{node.name}{_call(node)}", ast.get_docstring(node) or "", rows, returns)


def _comment(comments: dict, line: int, first: int) -> str:
    return comments.get(line, "") if line > first or line in comments else ""


def _call(node) -> str:
    "The arguments as they are declared: on one line where they fit, else one on each"
    spec, result = node.args, f" -> {ast.unparse(node.returns)}" if node.returns else ""
    plain = [*spec.posonlyargs, *spec.args]
    defaults = [None] * (len(plain) - len(spec.defaults)) + spec.defaults
    parts = [_argument(a, d) for a, d in zip(plain, defaults)]
    if spec.posonlyargs:
        parts.insert(len(spec.posonlyargs), "/")
    parts += [f"*{_argument(spec.vararg)}"] if spec.vararg else ["*"] if spec.kwonlyargs else []
    parts += [_argument(a, d) for a, d in zip(spec.kwonlyargs, spec.kw_defaults)]
    parts += [f"**{_argument(spec.kwarg)}"] if spec.kwarg else []
    if parts and parts[0] in ("self", "cls"):
        parts = parts[1:]
    line = f"({', '.join(parts)}){result}"
    return line if len(node.name) + len(line) < 90 else "(\n    " + ",\n    ".join(parts) + f",\n){result}"


def _argument(arg, default=None) -> str:
    kind = f": {ast.unparse(arg.annotation)}" if arg.annotation else ""
    equals = " = " if kind else "="
    return arg.arg + kind + (f"{equals}{ast.unparse(default)}" if default is not None else "")


def _class(node, comments: dict) -> Entry:
    bases = ", ".join(ast.unparse(b) for b in node.bases)
    fields, methods = [], []
    for inner in node.body:
        if isinstance(inner, ast.AnnAssign) and not inner.target.id.startswith("_"):
            default = ast.unparse(inner.value) if inner.value else ""
            fields.append((inner.target.id, ast.unparse(inner.annotation), default, comments.get(inner.end_lineno, "")))
        elif isinstance(inner, ast.FunctionDef) and (not inner.name.startswith("_") or inner.name == "__init__"):
            methods.append(_method(inner, comments))
    about = ast.get_docstring(node) or ""
    return Entry(node.name, f"class {node.name}" + (f"({bases})" if bases else ""), about, fields, (), methods)


def _method(node, comments: dict) -> Entry:
    made = _function(node, comments)
    kinds = {ast.unparse(d) for d in node.decorator_list}
    if kinds & {"property", "cached_property", "functools.cached_property"}:
        made.signature = node.name + (f" -> {made.returns[0]}" if made.returns else "")
    return made


def reference_page(
    source: str, module: str, lead=lambda cell: ""
) -> str:  # lead: cell of a notebook -> link, '' if none
    "A module's page: each function and class with its arguments and what their comments say"
    about, entries, values = read_module(source)
    parts = [f"# {module}", _prose(about)]
    if entries:
        rows = [f"| [`{e.name}`](#{e.name}) | {_cell(_first(e.about))} |" for e in entries]
        parts.append("\n".join(["| name | what it is |", "|---|---|", *rows]))
    for entry in entries:
        parts += _entry_text(entry, "##", entry.name)
        if link := lead(entry.cell):
            parts.append(f'[Explained in the notebook]({link})\n{{ .whereabouts data-search-exclude="" }}')
    if values:
        rows = [
            f"| `{n}` | {_code(value[:120] + ('…' if len(value) > 120 else ''))} | {_cell(c)} |"
            for n, value, c in values
        ]
        parts += ["## Values", "\n".join(["| name | value | meaning |", "|---|---|---|", *rows])]
    return "\n\n".join(p for p in parts if p) + "\n"


def _entry_text(entry: Entry, level: str, anchor: str) -> list:
    parts = [f"{level} {entry.name.replace('_', chr(92) + '_')} {{ #{anchor} }}"]
    parts += [f"```python\n{entry.signature}\n```", _prose(entry.about)]
    what = "field" if entry.signature.startswith("class ") else "argument"
    rows = [f"| {_declared(n, kind, default)} | {_cell(c)} |" for n, kind, default, c in entry.arguments]
    if entry.returns:
        rows.append(f"| *returns* {_code(entry.returns[0])} | {_cell(entry.returns[1])} |")
    if what == "field" and rows or any(c for *_, c in entry.arguments) or any(entry.returns[1:]):
        parts.append("\n".join([f"| {what} | meaning |", "|---|---|", *rows]))
    for method in entry.methods:
        if method.name != "__init__" or method.arguments:
            parts += _entry_text(method, "###", f"{anchor}.{method.name}")
    return parts


def _first(text: str) -> str:
    return text.split("\n")[0]


def _prose(text: str) -> str:
    "A docstring or a comment as markdown: lines after `>>>` are an example, and so are indented ones"
    blocks = groupby(text.split("\n\n"), lambda block: block.startswith((">>> ", "    ")))
    return "\n\n".join((_example if example else _inline)("\n\n".join(group)) for example, group in blocks)


def _example(text: str) -> str:
    code = re.sub(r"^(>>>|\.\.\.) ?", "", text, flags=re.M)
    return f"```python\n{textwrap.dedent(code)}\n```"


def _inline(text: str) -> str:
    "Text as markdown: what stands between backticks is code, the rest is text"
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*_|])", r"\\\1", html.escape(p, quote=False)) for p in parts[::2]]
    return "`".join(parts)


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\|", _inline(text)).replace("\n", " ")


def _declared(name: str, kind: str, default: str) -> str:
    "A name with its type and its default"
    return (
        _code(name) + (_code(f": {kind}", "type") if kind else "") + (_code(f" = {default}", "type") if default else "")
    )


def _code(text: str, kind: str = "") -> str:
    "Code in a cell of a table, as html, because a bar would end the cell and a backtick the code"
    if not text:
        return ""
    shown = re.sub(r"[|*_`\[\]\\]", lambda m: f"&#{ord(m[0])};", html.escape(text, quote=False))
    return f'<code class="{kind}">{shown}</code>' if kind else f"<code>{shown}</code>"
