# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Folders of drawn scenes."""

from PIL import Image

from hfseg.data.synthetic.shapes import render_scene

SIZE = (32, 40)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def scene(index):
    return render_scene(index, image_size=SIZE)


def expected_map(index, void=10):
    label = scene(index).semantic_map()
    label[:2, :2] = void
    return label
