# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Prompted masks: a perfect model scores 100 by every prompt and reader; numbers of sets; the grid against a loop."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import BatchFeature

import hfseg
from hfseg.data.readers.promptable import boxes_of_masks
from hfseg.data.readers.promptable_sets import JoinedMasks
from hfseg.data.synthetic.shapes import render_scene
from hfseg.evaluation.promptable import PROMPTS, PromptableEvaluator, best_of_grid, evaluate_promptable
from hfseg.metrics import OracleIoU
from tiny_zoo import model_folder

IOUS = ("one_point_iou", "one_box_iou", "one_point_oracle_iou", "one_box_oracle_iou", "everything_iou")


class Processor:
    """Masks are logits at the size of the image, whatever it is; everything is kept."""

    def __call__(self, images, return_tensors, **prompts):
        image = np.asarray(images[0])
        given = {name: torch.as_tensor(value) for name, value in prompts.items()}
        return BatchFeature(
            {"pixel_values": torch.as_tensor(image)[None], "original_sizes": torch.tensor([image.shape[:2]]), **given}
        )

    def post_process_masks(self, masks, sizes):
        return list(masks > 0)

    def post_process_mask_generation(self, outputs, sizes):
        return [{"masks": outputs.pred_masks[0].flatten(0, 1) > 0}]


class Knows(nn.Module):
    """Knows the masks of every image; of a prompt it gives two masks, and trusts the first or the second."""

    def __init__(self, truth, trust=(1.0, 0.5)):
        super().__init__()
        self.truth, self.trust = truth, trust
        self.weight = nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(points_per_side=2)

    def get_image_embeddings(self, pixel_values):
        return self.truth[int(pixel_values[0, 0, 0, 0])]

    def forward(self, image_embeddings, original_sizes=None, points_per_side=None, input_points=None, input_boxes=None):
        masks = torch.from_numpy(image_embeddings)
        if input_points is not None:
            x, y = input_points[0].unbind(-1)
            inside = masks[:, y.long(), x.long()].T.int()  # (Q, N): the smallest mask around each point
            areas = torch.where(inside > 0, masks.flatten(1).sum(1), 1 << 30)
            masks = masks[areas.argmin(1)]
        elif input_boxes is not None:
            found = []
            for x0, y0, x1, y1 in input_boxes[0].int().tolist():
                within = [m for m in masks if m[y0:y1, x0:x1].sum() == m.sum() and m[y0].any() and m[y1 - 1].any()]
                found.append(within[0])
            masks = torch.stack(found)
        empty = torch.zeros_like(masks)
        pred = torch.stack((masks, empty), dim=1)[None].float() * 2 - 1  # (1, Q, 2, H, W)
        return SimpleNamespace(pred_masks=pred, iou_scores=torch.tensor(self.trust).expand(1, len(masks), 2))


def example(number: int) -> dict:
    """An image of 20 x 30 in one gray, with two or three masks that overlap."""
    masks = np.zeros((3, 20, 30), dtype=bool)
    masks[0, 1:15, 2:20], masks[1, 0:5, 14 + number : 24], masks[2, 12:19, 15:29] = True, True, True
    return {"image": np.full((20, 30, 3), number, dtype=np.uint8), "masks": list(masks[: 3 - number % 2])}


EXAMPLES = [example(number) for number in range(4)]
TRUTH = {number: np.stack(entry["masks"]) for number, entry in enumerate(EXAMPLES)}


def test_a_perfect_model_scores_100_by_every_prompt():
    numbers = evaluate_promptable(Knows(TRUTH).eval(), Processor(), EXAMPLES, prompts=PROMPTS)
    assert {name: numbers[name] for name in IOUS} == dict.fromkeys(IOUS, 100.0)
    assert numbers["everything_recall@0.5"] == 100.0 and numbers["num_masks"] == 10
    assert numbers["masks_generated"] == 2 * 10 / 4  # the empty ones too


def test_trust_counts_where_no_oracle_chooses():
    numbers = evaluate_promptable(
        Knows(TRUTH, trust=(0.1, 0.9)).eval(), Processor(), EXAMPLES, prompts=("point", "box")
    )
    assert numbers == {
        "one_point_iou": 0.0,
        "one_box_iou": 0.0,
        "one_box_oracle_iou": 100.0,
        "num_masks": 10,
    }


def test_boxes_are_asked_as_the_processor_says(monkeypatch):
    """With `box_zoom` the mask of a box is that of the pipeline, from the part of the image around it."""
    from transformers import pipeline

    pipe = pipeline("mask-generation", model=str(hfseg.checkpoint("unpairseg-tiny-shapes")))
    scene = render_scene(3, image_size=(192, 192), split="validation")
    masks = np.stack([scene.segmentation == thing.segment_id for thing in scene.objects])
    boxes = boxes_of_masks(torch.from_numpy(masks)).tolist()
    monkeypatch.setattr(pipe.image_processor, "box_zoom", 2.0)
    found = pipe(Image.fromarray(scene.image), input_boxes=boxes)["masks"]
    by_hand = 100 * np.mean([(m & f).sum() / (m | f).sum() for m, f in zip(masks, found, strict=True)])
    data = [{"image": scene.image, "masks": list(masks)}]
    zoomed = evaluate_promptable(pipe.model, pipe.image_processor, data, prompts=("point", "box"))
    assert zoomed["one_box_iou"] == pytest.approx(by_hand, abs=0.05)
    monkeypatch.setattr(pipe.image_processor, "box_zoom", None)
    whole = evaluate_promptable(pipe.model, pipe.image_processor, data, prompts=("point", "box"))
    assert abs(whole["one_box_iou"] - by_hand) > 0.5 and whole["one_point_iou"] == zoomed["one_point_iou"]


def test_sets_are_reported_apart():
    """Of the second set the model knows half of each mask."""
    halves = {number: masks.copy() for number, masks in TRUTH.items()}
    for number in (2, 3):
        halves[number][:, 1::2] = False
    sets = {}
    joined = JoinedMasks({"whole": EXAMPLES[:2], "half": EXAMPLES[2:]})
    numbers = evaluate_promptable(Knows(halves).eval(), Processor(), joined, prompts=("grid",), sets=sets)
    assert sets["whole"] == {"one_point_oracle_iou": 100.0, "num_masks": 5}
    by_hand = [100 * h.sum() / m.sum() for n in (2, 3) for h, m in zip(halves[n], TRUTH[n])]
    assert sets["half"]["one_point_oracle_iou"] == pytest.approx(np.mean(by_hand))
    assert numbers["one_point_oracle_iou"] == pytest.approx(np.mean([100] * 5 + by_hand))
    with pytest.raises(ValueError, match="shows no mask"):
        evaluate_promptable(Knows(TRUTH), Processor(), [{**EXAMPLES[0], "masks": []}])


def test_the_best_of_a_grid_is_that_of_all_masks_at_once():
    """A few prompts at a time, more than fit into one part."""
    generator = np.random.default_rng(0)
    masks, found = generator.random((5, 9, 11)) < 0.5, generator.normal(size=(1, 40, 3, 9, 11)).astype(np.float32)
    best = best_of_grid(Processor(), torch.from_numpy(found), None, masks)
    ours, reference = OracleIoU(), OracleIoU()
    ours.add(prediction=best, reference=masks)
    reference.add(prediction=found[0].reshape(-1, 9, 11) > 0, reference=masks)
    assert ours.compute() == reference.compute()


def test_the_command_and_its_options(tmp_path):
    folder = model_folder("unpairseg_masks", tmp_path)
    scenes = "shapes:num_scenes=2,image_size=48x64"
    result = hfseg.evaluate(
        folder, scenes, "promptable", points_per_side=2, prompts=["everything", "box"], device="cpu"
    )
    assert result.task == "mask-generation" and result.record["prompts"] == ["box", "everything"]
    assert set(result.metrics) == {
        "one_box_iou", "one_box_oracle_iou", "everything_iou", "everything_recall@0.5", "masks_generated", "num_masks",
    }  # fmt: skip
    with pytest.raises(ValueError, match="prompts must be some of point, box, grid, everything; got circle"):
        hfseg.evaluate(folder, scenes, prompts=["circle"], device="cpu")
    assert PromptableEvaluator.options_of_task["prompts"] == PROMPTS
