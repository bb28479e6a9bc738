# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Writes the example inputs: python scripts/write_examples.py NUCLEI_IMAGE HIPPOCAMPUS_VOLUME HIPPOCAMPUS_LABELS.

The scenes are drawn anew (test split); the micrograph is stored in gray, the volumes byte by byte.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from hfseg.data.readers.in_context import ShapesSource, find_task, make_pair
from hfseg.data.synthetic.shapes import render_scene

FOLDER = Path(__file__).parents[1] / "src" / "hfseg" / "examples"
DRAWN = "scene drawn by hfseg, test split"
SIDE = 192
# Name of the file to the number of its scene.
SCENES = {"scene.png": 4, "places.png": 9, "expressions.png": 11}
PAIRS = {"depth_query": 4, "depth_shown": 9}


def entries() -> list[dict]:
    """The list of examples, without the files."""
    scene = render_scene(SCENES["places.png"], image_size=(SIDE, SIDE), split="test")
    centers = {f"{thing.color} {thing.shape} {thing.size}": thing for thing in scene.objects}
    chosen = [centers["yellow triangle large"], centers["blue cross large"], centers["orange square medium"]]
    box = scene.segments_info[scene.objects.index(chosen[1])]["bbox"]
    places = [[round(value) for value in thing.center] for thing in chosen]
    common = {"data": "shapes", "file": "places.png", "about": DRAWN}
    return [
        {
            "name": "nuclei",
            "data": "nuclei",
            "tasks": ["universal"],
            "file": "nuclei.png",
            "about": "micrograph, BBBC038 (CC0), held out",
        },
        {
            "name": "hippocampus",
            "data": "hippocampus",
            "tasks": ["semantic"],
            "file": "hippocampus.nii.gz",
            "about": "MRI, Medical Segmentation Decathlon (CC BY-SA 4.0), held out; not a medical device",
        },
        {
            "name": "scene",
            "data": "shapes",
            "tasks": ["universal", "object-detection", "semantic"],
            "file": "scene.png",
            "about": DRAWN,
        },
        {
            "name": "names",
            "tasks": ["open-vocabulary"],
            "labels": ["cross", "square", "triangle", "sky", "grass", "water", "sand"],
            **common,
        },
        {"name": "points", "tasks": ["mask-generation"], "points": places, **common},
        {
            "name": "box",
            "tasks": ["mask-generation"],
            "boxes": [[box[0], box[1], box[0] + box[2], box[1] + box[3]]],
            **common,
        },
        {
            "name": "expressions",
            "data": "shapes",
            "tasks": ["referring"],
            "file": "expressions.png",
            "about": DRAWN,
            "text": ["the green triangle", "the second thing from the top", "the thing below the pink ring"],
        },
        {
            "name": "depth",
            "data": "shapes",
            "tasks": ["in-context"],
            "file": "depth_query.png",
            "pair": ["depth_shown.png", "depth_shown_target.png"],
            "about": f"depth from one example; {DRAWN}",
        },
    ]


def write_drawn(folder: Path) -> None:
    """Writes the scenes and the list."""
    for name, index in SCENES.items():
        scene = render_scene(index, image_size=(SIDE, SIDE), split="test")
        Image.fromarray(scene.image).save(folder / name, optimize=True)
    source = ShapesSource(split="test", image_size=(64, 64))
    for name, index in PAIRS.items():
        image, target = make_pair(find_task("depth_estimation"), source[index], np.random.default_rng(0))
        Image.fromarray(image).save(folder / f"{name}.png", optimize=True)
        if name == "depth_shown":
            Image.fromarray(target).save(folder / f"{name}_target.png", optimize=True)
    (folder / "examples.json").write_text(json.dumps(entries(), indent=1) + "\n", encoding="utf-8")


def main(nuclei: str, hippocampus: str, hippocampus_labels: str) -> None:
    """Writes everything."""
    FOLDER.mkdir(exist_ok=True)
    Image.open(nuclei).convert("L").save(FOLDER / "nuclei.png", optimize=True)
    shutil.copyfile(hippocampus, FOLDER / "hippocampus.nii.gz")
    shutil.copyfile(hippocampus_labels, FOLDER / "hippocampus_labels.nii.gz")
    write_drawn(FOLDER)


if __name__ == "__main__":
    main(*sys.argv[1:])
