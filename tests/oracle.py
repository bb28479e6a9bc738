# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A model that segments images of colored blocks without fault, and such images with their labels.

The red value of a block of 4 x 4 pixels names the object; there is one query per color. The answer at a place depends
on the color there alone, so it moves with the image.
"""

import json

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForUniversalSegmentation, PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor

COLORS = 13
NAMES = ["cell", "stone", "leaf", "ground"]
# Class of every color: three things in turn; the last two colors are ground, which is stuff.
CLASS_OF = [3 if color >= COLORS - 2 else color % 3 for color in range(COLORS)]


def scene(height, width, seed=0):
    """Map of colors (H, W); every thing is connected, and that of color 0 is as wide as the image."""
    rng = np.random.default_rng(seed)
    ids = np.full((height // 4, width // 4), COLORS - 1)
    ids[: height // 8] = COLORS - 2
    ids[2:5, :] = 0
    for color in range(1, COLORS - 2):
        for _ in range(200):
            row, column = rng.integers(6, height // 4 - 4), rng.integers(0, width // 4 - 4)
            box = np.s_[row : row + rng.integers(4, 24), column : column + rng.integers(4, 24)]
            if (ids[box] >= COLORS - 2).all():
                ids[box] = color
                break
    return np.kron(ids, np.ones((4, 4), dtype=np.int64))


def image_of(colors):
    """Image (H, W, 3) of a map of colors."""
    image = np.zeros((*colors.shape, 3), dtype=np.uint8)
    image[..., 0] = colors
    return image


def color_oracle(pixel_values, stride=1):
    """Outputs with a certain query for each color; at strides above 1 resizing the masks rounds their corners."""
    colors = torch.arange(COLORS).reshape(1, -1, 1, 1)
    red = functional.avg_pool2d(pixel_values[:, :1], stride)
    logits = functional.one_hot(torch.tensor(CLASS_OF), 5).float() * 20
    return ModelOutput(
        class_queries_logits=logits.expand(len(pixel_values), -1, -1),
        masks_queries_logits=20 - 40 * (red - colors).abs().clamp(max=1),
    )


class OracleConfig(PreTrainedConfig):
    model_type = "color_oracle"


class OracleModel(PreTrainedModel):
    config_class = OracleConfig
    main_input_name = "pixel_values"

    def __init__(self, config):
        super().__init__(config)
        self.scale = nn.Parameter(torch.ones(1))
        self.post_init()

    def forward(self, pixel_values):
        return color_oracle(pixel_values * self.scale)


def register():
    """Makes the Auto classes know the oracle."""
    AutoConfig.register("color_oracle", OracleConfig, exist_ok=True)
    AutoModelForUniversalSegmentation.register(OracleConfig, OracleModel, exist_ok=True)


def processor(mask_stride=1, **changes):
    """Image processor that leaves pixels as they are."""
    settings = {"do_resize": False, "do_normalize": False, "do_rescale": False, "label_ids_to_fuse": [3], **changes}
    made = ProScaleImageProcessor(**settings)
    made.mask_stride = mask_stride
    return made


def save_model(folder, names=NAMES):
    """Writes the oracle as a model folder."""
    config = OracleConfig(id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})
    OracleModel(config).save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


def write_panoptic(folder, sizes, mistakes=False, names=NAMES, things=(0, 1, 2)):
    """Writes a COCO panoptic folder. With mistakes color 4 has another class, and color 5 another outline."""
    for part in ("images/val", "annotations/panoptic_val"):
        (folder / part).mkdir(parents=True)
    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 10 + i, "name": name, "isthing": int(i in things)} for i, name in enumerate(names)],
    }
    for number, (height, width) in enumerate(sizes):
        colors = scene(height, width, seed=number)
        Image.fromarray(image_of(colors)).save(folder / f"images/val/{number}.png")
        ids = np.where(colors >= COLORS - 2, COLORS, colors + 1)  # both colors of ground are one segment
        if mistakes and (colors == 5).any():
            top = np.flatnonzero((colors == 5).any(1))[0]
            ids[top : top + 4][ids[top : top + 4] == 6] = COLORS
        coded = np.stack([ids, np.zeros_like(ids), np.zeros_like(ids)], axis=-1).astype(np.uint8)
        Image.fromarray(coded).save(folder / f"annotations/panoptic_val/{number}.png")
        segments = []
        for segment_id in np.unique(ids).tolist():
            class_id = 3 if segment_id == COLORS else CLASS_OF[segment_id - 1]
            if mistakes and segment_id == 5:
                class_id = 2
            rows, columns = np.nonzero(ids == segment_id)
            box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
            segments.append(
                {"id": segment_id, "category_id": 10 + class_id, "iscrowd": 0, "area": len(rows), "bbox": box}
            )
        content["images"].append({"id": number, "file_name": f"{number}.png", "height": height, "width": width})
        content["annotations"].append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    (folder / "annotations/panoptic_val.json").write_text(json.dumps(content))
    return folder


def write_maps(folder, kind, sizes, names=NAMES):
    """Writes a folder of class maps (kind "labels") or of object maps of one class (kind "instances")."""
    for part in ("images/val", f"{kind}/val"):
        (folder / part).mkdir(parents=True)
    for number, (height, width) in enumerate(sizes):
        colors = scene(height, width, seed=number)
        Image.fromarray(image_of(colors)).save(folder / f"images/val/{number}.png")
        if kind == "labels":
            values = np.array(CLASS_OF)[colors]
        else:
            values = np.where(np.array(CLASS_OF)[colors] == 0, colors + 1, 0)
        Image.fromarray(values.astype(np.uint8)).save(folder / f"{kind}/val/{number}.png")
    (folder / "classes.json").write_text(json.dumps(list(names)))
    return folder
