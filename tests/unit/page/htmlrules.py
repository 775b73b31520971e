"""Rules of accessible pages, judged from their text: a part of what WCAG 2.1 (A and AA) asks for.

axe judges the pages in a browser in the long tests; these rules are quick.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "link", "input", "br", "hr", "img"}
#: Elements that svg has and that hold no other element here.
CONTROLS = {"input", "select", "textarea", "button"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parent: Element | None
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def walk(self) -> Iterator[Element]:
        yield self
        for child in self.children:
            yield from child.walk()

    def all_text(self) -> str:
        return self.text + "".join(child.all_text() for child in self.children)

    def ancestors(self) -> Iterator[Element]:
        element = self.parent
        while element is not None:
            yield element
            element = element.parent


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("#root", {}, None)
        self.open = self.root
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.faults.append(f"<{tag}> has an attribute twice")
        element = Element(tag, {name: value or "" for name, value in attrs}, self.open)
        self.open.children.append(element)
        if tag not in VOID:
            self.open = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open.tag != tag:
            self.faults.append(f"</{tag}> closes <{self.open.tag}>")
        if self.open.parent is not None:
            self.open = self.open.parent

    def handle_data(self, data: str) -> None:
        self.open.text += data


def read(page: str) -> tuple[Element, list[str]]:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    if reader.open is not reader.root:
        reader.faults.append(f"<{reader.open.tag}> is not closed")
    return reader.root, reader.faults


#: The only other place that a page may link to: docs_url of the configuration, in the samples.
DOCS = "https://docs.example.com/"


def faults_of(page: str) -> list[str]:
    """What is wrong with a page; nothing, if it is well."""
    root, faults = read(page)
    every = list(root.walk())
    return [
        *faults,
        *_document(every),
        *_identifiers(every),
        *_names(every),
        *_headings(every),
        *_tables(every),
        *_nothing_active(every),
    ]


def _document(every: list[Element]) -> Iterator[str]:
    if [e.attributes.get("lang") for e in every if e.tag == "html"] != ["en"]:
        yield "html-has-lang"
    if not next((e.all_text().strip() for e in every if e.tag == "title" and _in(e, "head")), ""):
        yield "document-title"
    if sum(e.tag == "main" for e in every) != 1:
        yield "landmark-one-main"
    viewport = next((e.attributes["content"] for e in every if e.attributes.get("name") == "viewport"), "")
    if "width=device-width" not in viewport or "maximum-scale" in viewport or "user-scalable" in viewport:
        yield "meta-viewport"
    if any(e.attributes.get("http-equiv", "").lower() == "refresh" for e in every):
        yield "meta-refresh"
    skip = next((e for e in every if e.tag == "a"), None)
    if skip is None or skip.attributes.get("href") != "#main":
        yield "skip-link: the first link leads to the content"
    for element in every:
        if element.tag == "body":
            stray = [e.tag for e in element.children if e.tag not in ("header", "main", "footer", "a")]
            if stray:
                yield f"region: {stray} outside of landmarks"
        if element.attributes.get("tabindex", "0") not in ("0", "-1"):
            yield "tabindex"
    labels = [e.attributes.get("aria-label") for e in every if e.tag == "nav"]
    if None in labels or len(labels) != len(set(labels)):
        yield f"landmark-unique: {labels}"


def _identifiers(every: list[Element]) -> Iterator[str]:
    names = [e.attributes["id"] for e in every if "id" in e.attributes]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"duplicate-id {name}"
    for element in every:
        for attribute in ("aria-labelledby", "for"):
            if attribute in element.attributes and element.attributes[attribute] not in names:
                yield f"{attribute} names {element.attributes[attribute]}, which is not there"


def _names(every: list[Element]) -> Iterator[str]:
    labelled = {e.attributes.get("for") for e in every if e.tag == "label" and e.all_text().strip()}
    for element in every:
        attributes = element.attributes
        if (
            element.tag in CONTROLS - {"button"}
            and attributes.get("type") != "hidden"
            and attributes.get("id") not in labelled
        ):
            yield f"label: <{element.tag} name={attributes.get('name')}>"
        if element.tag in ("a", "button") and not _visible_text(element).strip():
            yield f"link-name: {attributes}"
        named = attributes.get("role") == "img" and any(e.tag == "title" for e in element.children)
        if element.tag == "svg" and "aria-hidden" not in attributes and not named:
            yield "svg-img-alt"
        if attributes.get("role") == "region" and not ({"aria-label", "aria-labelledby"} & attributes.keys()):
            yield "region without a name"
        if element.tag == "img" and "alt" not in attributes:
            yield "image-alt"


def _visible_text(element: Element) -> str:
    if element.attributes.get("aria-hidden") == "true":
        return ""
    return element.text + "".join(_visible_text(child) for child in element.children)


def _headings(every: list[Element]) -> Iterator[str]:
    levels = [int(e.tag[1]) for e in every if re.fullmatch("h[1-6]", e.tag)]
    if levels.count(1) != 1:
        yield f"page-has-heading-one: {levels.count(1)}"
    for before, after in pairwise(levels):
        if after > before + 1:
            yield f"heading-order: h{after} after h{before}"


def _tables(every: list[Element]) -> Iterator[str]:
    for table in (e for e in every if e.tag == "table"):
        inside = list(table.walk())
        if not any(e.tag == "caption" and e.all_text().strip() for e in inside):
            yield "table without a caption"
        if any(e.attributes.get("scope") not in ("col", "row") for e in inside if e.tag == "th"):
            yield "scope-attr-valid"
        wide = {sum(cell.tag in ("td", "th") for cell in e.children) for e in inside if e.tag == "tr"}
        if len(wide) > 1:
            yield f"rows of {wide} cells"
    for element in every:
        if element.tag == "li" and (element.parent is None or element.parent.tag not in ("ul", "ol")):
            yield "listitem"
        if element.tag in ("ul", "ol") and any(child.tag != "li" for child in element.children):
            yield "list"


def _nothing_active(every: list[Element]) -> Iterator[str]:
    """What the content security policy forbids: nothing of it may be on a page."""
    for element in every:
        if element.tag in ("script", "style", "iframe", "object", "embed", "base"):
            yield f"<{element.tag}>"
        for name, value in element.attributes.items():
            if name.startswith("on") or name == "style":
                yield f"<{element.tag} {name}>"
            documents = (element.tag, name) == ("a", "href") and value.startswith(DOCS)
            if name in ("href", "src", "action") and re.match(r"\s*(?:\w+:|//)", value) and not documents:
                yield f"{name} leads away: {value[:60]}"


def _in(element: Element, tag: str) -> bool:
    return any(one.tag == tag for one in element.ancestors())
