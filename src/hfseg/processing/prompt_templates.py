# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Sentences around the name of a class, over which its text embedding is averaged.

`simple` has 5, `vild` the 14 of ViLD (the default of FC-CLIP's convention, which Unpair-Seg follows), `imagenet` the 80
that CLIP was evaluated with, `imagenet_vild` both.
"""

_SIZES = ("small", "medium", "large")
SIMPLE = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
)
VILD = (
    *SIMPLE,
    *(f"a photo of a {size} {{}}." for size in _SIZES),
    *(f"This is a photo of a {size} {{}}." for size in _SIZES),
    *(f"There is a {size} {{}} in the scene." for size in _SIZES),
)

# Images of CLIP's ImageNet evaluation, by their form: state of the photo, of the thing, work of art, material.
_STATES = ("bad", "cropped", "bright", "dark", "close-up", "black and white", "pixelated", "jpeg corrupted", "blurry",
           "good", "low resolution")  # fmt: skip
_THINGS = ("hard to see", "clean", "dirty", "cool", "nice", "weird", "small", "large")
_WORKS = ("a sculpture", "a rendering", "a drawing", "a painting", "a doodle", "a sketch", "a tattoo", "a rendition",
          "graffiti", "art", "itap")  # fmt: skip
_MATERIALS = ("embroidered", "origami", "plastic", "toy", "cartoon", "plushie")
_ARTICLES = ("a", "the")
IMAGENET = (
    *(f"a photo of {article} {{}}." for article in (*_ARTICLES, "one", "many", "my")),
    *(f"a {state} photo of {article} {{}}." for state in _STATES for article in _ARTICLES),
    *(f"a photo of {article} {thing} {{}}." for thing in _THINGS for article in _ARTICLES),
    *(f"{work} of {article} {{}}." for work in _WORKS for article in _ARTICLES),
    *(f"{article} {material} {{}}." for material in _MATERIALS for article in _ARTICLES),
    *(f"{article} {{}} in a video game." for article in _ARTICLES),
    "itap of my {}.",
)

TEMPLATES = {
    "simple": SIMPLE,
    "vild": VILD,
    "imagenet": IMAGENET,
    "imagenet_vild": (*IMAGENET, *VILD),
}

__all__ = ["IMAGENET", "SIMPLE", "TEMPLATES", "VILD"]
