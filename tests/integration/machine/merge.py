"""Puts TOML settings from standard input into a file, as a person would: `merge.py FILE`.

A table that the file has gets the keys, in place of those of the same name; any other table is added.
"""

import re
import sys
from pathlib import Path

HEADER = re.compile(r"^\[.+\]$")


def tables(text):
    """Pairs of header and lines; what stands before the first table has the header ""."""
    found = [("", [])]
    for line in text.splitlines():
        if HEADER.match(line):
            found.append((line, []))
        else:
            found[-1][1].append(line)
    return found


def key(line):
    return line.partition("=")[0].strip() if "=" in line else ""


path = Path(sys.argv[1])
before = tables(path.read_text())
for header, lines in tables(sys.stdin.read()):
    name = header.replace('"', "")
    there = next((kept for its, kept in before if header and its.replace('"', "") == name), None)
    if there is None:
        before.append((header, [*lines, ""]))
        continue
    replaced = {key(line) for line in lines if key(line)}
    there[:] = [*(line for line in lines if line), *(line for line in there if key(line) not in replaced)]
path.write_text(
    "\n".join(line for header, lines in before for line in (header, *lines) if line or not header) + "\n"
)
