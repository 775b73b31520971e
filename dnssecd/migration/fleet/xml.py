"""XML files of at most some size as elements with their lines; document types and entities are refused.

Entities could read other files, or make a short text huge (RFC 7303 §10). OpenDNSSEC's files need none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from dnssecd.migration.fleet.model import BadConfig

_DEPTH_MAX = 100


@dataclass(slots=True)
class Element:
    """An element. text: its own text without spaces around it."""

    name: str
    where: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, path: str) -> Iterator[Element]:
        """Yield the elements at a path of names, such as ``Keys/KSK``."""
        first, _, rest = path.partition("/")
        for child in self.children:
            if child.name == first:
                if rest:
                    yield from child.all(rest)
                else:
                    yield child

    def first(self, path: str) -> Element | None:
        """Return the first element at a path, None if there is none."""
        return next(self.all(path), None)

    def value(self, path: str, default: str = "") -> str:
        """Return the text of the first element at a path."""
        found = self.first(path)
        return default if found is None else found.text


def parse(text: str, path: Path) -> Element:
    """Return the root element. Raise BadConfig with file and line."""
    parser: Any = expat.ParserCreate()
    stack: list[Element] = []
    roots: list[Element] = []

    def where() -> str:
        return f"{path}:{parser.CurrentLineNumber}"

    def refuse(*_: object) -> None:
        raise BadConfig(f"{where()}: document types and entities are refused; remove the declaration")

    def start(name: str, attributes: dict[str, str]) -> None:
        element = Element(name, where(), attributes)
        (stack[-1].children if stack else roots).append(element)
        stack.append(element)
        if len(stack) > _DEPTH_MAX:
            raise BadConfig(f"{where()}: elements are nested too deeply")

    def end(_: str) -> None:
        element = stack.pop()
        element.text = element.text.strip()

    def characters(data: str) -> None:
        stack[-1].text += data

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    parser.buffer_text = True
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise BadConfig(f"{path}:{error.lineno}: not XML: {expat.errors.messages[error.code]}") from None
    return roots[0]
