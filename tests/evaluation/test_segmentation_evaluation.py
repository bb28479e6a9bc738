# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The evaluation path: matching of classes, images that do not disturb one another, merging of processes."""

import numpy as np
import pytest
import torch

import oracle
from hfseg.data.readers.folders import load_folder
from hfseg.evaluation.labels import LabelMatch, match_labels
from hfseg.evaluation.prediction import Segmenter, predict_samples
from hfseg.evaluation.segmentation import TASKS, SegmentationMetrics, evaluate_segmentation, supported_tasks

LABELS = {0: "traffic light", 1: "car", 2: "sky"}


def test_equal_names_match_whatever_their_spelling():
    assert match_labels({0: "Traffic-Light", 1: "CAR", 2: "sky"}, LABELS) == LabelMatch((0, 1, 2), "id")


def test_match_by_name_leaves_out_what_the_other_side_lacks():
    match = match_labels({0: "sky", 1: "tree", 2: "traffic_light", 3: "bus"}, LABELS, by="name")
    assert match.to_dataset == (2, -1, 0, -1)
    assert match.not_in_dataset == ("tree", "bus") and match.not_in_model == ("car",)
    assert match.to_model([0, 2]) == [0, 2]


@pytest.mark.parametrize(
    "model_labels, by, message",
    [
        ({0: "car", 1: "sky", 2: "traffic light"}, None, "same classes in another order; --match_labels name"),
        ({0: "a", 1: "b", 2: "c"}, None, "but other names .*only the model has a, b, c.*--match_labels id"),
        ({0: "car", 1: "sky"}, None, "2 classes and the dataset 3 .*only the data has traffic light.* 2 common ones"),
        ({0: "a", 1: "b"}, None, "no name agrees"),
        ({0: "a", 1: "b"}, "name", "no name in common"),
        ({0: "car", 1: "sky"}, "id", "2 classes and the dataset 3, so ids cannot be matched"),
        ({0: "car", 2: "sky"}, "name", "without gaps"),
        (LABELS, "color", "not by 'color'"),
    ],
)
def test_what_does_not_match_is_explained(model_labels, by, message):
    with pytest.raises(ValueError, match=message):
        match_labels(model_labels, LABELS, by=by)


def test_foreign_classes_become_void():
    segment = Segmenter(oracle.processor(), LabelMatch((1, -1, 0, -1), "name"))
    labels = segment.semantic(torch.tensor([[0, 1], [2, 3]]))
    assert labels.tolist() == [[1, -1], [0, -1]]
    table = [{"id": 1, "label_id": 0, "score": 0.9}, {"id": 2, "label_id": 1, "score": 0.8}]
    result = segment.panoptic({"segmentation": torch.tensor([[1, 2, 0]]), "segments_info": table})
    assert result["segmentation"].tolist() == [[1, 0, 0]]
    assert result["segments_info"] == [{"id": 1, "label_id": 1, "score": 0.9}]


class Averaging(torch.nn.Module):
    """Every answer depends on the whole input, padding included."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.shapes = []

    def forward(self, pixel_values):
        self.shapes.append(tuple(pixel_values.shape))
        outputs = oracle.color_oracle(pixel_values * self.weight)
        outputs["masks_queries_logits"] = outputs["masks_queries_logits"] + pixel_values.mean((1, 2, 3), keepdim=True)
        return outputs


def examples():
    sizes = [(64, 96), (32, 32), (40, 90), (64, 96), (96, 64)]
    return [{"image": oracle.image_of(oracle.scene(max(h, 64), w, 3))[:h]} for h, w in sizes]


def test_a_image_gives_the_same_alone_and_in_a_batch():
    processor, model = oracle.processor(), Averaging()
    batched = list(predict_samples(model, processor, examples(), batch_size=5))
    assert [sample.index for sample in batched] == [0, 1, 2, 3, 4]
    # Images 0, 2 and 3 have one padded size.
    assert model.shapes == [(3, 3, 64, 96), (1, 3, 32, 32), (1, 3, 96, 64)]
    alone = list(predict_samples(model, processor, examples(), batch_size=1))
    workers = list(predict_samples(model, processor, examples(), batch_size=2, num_workers=1))
    for other in (alone, workers):
        for one, two in zip(batched, other):
            assert torch.equal(one.outputs.masks_queries_logits, two.outputs.masks_queries_logits)
            assert one.inner_size == two.inner_size == one.size
            assert np.array_equal(one.example["image"], two.example["image"])


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match="batch_size is 0"):
        next(predict_samples(Averaging(), oracle.processor(), examples(), batch_size=0))


def test_models_without_known_outputs_are_refused():
    model = torch.nn.Linear(1, 1)
    model.forward = lambda pixel_values: {"boxes": pixel_values}
    with pytest.raises(ValueError, match="returns boxes; evaluation needs"):
        next(predict_samples(model, oracle.processor(), examples()))


def test_evaluation_in_training_and_shared_by_processes(tmp_path):
    dataset = load_folder(
        oracle.write_panoptic(tmp_path / "data", [(64, 96), (64, 96), (96, 64)], mistakes=True), "val"
    )
    model, processor = oracle.OracleModel(oracle.OracleConfig()), oracle.processor()
    numbers = evaluate_segmentation(model, processor, dataset)
    assert {"pq", "sq", "rq", "pq_things", "pq_stuff", "mean_iou", "pixel_accuracy"} <= set(numbers)
    assert "ap" not in numbers and 50 < numbers["pq"] < 100

    segment = Segmenter(processor, LabelMatch.identity(4), [3])
    tasks = ("panoptic", "instance", "semantic")
    shares = []
    for batches in ([[2], [0]], [[1]]):  # in any order
        metrics = SegmentationMetrics(dataset, tasks, rank_images=True)
        for sample in predict_samples(model, processor, dataset, batches=batches):
            metrics.add(sample.index, sample.example, segment(sample, tasks))
        shares.append(metrics.state_dict())
    whole = SegmentationMetrics(dataset, tasks, rank_images=True)
    for sample in predict_samples(model, processor, dataset):
        whole.add(sample.index, sample.example, segment(sample, tasks))
    merged = SegmentationMetrics(dataset, tasks, rank_images=True)
    merged.load_states(shares)
    assert merged.indices == whole.indices == [0, 1, 2] and merged.image_scores == whole.image_scores
    merged_numbers, merged_rows = merged.compute()
    numbers_of_one, rows = whole.compute()
    assert merged_numbers == pytest.approx(numbers_of_one, abs=1e-10)
    assert all(one == pytest.approx(other) for one, other in zip(merged_rows, rows))
    assert numbers["pq"] == pytest.approx(numbers_of_one["pq"], abs=1e-10)
    with pytest.raises(ValueError, match="counted twice"):
        merged.load_states([shares[0], shares[0]])


def test_nothing_to_measure():
    with pytest.raises(ValueError, match="no images"):
        evaluate_segmentation(Averaging(), oracle.processor(), [])


def test_data_without_segmentation():
    reasons = supported_tasks(None, {"image": 0, "text": "a caption"})
    assert all("only image, text" in reasons[task] for task in TASKS)
