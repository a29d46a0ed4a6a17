"The check of links: every link and anchor of built pages leads somewhere within them."

from pathlib import Path
from urllib.parse import unquote, urlsplit

from lxml import html


def read_pages(folder: Path) -> dict:  # path -> (anchors, links)
    "The anchors and the links of each page of a folder"
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        tree = html.document_fromstring(path.read_bytes())
        links = {link for _, attribute, link, _ in tree.iterlinks() if attribute in ("href", "src")}
        pages[path.resolve()] = set(tree.xpath("//@id")) | set(tree.xpath("//a/@name")), links
    return pages


def check_links(
    folder: Path, base: str = "/"
) -> tuple:  # (broken ones as sentences, internal links, external addresses)
    "Links of a folder's pages that lead nowhere, and those that leave it, which are not fetched"
    pages, broken, n, external = read_pages(folder), [], 0, set()
    for page, (_, links) in pages.items():
        for link in sorted(links):
            to = urlsplit(link)
            if to.scheme or to.netloc:
                external.add(link)
                continue
            n += 1
            path = unquote(to.path)
            if path.startswith(base):  # of the page for what is not found, which is shown at any depth
                path = str(folder.resolve() / path.removeprefix(base))
            if wrong := _wrong(page, path, unquote(to.fragment), pages, folder):
                broken.append(f"{page.relative_to(folder.resolve())}: {link} {wrong}")
    return broken, n, sorted(external)


def _wrong(page: Path, path: str, anchor: str, pages: dict, folder: Path) -> str:
    target = page if not path else (page.parent / path).resolve()
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file() or not target.is_relative_to(folder.resolve()):
        return "does not exist"
    known = pages.get(target, (set(),))[0]
    return "" if not anchor or target not in pages or anchor in known else "has no such anchor"
