"""The site: notebooks, reports and the reference as pages, built offline into _docs/

Made with mkdocs-material 9: one package from PyPI brings theme, icons and search. It is in maintenance mode, so that
its features stand still; its makers' next program, Zensical, reads the same mkdocs.yml. quartodoc and `nbdev_docs` need
quarto, a binary from GitHub. Jupyter Book 2 needs node, and fetches its theme when it builds. mkdocs-jupyter puts
JupyterLab's style into every page; `pages.py` does without, knows nbdev's directives and leads links to pages.
No notebook runs: what is shown is what is stored in it.
"""

import os
import re
import shutil
import sys
import time
from configparser import ConfigParser
from functools import partial
from pathlib import Path

import nbformat
from links import check_links
from pages import Site, exported_to, heading, notebook_page, relative
from reference import reference_page

ROOT = Path(__file__).resolve().parents[2]
SOURCE, BUILT = ROOT / "_proc/docs", ROOT / "_docs"
LIBRARY = {"core": "Core", "logs": "Training logs"}
STUDIES = {"heart": "Heart rate", "clouds": "Clouds", "lips": "Lip reading", "faces": "Faces", "survey": "Survey"}
ROOMS = {"tutorials": "Tutorials", **LIBRARY, **STUDIES, "trials": "Trials"}
ALONE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def find_pages(root: Path) -> Site:
    "Which file of the repository is read on which page"
    settings = ConfigParser(delimiters=["="])
    settings.read(root / "settings.ini")
    site = Site(root, settings["DEFAULT"]["git_url"], dict(ALONE))
    for room in ROOMS:
        for path in sorted((root / f"nbs/{room}").glob("[0-9]*.ipynb")):
            site.pages[f"nbs/{room}/{path.name}"] = f"{room}/{path.stem.split('_', 1)[1]}.md"
        site.pages[f"nbs/{room}"] = f"{room}/index.md"
    for path in sorted([*(root / "nbs/howto").glob("*.md"), *(root / "reports").glob("*.md")]):
        site.pages[str(path.relative_to(root))] = f"{path.parent.name}/{path.name}"
    site.pages |= {"nbs/index.ipynb": "index.md", "reports": "reports/index.md"}
    for path in sorted((root / "hrft").rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        if path.name not in ("__init__.py", "_modidx.py"):
            site.pages[module] = site.pages[str(path.relative_to(root))] = (
                f"reference/{module.removeprefix('hrft.')}.md"
            )
    return site


def write_pages(site: Site, folder: Path) -> list:
    "Every page and picture into a folder for mkdocs; the navigation"
    texts = {}
    for source, page in site.pages.items():
        if source.endswith(".ipynb") and page != "index.md":
            texts[page] = notebook_page(site, source, page)
        elif source.endswith(".md"):
            texts[page] = site.text((site.root / source).read_text(encoding="utf-8"), source, page)
        elif source.endswith(".py"):
            module = source.removesuffix(".py").replace("/", ".")
            lead = partial(lead_to_cell, site, page)
            texts[page] = reference_page((site.root / source).read_text(encoding="utf-8"), module, lead)
    texts["glossary.md"] = glossary((site.root / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    texts["index.md"] = "---\nhide: [navigation]\n---\n\n" + texts["index.md"]
    nav = navigation(site, texts)
    shutil.rmtree(folder, ignore_errors=True)
    here = Path(__file__).parent
    assets = {f"assets/{name}": (here / name).read_bytes() for name in ("site.css", "iframe-worker.js")}
    for name, content in ({n: t.encode() for n, t in texts.items()} | site.files | assets).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return nav


def lead_to_cell(site: Site, page: str, cell: str) -> str:
    "The way from a page to a cell of a notebook's page, '' where it has none"
    notebook, _, anchor = cell.partition("#")
    return f"{relative(site.pages[notebook], page)}#{anchor}" if notebook in site.pages else ""


def glossary(contributing: str) -> str:
    "CONTRIBUTING's table of words as a page with an anchor for each"
    section = contributing.split("\n## Words\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", section, re.M)[1:]
    words = [
        f"## {word}\n\n{meaning[0].upper() + meaning[1:]}."
        for word, meaning in sorted(rows, key=lambda r: r[0].lower())
    ]
    return "# Glossary\n\nOne word means one thing, in names, sentences and reports.\n\n" + "\n\n".join(words) + "\n"


def navigation(site: Site, texts: dict) -> list:
    "Tabs and sections of the site; adds a page of contents to `texts` for each"
    room = partial(room_section, site, texts)
    howto = [{heading(site.root / s)[0]: p} for s, p in site.pages.items() if s.startswith("nbs/howto/")]
    tabs = [{"Home": "index.md"}, {"Tutorials": room("tutorials")}]
    tabs += [{"How to": howto}] if howto else []
    tabs += [{"Library": [{name: room(key)} for key, name in LIBRARY.items()]}]
    tabs += [{"Studies": [{name: room(key)} for key, name in STUDIES.items()]}]
    tabs += [{"Reports": report_section(site, texts)}, {"Reference": reference_section(site, texts)}]
    about = [{"Glossary": "glossary.md"}, {"Trials": room("trials")}]
    return [*tabs, {"About": [*about, {"Changelog": "changelog.md"}, {"Contributing": "contributing.md"}]}]


def room_section(site: Site, texts: dict, room: str) -> list:
    "A room's contents, then its notebooks in their order, those of one package together"
    groups, rows = {}, []
    for source, page in site.pages.items():
        if source.startswith(f"nbs/{room}/"):
            title, about = heading(site.root / source)
            module = exported_to(nbformat.read(site.root / source, 4).cells) if source.endswith(".ipynb") else ""
            rows.append(f"| [{title}]({Path(page).name}) | {site.text(about, source, page)} |")
            package = module.split(".")[1] if module.count(".") > 1 else ""
            groups.setdefault(package, []).append({title: page})
    texts[f"{room}/index.md"] = _contents(ROOMS[room], ["notebook", "what it is about"], rows)
    alone = groups.pop("", [])
    return [f"{room}/index.md", *({name.capitalize(): pages} for name, pages in groups.items()), *alone]


def report_section(site: Site, texts: dict) -> list:
    rows, pages = [], []
    for source, page in site.pages.items():
        if source.startswith("reports/"):
            name = Path(page).stem.replace("-", ", ")
            rows.append(f"| [{name}]({Path(page).name}) | {heading(site.root / source)[0]} |")
            pages.append({name.capitalize(): page})
    texts["reports/index.md"] = _contents("Reports", ["report", "about"], rows)
    return ["reports/index.md", *pages]


def reference_section(site: Site, texts: dict) -> list:
    "Modules by package, each with the first line of its docstring"
    packages, rows = {}, []
    for source, page in site.pages.items():
        if source.endswith(".py"):
            module = source.removesuffix(".py").replace("/", ".")
            about = re.search(r"^# .+\n\n((?!\|).+)", texts[page])
            rows.append(f"| [`{module}`]({Path(page).name}) | {about[1] if about else ''} |")
            packages.setdefault(module.rpartition(".")[0], []).append({module.rpartition(".")[2]: page})
    texts["reference/index.md"] = _contents("Reference", ["module", "what it is for"], rows)
    return ["reference/index.md", *({package: pages} for package, pages in packages.items())]


def _contents(title: str, head: list, rows: list) -> str:
    return "\n".join([f"# {title}", "", f"| {' | '.join(head)} |", "|---|---|", *rows]) + "\n"


def build(source: Path, built: Path, nav: list):
    "Pages of markdown as html"
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # the theme's notice about another program
    from mkdocs.commands.build import build as mkdocs_build
    from mkdocs.config import load_config

    config = load_config(str(ROOT / "mkdocs.yml"), docs_dir=str(source), site_dir=str(built), nav=nav)
    config.plugins.on_startup(command="build", dirty=False)
    mkdocs_build(config)


def main() -> int:
    "Builds the site and checks its links"
    started = time.perf_counter()
    nav = write_pages(find_pages(ROOT), SOURCE)
    build(SOURCE, BUILT, nav)
    broken, n, external = check_links(BUILT, "/hrft/")
    if "--external" in sys.argv:
        print(*external, sep="\n")
    print(*broken, sep="\n", file=sys.stderr)
    size = sum(p.stat().st_size for p in BUILT.rglob("*") if p.is_file()) / 1e6
    pages = len(list(BUILT.rglob("*.html")))
    print(f"_docs/index.html: {pages} pages, {size:.0f} MB, in {time.perf_counter() - started:.0f} s")
    print(
        f"{n} links within the site, {len(broken)} broken; {len(external)} addresses elsewhere (--external lists them)"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
