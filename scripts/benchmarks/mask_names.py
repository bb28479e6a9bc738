# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Names of an open-vocabulary PRO-SCALE's masks on `shapes`: by mask class tokens, and by cropping each mask.

The baseline is what MaskCLIP's paper compares with: every mask is cut out and shown to the same CLIP as an image of its
own. Masks and their objectness are those of the model in all rows; only names differ.

Shape legend: H x W padded input, Q predicted masks, N true ones, D' dimension of CLIP's space.
"""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import AutoProcessor

from hfseg.data import ShapesDataset
from hfseg.evaluation.comparison import compare_segments
from hfseg.evaluation.labels import LabelMatch, embed_classes
from hfseg.evaluation.prediction import OpenVocabularySegmenter, open_vocabulary_samples
from hfseg.evaluation.segmentation import evaluate_open_vocabulary
from hfseg.pipelines.auto_models import AutoModelForOpenVocabularySegmentation
from hfseg.results.drawing import image_grid

TEMPLATES = ["An image of {}."]
# Side of a crop, relative to the longer side of the mask's box: as tight as a CLIP for `shapes` has seen things.
ENLARGED = 1.2
NUMBERS = {"mean_iou": "mIoU", "pq": "PQ", "pq_things": "PQ of things", "pq_stuff": "PQ of stuff"}
TOKENS, PLAIN = "mask class tokens", "mask class tokens, no relative attention"
CROPS, GRAY = "crops of each mask", "crops, the rest gray"
NOTES = [
    "Percent. Names of the ten classes, as 'An image of {}.'; masks and objectness are the model's in all rows.",
    f"Crops: squares around the box of a mask, {ENLARGED} times its longer side as far as the image reaches, shown "
    "to the same CLIP; 'the rest gray' hides what is outside of the mask.",
    "No relative attention: what has learned is left out, so that mask class tokens too have CLIP as it is; masks are "
    "not refined.",
    "right: share of the ground truth's segments whose best name is theirs, given the true masks.",
]


def frame(mask: torch.Tensor, enlarged: float = ENLARGED) -> tuple[slice, slice]:
    """Square around a mask, inside the image as far as it fits; the whole image where the mask is empty.

    Shape:
        mask: `(H, W)`, bool.
    """
    height, width = mask.shape
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    if len(rows) == 0:
        return slice(0, height), slice(0, width)
    side = enlarged * float(max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1)

    def span(places: torch.Tensor, length: int) -> slice:
        count = min(max(round(side), 1), length)
        start = round(float(places[0] + places[-1] + 1) / 2 - count / 2)
        start = min(max(start, 0), length - count)
        return slice(start, start + count)

    return span(rows, height), span(columns, width)


class CroppedNames(torch.nn.Module):
    """An open-vocabulary model whose masks are named by crops instead of its mask class tokens.

    Args:
        model: `ProScaleForOpenVocabularySegmentation`.
        hide: Whether what is outside of a mask is the mean color.
    """

    def __init__(self, model: Any, hide: bool = False) -> None:
        super().__init__()
        self.model, self.hide = model, hide

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return self.model.device

    def get_text_features(self, *given: Any) -> torch.Tensor:
        """See the model."""
        return self.model.get_text_features(*given)

    def describe(self, pixel_values: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Embeds the crop of every mask, normalized.

        Shape:
            pixel_values: `(1, 3, H, W)`; masks: `(Q, H, W)`, bool; output: `(Q, D')`.
        """
        crops = []
        for mask in masks:
            rows, columns = frame(mask)
            shown = pixel_values * mask if self.hide else pixel_values  # 0 is the mean color
            crops.append(self.model.clip_images(shown[:, :, rows, columns]))
        return F.normalize(self.model.mask_class_encoder.embed_images(torch.cat(crops)), dim=-1)

    def forward(self, pixel_values: torch.Tensor, text_embeds: torch.Tensor) -> Any:
        """Predicts as the model, with other names. Shape: as the model's."""
        outputs = self.model(pixel_values, text_embeds=text_embeds)
        size = (pixel_values.shape[-2], pixel_values.shape[-1])
        masks = F.interpolate(outputs.masks_queries_logits, size=size, mode="bilinear", align_corners=False)[0] > 0
        names = self.model.classify(self.describe(pixel_values, masks)[None], outputs.text_embeds)
        objectness = outputs.object_logits.float().log_softmax(-1)
        parts = (objectness[..., :1] + names.log_softmax(-1), objectness[..., 1:])
        outputs["class_queries_logits"] = torch.cat(parts, dim=-1)
        return outputs


def without_relative_attention(model: Any) -> Any:
    """Copies a model and leaves out what it adds to CLIP beside the tokens."""
    plain = copy.deepcopy(model)
    for layer in plain.mask_class_encoder.layers:
        layer.relative = None
    return plain


def true_segments(model: Any, processor: Any, dataset: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor, list[int]]]:
    """Network inputs, true masks at their size, and true classes, scene by scene.

    Shape:
        `(1, 3, H, W)`; `(N, H, W)`, bool.
    """
    for index in range(len(dataset)):
        scene = dataset[index]
        pixel_values = processor.image_processor(images=[scene["image"]], return_tensors="pt")["pixel_values"]
        ids = torch.from_numpy(np.asarray(scene["segmentation"]).astype(np.int64))[None, None].float()
        ids = F.interpolate(ids, size=pixel_values.shape[-2:], mode="nearest")[0, 0]
        segments = scene["segments_info"]
        masks = torch.stack([ids == segment["id"] for segment in segments])
        yield pixel_values.to(model.device), masks.to(model.device), [segment["category_id"] for segment in segments]


@torch.inference_mode()
def named_right(model: Any, processor: Any, dataset: Any, text_embeds: torch.Tensor) -> dict[str, dict[str, float]]:
    """Share of the true segments that get their name, by kind of naming; of things and of stuff."""
    right: dict[str, dict[bool, list[bool]]] = {name: {True: [], False: []} for name in (TOKENS, PLAIN, CROPS, GRAY)}
    stuff = set(dataset.stuff_class_ids)
    towers = {TOKENS: model.mask_class_encoder, PLAIN: without_relative_attention(model).mask_class_encoder}
    cropped = {CROPS: CroppedNames(model), GRAY: CroppedNames(model, hide=True)}
    for pixel_values, masks, classes in true_segments(model, processor, dataset):
        images = model.clip_images(pixel_values)
        logits = 20.0 * masks[None].float() - 10
        logits = F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
        embeds = {name: F.normalize(tower(images, logits).embeddings, dim=-1) for name, tower in towers.items()}
        embeds |= {name: rest.describe(pixel_values, masks)[None] for name, rest in cropped.items()}
        for name, values in embeds.items():
            best = model.classify(values, text_embeds)[0].argmax(-1).tolist()
            for one, true in zip(best, classes):
                right[name][true in stuff].append(one == true)
    share = lambda values: round(100 * float(np.mean(values)), 1)  # noqa: E731
    return {
        name: {
            "right": share([*kinds[False], *kinds[True]]),
            "right of things": share(kinds[False]),
            "right of stuff": share(kinds[True]),
        }
        for name, kinds in right.items()
    }


def draw_extremes(model: Any, processor: Any, dataset: Any, text_embeds: torch.Tensor, count: int = 3) -> Image.Image:
    """Draws the worst scenes, then the best, by the mean IoU of their classes: image, ground truth, prediction."""
    stuff = list(dataset.stuff_class_ids)
    segment = OpenVocabularySegmenter(
        processor.image_processor, LabelMatch.identity(len(dataset.id2label)), stuff
    )  # fmt: skip
    scored = []
    for sample in open_vocabulary_samples(model, processor, dataset, text_embeds, range(len(dataset))):
        found = segment(sample, ("panoptic", "semantic"))
        classes = {one["id"]: one["category_id"] for one in sample.example["segments_info"]}
        truth = np.vectorize(lambda key, known=classes: known.get(key, -1))(sample.example["segmentation"])
        ious = []
        for label in set(classes.values()):
            one, other = truth == label, found["semantic"] == label
            ious.append((one & other).sum() / max((one | other).sum(), 1))
        scored.append((float(np.mean(ious)), sample.index, sample.example, found["panoptic"]))
    scored.sort(key=lambda entry: entry[:2])
    chosen = [*scored[:count], *scored[-count:]]
    images = [
        compare_segments(np.asarray(example["image"]), example, found, dataset.id2label, stuff)
        for _, _, example, found in chosen
    ]
    titles = [f"scene {index}: mean IoU {100 * iou:.0f}" for iou, index, _, _ in chosen]
    return image_grid(images, 1, titles)


def mask_names_table(folder: str, scenes: int, image: str | None = None) -> tuple[dict[str, list[dict]], list[str]]:
    """Measures names by mask class tokens beside names by crops, on held-out scenes.

    Args:
        folder: Of the model, with its processor.
        scenes: Of the split `test`.
        image: PNG file for the worst and the best scenes.

    Raises:
        ValueError: The model looks at points.
    """
    model = AutoModelForOpenVocabularySegmentation.from_pretrained(folder).eval()
    if not hasattr(model, "mask_class_encoder"):
        raise ValueError(f"{folder} holds a {type(model).__name__}, which has no mask class tokens; give --folder.")
    processor, dataset = AutoProcessor.from_pretrained(folder), ShapesDataset("test", scenes)
    text_embeds = embed_classes(model, processor, dataset.id2label, templates=TEMPLATES)
    right = named_right(model, processor, dataset, text_embeds)
    ways: Sequence[tuple[str, Any]] = (
        (TOKENS, model),
        (PLAIN, without_relative_attention(model)),
        (CROPS, CroppedNames(model)),
        (GRAY, CroppedNames(model, hide=True)),
    )
    rows = []
    for name, named in ways:
        found = evaluate_open_vocabulary(named.eval(), processor, dataset, templates=TEMPLATES)
        numbers = {title: found.get(key) for key, title in NUMBERS.items()}
        rows.append({"names from": name, **numbers, **right[name]})
    if image is not None:
        draw_extremes(model, processor, dataset, text_embeds).save(Path(image))
    return {"Names of masks on shapes": rows}, [*NOTES, f"{scenes} scenes of the test split."]
