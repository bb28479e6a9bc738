# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""UniSegFormer's heads: classes of pixels, dense logits, void and unknown classes."""

import pytest
import torch

from contract import peaked
from hfseg import UniSegFormerForSemanticSegmentation, UniSegFormerForUniversalSegmentation
from hfseg.models.unisegformer.heads_unisegformer import pixel_classes
from unisegformer_models import segments, tiny_config


def test_dense_logits_refine_the_coarser_ones():
    model = UniSegFormerForSemanticSegmentation(tiny_config()).eval()
    with torch.no_grad():
        maps = model.model(torch.randn(1, 3, 64, 96)).decoder_maps
        for classifier in model.dense_head.classifiers[:3]:  # only the coarsest speaks
            classifier.weight.zero_(), classifier.bias.zero_()
        logits = model.dense_head(maps)
        coarse = model.dense_head.classifiers[3](maps[3])
        for fine, finer in ((logits[2], logits[1]), (logits[1], logits[0])):
            enlarged = torch.nn.functional.interpolate(fine, size=finer.shape[-2:], mode="bilinear")
            torch.testing.assert_close(finer, enlarged)
    torch.testing.assert_close(logits[3], coarse)


def test_pixel_classes():
    id_map = torch.tensor([[0, 1], [2, 2]])
    masks = torch.tensor([[[1, 1], [0, 0]], [[0, 1], [0, 0]]], dtype=torch.bool)
    classes = torch.tensor([7, 3])
    found = pixel_classes([id_map, masks], [classes, classes], (2, 3), 255)
    assert found.tolist() == [[[255, 7, 255], [3, 3, 255]], [[7, 3, 255], [255, 255, 255]]]


def test_void_pixels_teach_nothing():
    torch.manual_seed(0)
    config = tiny_config(use_auxiliary_loss=False, train_num_points=2048)
    model = peaked(UniSegFormerForUniversalSegmentation(config)).eval()
    pixels, targets = torch.randn(1, 3, 64, 64), segments(1, 64, 64)
    void = targets["mask_labels"][0] == 0

    def losses(mask_labels, **more):
        torch.manual_seed(3)
        return model(pixels, mask_labels=[mask_labels], class_labels=targets["class_labels"], **more).loss_dict

    plain = losses(targets["mask_labels"][0])
    ignored = losses(targets["mask_labels"][0], void_masks=[void])
    # Another ground truth where nothing is known changes nothing; without void masks it does.
    other = torch.where(void, 2, targets["mask_labels"][0])
    for name in ("loss_mask", "loss_dice", "loss_ce"):
        torch.testing.assert_close(losses(other, void_masks=[void])[name], ignored[name])
    assert (losses(other)["loss_mask"] - plain["loss_mask"]).abs() > 1e-3
    # All void: mask terms vanish, and stay finite.
    everything = losses(targets["mask_labels"][0], void_masks=[torch.ones_like(void)])
    assert everything["loss_mask"] == 0 and torch.isfinite(everything["loss_dice"])
    with pytest.raises(ValueError, match="boolean of the size"):
        losses(targets["mask_labels"][0], void_masks=[void[:5]])


def test_classes_nobody_looked_for_are_no_mistake():
    """Raising the logit of a class that was not checked changes no loss; of a checked one, it does."""
    torch.manual_seed(0)
    model = UniSegFormerForUniversalSegmentation(tiny_config(use_auxiliary_loss=False)).eval()
    inputs = {"pixel_values": torch.randn(1, 3, 64, 64), **segments(1, 64, 64)}
    known = torch.tensor([[False, True, True, False, True]])

    def loss():
        torch.manual_seed(3)
        return model(**inputs, known_classes=known).loss_dict

    before = loss()
    with torch.no_grad():
        for bias in (model.mask_head.class_predictor.bias, *(one.bias for one in model.dense_head.classifiers)):
            bias[3] += 5
    after = loss()
    torch.testing.assert_close(list(after.values()), list(before.values()))
    with torch.no_grad():
        model.mask_head.class_predictor.bias[2] += 5
    assert loss()["loss_ce"] > before["loss_ce"] + 0.1
