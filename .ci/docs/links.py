"The check of links: every link and anchor of built pages leads somewhere within them, and no page asks another site."

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lxml import html

_NO_LINKS = ("cite", "longdesc", "profile", "usemap", "classid", "codebase")
_IN_CSS = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?!data:|#|url)[^"')\s;]+)""")


def read_pages(folder: Path) -> dict:  # path -> (anchors, links as (address, whether the browser asks for it))
    "The anchors and the links of each page and style sheet of a folder"
    pages = {}
    for path in sorted(folder.resolve().rglob("*.html")):
        tree = html.document_fromstring(path.read_bytes())
        links = {(link, _asked(element)) for element, name, link, _ in tree.iterlinks() if name not in _NO_LINKS}
        links |= {
            (each.split()[0], True) for text in tree.xpath("//@srcset") for each in text.split(",") if each.strip()
        }
        pages[path] = set(tree.xpath("//@id")) | set(tree.xpath("//a/@name")), links
    for path in sorted(folder.resolve().rglob("*.css")):
        pages[path] = set(), {(link, True) for link in _IN_CSS.findall(path.read_text("utf-8"))}
    return pages


def _asked(element) -> bool:
    "Whether the browser fetches what an element links to"
    return element.tag not in ("a", "form") and element.get("rel") not in ("canonical", "prev", "next")


def check_links(
    folder: Path, base: str = "/"
) -> tuple:  # (broken ones as sentences, internal links, external addresses)
    "Links of a folder's pages that lead nowhere, and those that leave it, which are not fetched"
    pages, broken, n, external = read_pages(folder), [], 0, set()
    for page, (_, links) in pages.items():
        for link, asked in sorted(links):
            to = urlsplit(link)
            if to.scheme == "data":
                continue
            if not to.scheme and not to.netloc:
                n += 1
                wrong = _wrong(page, to, pages, folder.resolve(), base)
            else:
                external.add(link)
                wrong = "is fetched from another site" if asked else ""
            if wrong:
                broken.append(f"{page.relative_to(folder.resolve())}: {link} {wrong}")
    return broken, n, sorted(external)


def _wrong(page: Path, to, pages: dict, folder: Path, base: str) -> str:
    path, anchor = unquote(to.path), unquote(to.fragment)
    if path.startswith(base):  # of the page for what is not found, which is shown at any depth
        path = str(folder / path.removeprefix(base))
    target = (page.parent / path).resolve() if path else page
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file() or not target.is_relative_to(folder):
        return "does not exist"
    return "has no such anchor" if anchor and target in pages and anchor not in pages[target][0] else ""
