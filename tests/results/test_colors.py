# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Colors of classes and objects: stable, and apart for everybody who reads a legend."""

import numpy as np
import pytest

from hfseg.results.colors import class_color, distinct_color, instance_color, object_numbers, segment_colors
from hfseg.results.drawing import LONGEST_LEGEND

# Linear RGB as dichromats see it: Machado, Oliveira & Fernandes (2009), severity 1.0.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip
# sRGB's primaries (IEC 61966-2-1), white D65.
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def to_lab(colors, vision):
    """CIE Lab of 8-bit sRGB colors (N, 3), as someone sees them."""
    values = np.asarray(colors) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(VISIONS[vision]).T, 0, 1)
    ratio = seen @ TO_XYZ.T / TO_XYZ.sum(1)
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def ciede2000(first, second):
    """Color difference of Lab colors (N, 3): Sharma, Wu & Dalal (2005)."""
    (l1, a1, b1), (l2, a2, b2) = np.asarray(first, float).T, np.asarray(second, float).T
    chroma = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(chroma / (chroma + 25**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    turn = (h2 - h1 + 180) % 360 - 180
    hue = h1 + turn / 2
    lightness, mean = (l1 + l2) / 2, (c1 + c2) / 2
    cosine = [np.cos(np.radians(k * hue + shift)) for k, shift in ((1, -30), (2, 0), (3, 6), (4, -63))]
    weight = 1 - 0.17 * cosine[0] + 0.24 * cosine[1] + 0.32 * cosine[2] - 0.2 * cosine[3]
    dl = (l2 - l1) / (1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2))
    dc = (c2 - c1) / (1 + 0.045 * mean)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * mean * weight)
    angle = np.radians(60 * np.exp(-((((hue % 360) - 275) / 25) ** 2)))
    return np.sqrt(dl**2 + dc**2 + dh**2 - 2 * np.sqrt(mean**7 / (mean**7 + 25**7)) * np.sin(angle) * dc * dh)


def smallest_difference(colors, vision):
    rows, columns = np.triu_indices(len(colors), 1)
    lab = to_lab(colors, vision)
    return ciede2000(lab[rows], lab[columns]).min()


def test_the_difference_is_that_of_the_published_pairs():
    """Pairs 1, 7, 17 and 25 of Sharma's table, and sRGB's white and red."""
    first = [[50, 2.6772, -79.7751], [50, 0, 0], [50, 2.5, 0], [60.2574, -34.0099, 36.2677]]
    second = [[50, 0, -82.7485], [50, -1, 2], [73, 25, -18], [60.4626, -34.1751, 39.4387]]
    assert ciede2000(first, second) == pytest.approx([2.0425, 2.3669, 27.1492, 1.2644], abs=1e-4)
    assert to_lab([[255, 255, 255], [255, 0, 0]], "normal") == pytest.approx(
        np.array([[100, 0, 0], [53.24, 80.09, 67.20]]), abs=0.02
    )


@pytest.mark.parametrize("vision", VISIONS)
def test_a_legend_can_be_read_by_everybody(vision):
    """Differences of 2.3 are just noticed side by side; a legend and a tint are apart."""
    for color in (class_color, distinct_color):
        colors = [color(index) for index in range(LONGEST_LEGEND)]
        assert smallest_difference(colors[:7], vision) > 10
        assert smallest_difference(colors, vision) > 8


def test_class_colors_are_distinct_and_stable():
    colors = [class_color(k) for k in range(120)]
    assert class_color(0) == (230, 159, 0) and len(set(colors)) == 120
    assert all(0 <= value <= 255 for color in colors for value in color)


def test_objects_have_their_colors_stuff_and_tracks_too():
    segments = [{"score": 0.9}, {"score": 0.8}, {"score": None}, {"score": 0.7, "was_fused": True}]
    colors, of_class = segment_colors(segments, [3, 3, 5, 6], "instance")
    assert distinct_color(1) == class_color(5)  # that of stuff, which objects do not have
    assert colors == [distinct_color(0), distinct_color(2), class_color(5), class_color(6)]
    assert of_class == [False, False, True, True]
    colors, _ = segment_colors(segments, [3, 3, 1, 0], "instance")  # stuff of the first two colors
    assert colors == [distinct_color(1), distinct_color(2), class_color(1), class_color(0)]
    assert segment_colors(segments, [3, 3, 5, 6], "class")[0][:2] == [instance_color(3, 0), instance_color(3, 1)]
    assert segment_colors([{"score": 1.0, "track": 9}], [3], "instance")[0] == [distinct_color(8)]


def test_objects_do_not_have_the_colors_of_stuff():
    numbers = object_numbers(300, [5, 7, 0])
    colors = [distinct_color(number) for number in numbers]
    assert len(numbers) == 300 and not {class_color(5), class_color(7), class_color(0)} & set(colors)
    assert len(set(colors)) == 117 and numbers[:3] == object_numbers(3, [5, 7, 0])
    assert object_numbers(3, range(200)) == [0, 1, 2]  # where no color is left, objects have those of classes
