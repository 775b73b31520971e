"""Colours as people see them: contrast (WCAG 2.1), difference (CIE76), and with a lacking kind of cone.

The matrices for dichromats are those of Viénot, Brettel and Mollon (1999) for protan and deutan, and of Brettel's
simplification for tritan, on linear RGB.
"""

from __future__ import annotations

import re

Rgb = tuple[float, float, float]

SIGHTS: dict[str, tuple[Rgb, Rgb, Rgb]] = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
    "deutan": ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
    "tritan": ((1.01277, 0.13548, -0.14826), (-0.01243, 0.86812, 0.14431), (0.07589, 0.80500, 0.11911)),
}


def variables(sheet: str, scheme: str) -> dict[str, str]:
    """The colours of a style sheet by their names; those of the dark scheme replace the others."""
    light, _, dark = sheet.partition("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    if scheme == "dark":
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark.partition("}")[0]))
    assert len(found) > 15
    return found


def linear(colour: str) -> Rgb:
    def one(text: str) -> float:
        value = int(text, 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    return one(colour[1:3]), one(colour[3:5]), one(colour[5:7])


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        red, green, blue = linear(colour)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def difference(one: str, other: str, sight: str = "normal") -> float:
    """The distance in CIELAB; about 2 can just be noticed."""
    pairs = zip(_lab(_seen(one, sight)), _lab(_seen(other, sight)), strict=True)
    return float(sum((left - right) ** 2 for left, right in pairs) ** 0.5)


def _seen(colour: str, sight: str) -> Rgb:
    rgb = linear(colour)
    rows = [sum(weight * part for weight, part in zip(row, rgb, strict=True)) for row in SIGHTS[sight]]
    red, green, blue = (min(max(value, 0.0), 1.0) for value in rows)
    return red, green, blue


def _lab(rgb: Rgb) -> Rgb:
    red, green, blue = rgb
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089

    def curve(value: float) -> float:
        return value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116

    return 116 * curve(y) - 16, 500 * (curve(x) - curve(y)), 200 * (curve(y) - curve(z))
