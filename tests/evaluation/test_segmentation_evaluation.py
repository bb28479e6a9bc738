# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The evaluation path: matching of classes, images that do not disturb one another, merging of processes."""

import pytest

import oracle
from averaging_model import Averaging
from hfseg.data.readers.folders import load_folder
from hfseg.evaluation.labels import LabelMatch
from hfseg.evaluation.prediction import Segmenter, predict_samples
from hfseg.evaluation.segmentation import TASKS, SegmentationMetrics, evaluate_segmentation, supported_tasks


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


def test_cityscapes_ap_where_the_dataset_has_its_rules(tmp_path):
    model, processor = oracle.OracleModel(oracle.OracleConfig()), oracle.processor()
    sizes, numbers = [(64, 96), (96, 64)], {}
    for name in ("right", "wrong"):
        dataset = load_folder(oracle.write_panoptic(tmp_path / name, sizes, mistakes=name == "wrong"), "val")
        assert "cityscapes_ap" not in evaluate_segmentation(model, processor, dataset, tasks=("instance",))
        dataset.ap_rules = "cityscapes"
        numbers[name] = evaluate_segmentation(model, processor, dataset, tasks=("instance", "panoptic"))
    assert numbers["right"]["cityscapes_ap"] == pytest.approx(100)
    assert numbers["right"]["cityscapes_ap50"] == pytest.approx(100)
    # COCO's rules and these tell two different numbers of the same mistakes.
    assert 0 < numbers["wrong"]["cityscapes_ap"] < 100
    assert numbers["wrong"]["cityscapes_ap"] != pytest.approx(numbers["wrong"]["ap"], abs=0.01)
    segment = Segmenter(processor, LabelMatch.identity(4), [3])
    shares = []
    for batches in ([[1]], [[0]]):
        metrics = SegmentationMetrics(dataset, ("instance",))
        for sample in predict_samples(model, processor, dataset, batches=batches):
            metrics.add(sample.index, sample.example, segment(sample, ("instance",)))
        shares.append(metrics.state_dict())
    metrics = SegmentationMetrics(dataset, ("instance",))
    metrics.load_states(shares)
    merged, rows = metrics.compute()
    assert merged["cityscapes_ap"] == pytest.approx(numbers["wrong"]["cityscapes_ap"], abs=1e-10)
    own = [row["cityscapes_ap"] for row in rows if row["kind"] == "thing"]
    assert sum(own) / len(own) == pytest.approx(merged["cityscapes_ap"]) and "cityscapes_ap" not in rows[3]


def test_nothing_to_measure():
    with pytest.raises(ValueError, match="no images"):
        evaluate_segmentation(Averaging(), oracle.processor(), [])


def test_data_without_segmentation():
    reasons = supported_tasks(None, {"image": 0, "text": "a caption"})
    assert all("only image, text" in reasons[task] for task in TASKS)
