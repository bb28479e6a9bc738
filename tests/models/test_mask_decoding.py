# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Mask decoders from configurations: numbers of queries, earlier predictions, the heat loss's weight."""

from types import SimpleNamespace

import pytest
import torch

from hfseg.losses.center_heat import center_heat_loss
from hfseg.models.mask_decoding import StuffClassesModel, auxiliary_predictions, heat_terms, num_queries_in_use


@pytest.mark.parametrize(
    "selection, most, training, expected",
    [("learned", 30, True, 10), ("learned", 30, False, 10), ("pixels", 30, True, 10), ("pixels", 30, False, 30),
     ("pixels", None, False, 20)],
)  # fmt: skip
def test_queries_in_use(selection, most, training, expected):
    config = SimpleNamespace(query_selection=selection, num_queries=10, max_queries=most)
    assert num_queries_in_use(config, training) == expected


def test_earlier_predictions_are_all_but_the_last():
    classes, embeddings = torch.randn(3, 2, 4, 6), torch.randn(3, 2, 4, 5)
    pixels = torch.randn(2, 5, 7, 8)
    valid = torch.tensor([[True, True, True, True], [True, True, False, True]])
    found = auxiliary_predictions(classes, embeddings, pixels, valid, precise=False)
    assert len(found) == 2
    for level, entry in enumerate(found):
        expected = torch.einsum("bqc,bchw->bqhw", embeddings[level], pixels)
        torch.testing.assert_close(entry["masks_queries_logits"], expected, atol=1e-5, rtol=1e-5)
        logits = entry["class_queries_logits"]
        assert torch.equal(logits[valid], classes[level][valid])
        assert logits[1, 2].argmax() == 5 and logits[1, 2].softmax(-1)[5] > 0.999  # an invalid query is "no object"


def test_the_heat_loss_is_weighted_and_stuff_has_no_center():
    heat = torch.randn(1, 8, 8)
    masks = torch.zeros(1, 2, 32, 32)
    masks[0, 0, 4:12, 4:12] = masks[0, 1, 16:, :] = 1
    labels = [torch.tensor([0, 3])]
    config = SimpleNamespace(stuff_class_ids=(3,), heat_weight=2.5)
    number = torch.tensor([4.0, 9.0])  # of targets, of labeled masks: the first counts
    (loss,) = heat_terms(config, heat, list(masks), labels, number).values()
    only = center_heat_loss(heat, [masks[0, :1]], [labels[0][:1]], (), torch.tensor(4.0))
    torch.testing.assert_close(loss, 2.5 * only)
    config.stuff_class_ids = None
    (both,) = heat_terms(config, heat, list(masks), labels, number).values()
    assert not torch.allclose(both, loss)
    assert heat_terms(config, None, list(masks), labels) == {}


def test_outputs_name_the_stuff_classes_and_count_the_learned_queries():
    class Model:
        def __init__(self, stuff, selection="learned"):
            self.config = SimpleNamespace(
                stuff_class_ids=stuff, query_selection=selection, num_learned_queries=7, num_queries=20
            )

        def __call__(self, output):
            return output

    class Named(StuffClassesModel, Model):
        pass

    learned = Named([2, 5])(SimpleNamespace())
    assert learned.stuff_class_ids == (2, 5)
    assert not hasattr(learned, "num_learned_queries")  # all queries are: the rows of the logits say how many
    from_pixels = Named(None, "pixels")(SimpleNamespace())
    assert not hasattr(from_pixels, "stuff_class_ids")
    assert from_pixels.num_learned_queries == 7
    assert Named([2], "pixels")((1, 2)) == (1, 2)
