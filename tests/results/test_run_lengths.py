# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""COCO masks: polygons and run lengths bit-equal to pycocotools, without it, and safe on damaged input."""

import sys

import numpy as np
import pytest

from hfseg.results.run_lengths import (
    canonical_all,
    compress_all,
    decode_run_lengths,
    decode_segmentation,
    decompress_all,
    draw_polygons,
    encode_run_lengths,
)


def random_polygons(generator, height, width):
    """One or two outlines: anywhere, on whole or half pixels, with a point twice, and partly outside."""
    outlines = []
    for _ in range(generator.integers(1, 3)):
        points = generator.uniform(-0.3, 1.3, (generator.integers(3, 12), 2)) * [width, height]
        kind = generator.integers(4)
        points = np.round(points * kind) / kind if kind in (1, 2) else points
        points[1] = points[0] if kind == 3 else points[1]
        outlines.append(points.ravel().tolist())
    return outlines


def test_a07_polygons_are_bit_equal_to_pycocotools():
    coco = pytest.importorskip("pycocotools.mask")
    generator = np.random.default_rng(0)
    for _ in range(500):
        height, width = (int(side) for side in generator.integers(1, 70, 2))
        outlines = random_polygons(generator, height, width)
        reference = coco.decode(coco.merge(coco.frPyObjects(outlines, height, width))).astype(bool)
        np.testing.assert_array_equal(draw_polygons(outlines, (height, width)), reference)


def test_a07_polygons_by_hand():
    assert draw_polygons([[10, 10, 20, 10, 20, 20, 10, 20]], (30, 30)).sum() == 100
    angles = np.arange(24) * 2 * np.pi / 24
    outline = (np.stack([np.cos(angles), np.sin(angles)], 1) * 5 + 10).ravel().tolist()
    drawn = draw_polygons([outline], (20, 20))
    assert drawn.sum() == 80 and np.array_equal(drawn, drawn.T)
    two = [[0, 0, 4, 0, 4, 4, 0, 4], [2, 2, 6, 2, 6, 6, 2, 6]]
    assert draw_polygons(two, (8, 8)).sum() == 28  # the union


def test_a07_polygons_do_not_ask_for_pycocotools(monkeypatch):
    with_it = draw_polygons([[3.2, 4.1, 17.9, 6.0, 9.3, 18.4]], (20, 20))
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    np.testing.assert_array_equal(draw_polygons([[3.2, 4.1, 17.9, 6.0, 9.3, 18.4]], (20, 20)), with_it)
    mask = np.random.default_rng(0).random((9, 7)) < 0.5
    np.testing.assert_array_equal(decode_segmentation(encode_run_lengths(mask, True), (9, 7)), mask)


@pytest.mark.parametrize(
    "encoded, words",
    [
        ({"size": [16, 16], "counts": "1m0"}, "add up to|break off"),
        ({"size": [16, 16], "counts": "PP"}, "break off"),
        ({"size": [16, 16], "counts": "PPPPPPPPPPPPPPP1"}, "too large"),
        ({"size": [16, 16], "counts": "é"}, "ASCII"),
        ({"size": [16, 16], "counts": [-4, 260]}, "negative count -4 at index 0"),
        ({"size": [16, 16], "counts": [2**62, 2**62, 2**62, 2**62, 256]}, "add up to"),
        ({"size": [16, 16], "counts": [2**70]}, "whole numbers"),
        ({"size": [16, 16], "counts": [0.5, 255.5]}, "whole numbers"),
        ({"size": [16, 16], "counts": [[1], [2, 3]]}, "whole numbers"),
        ({"size": [16, 16], "counts": None}, "whole numbers"),
        ({"size": [16, 16]}, "whole numbers"),
        ({"size": [8, 32], "counts": [256]}, "but the image has 16 x 16"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "but the image has 16 x 16"),
        ({"size": [-16, -16], "counts": [256]}, "but the image has"),
        ({"size": "16", "counts": [256]}, "need 'size'"),
        ({"size": [16], "counts": [256]}, "need 'size'"),
        ({"size": [16, float("nan")], "counts": [256]}, "need 'size'"),
        ({"counts": [256]}, "need 'size'"),
        ([1, 1, 5, 1, 5, 5], "flat list"),
        ([[1, 1, 5, 1]], "polygon of 4 numbers"),
        ([[1, 1, 5, 1, 5, 5, 5]], "polygon of 7 numbers"),
        ([[1, 1, 1e9, 1, 5, 5]], "coordinate 1e"),
        ([[1, 1, float("nan"), 1, 5, 5]], "coordinate nan"),
        ([[1, 1, float("inf"), 1, 5, 5]], "coordinate inf"),
        ([[1, 1, "x", 1, 5, 5]], "something else than numbers"),
        ([[1, 1, None, 1, 5, 5]], "something else than numbers"),
        ([None], "inside a list of polygons"),
        ([], "only a box"),
        (None, "only a box"),
    ],
)
def test_a06_damaged_masks_are_errors_before_memory_is_spent(encoded, words):
    with pytest.raises(ValueError, match=words):
        decode_segmentation(encoded, (16, 16))


def test_a06_sizes_are_bounded_without_an_image():
    for size in ([10**9, 10**9], [10**6, 10**6], [0, 4]):
        with pytest.raises(ValueError, match="an image has 1 to"):
            decode_run_lengths({"size": size, "counts": [size[0] * size[1]]})
    with pytest.raises(ValueError, match="outline"):
        draw_polygons([[0, 0, 9, 159] * 200_000], (16, 16))


def test_a06_compressed_counts_that_do_not_fill_the_image():
    """pycocotools gives uninitialized memory here."""
    mask = np.zeros((24, 32), dtype=bool)
    mask[4:16, 4:20] = True
    encoded = encode_run_lengths(mask, compressed=True)
    assert decode_run_lengths(encoded).sum() == 192
    for counts in (encoded["counts"][:-2], encoded["counts"][:-4], encoded["counts"] + "5"):
        with pytest.raises(ValueError):
            decode_run_lengths({**encoded, "counts": counts})


def test_several_masks_are_coded_as_one_by_one():
    rng = np.random.default_rng(5)
    masks = [rng.random((17, 23)) < share for share in (0.0, 0.02, 0.5, 1.0)] + [np.eye(17, 23, dtype=bool)]
    encoded = [encode_run_lengths(mask) for mask in masks]
    texts = compress_all([np.array(item["counts"]) for item in encoded])
    assert texts == [encode_run_lengths(mask, compressed=True)["counts"] for mask in masks]
    for counts, item in zip(decompress_all([*texts, b""]), [*encoded, {"counts": []}]):
        assert counts.tolist() == item["counts"]
    mixed = [{"size": [17, 23], "counts": texts[0]}, encoded[1], {"size": [17, 23], "counts": texts[2].encode()}]
    assert canonical_all(mixed) == [{"size": [17, 23], "counts": text.encode()} for text in texts[:3]]
    assert compress_all([]) == [] and decompress_all([]) == [] and canonical_all([]) == []


def test_of_several_masks_the_damaged_one_is_named():
    good, short = encode_run_lengths(np.ones((4, 4)), compressed=True), {"size": [4, 4], "counts": "1"}
    with pytest.raises(ValueError, match="add up to 1, but the size 4 x 4 needs 16"):
        canonical_all([good, short])
    with pytest.raises(ValueError, match="break off"):
        canonical_all([good, {"size": [4, 4], "counts": good["counts"] + "o"}])
    with pytest.raises(ValueError, match="need 'size'"):
        canonical_all([good, "text"])
