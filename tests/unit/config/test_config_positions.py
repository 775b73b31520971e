"""Line numbers of TOML keys agree with what tomllib reads."""

import tomllib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dnssecd.config.positions import key_lines

TEXT = (
    '''# a comment with = and [brackets]
top = 1
[server]
listen = [
  "a",   # one ] comment
  "b",
]
a.b.c = """
many = "lines"
[not.a.table]"""

[zone."example.com."]
grants = [{ tsig = "x", types = ["TXT",
   "A"] }, { tsig = 'y' }]
"quoted \\"key\\"" = 2020-01-01 10:00:00
[[item]]
n = 1
[[item]]
n = 2
[item.sub]
m = '''
    """
"""
)


def test_every_kind_of_key_has_its_line() -> None:
    lines = key_lines(TEXT)
    assert lines[("top",)] == 2
    assert lines[("server",)] == 3
    assert lines[("server", "listen", 1)] == 6
    assert lines[("server", "a", "b", "c")] == 8
    assert lines[("zone", "example.com.", "grants", 0, "types", 1)] == 14
    assert lines[("zone", "example.com.", "grants", 1, "tsig")] == 14
    assert lines[("zone", "example.com.", 'quoted "key"')] == 15
    assert lines[("item", 0, "n")] == 17
    assert lines[("item", 1, "n")] == 19
    assert lines[("item", 1, "sub", "m")] == 21


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        inner = [p for key, child in value.items() for p in _paths(child, (*path, key))]
    elif isinstance(value, list):
        inner = [p for index, child in enumerate(value) for p in _paths(child, (*path, index))]
    else:
        inner = []
    return [path, *inner] if path else inner


def test_every_path_of_the_example_is_found() -> None:
    text = (Path(__file__).parents[3] / "config.example.toml").read_text()
    lines = key_lines(text)
    missing = [path for path in _paths(tomllib.loads(text)) if path not in lines]
    assert missing in ([], [("keystore",), ("policy",), ("zone",)])  # tables made by their children alone


_scalars = st.one_of(
    st.integers(-9, 9).map(str),
    st.sampled_from(["true", "1.5", "2020-01-01", "'single # ] }'", '"double \\" , ] # }"']),
    st.sampled_from(['"""a""""', "'''\n[x]\n'''", '"""\nk = 1\n\\""""', '""""""']),
)
_keys = st.sampled_from(["a", "b-1", '"c.d"', "'e # f'", "g . h", '"\\u00e9"'])
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3).map(lambda items: "[\n" + ", # c ]\n".join(items) + "\n]"),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_keys, _values), max_size=6, unique_by=lambda pair: pair[0]))
def test_generated_documents(pairs: list[tuple[str, str]]) -> None:
    text = ""
    expected = {}
    for key, value in pairs:
        expected[key] = text.count("\n") + 1
        text += f"{key} = {value} # end\n"
    parsed = tomllib.loads(text)
    lines = key_lines(text)
    assert set(_paths(parsed)) <= set(lines)
    for key, line in expected.items():
        path = tuple(_paths(tomllib.loads(f"{key} = 0"))[-1])
        assert lines[path] == line
