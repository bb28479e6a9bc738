# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg evaluate` on an oracle: faultless labels give 100, planted faults their known counts, in every mode."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

import oracle
from forked_launch import forked_launch
from fresh_process import run_python
from hfseg.commands import main as hfseg_command
from hfseg.commands.evaluate import main
from hfseg.data.readers.folders import load_folder
from hfseg.data.specs import open_dataset
from hfseg.evaluation.closed_vocabulary import PROTOCOLS
from hfseg.metrics import MaskAP, MeanIoU, PanopticQuality
from hfseg.results.segmentation_result import encode_run_lengths

HERE = Path(__file__).parent
SIZES = [(64, 96), (96, 64), (64, 96), (80, 124), (64, 80)]


@pytest.fixture(scope="module", autouse=True)
def registered():
    oracle.register()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return oracle.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def panoptic(tmp_path_factory):
    return oracle.write_panoptic(tmp_path_factory.mktemp("data") / "blocks", SIZES)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    return oracle.write_panoptic(tmp_path_factory.mktemp("data") / "faulty", SIZES, mistakes=True)


def evaluate(model, dataset, output_dir, *more):
    words = ["--model", str(model), "--dataset", str(dataset), "--output_dir", str(output_dir), *map(str, more)]
    assert main(words) == 0
    return json.loads((output_dir / "metrics.json").read_text())


def test_faultless_labels_give_100_and_every_file(model, panoptic, tmp_path, capsys):
    report = evaluate(model, panoptic, tmp_path, "--split", "val", "--batch_size", 3, "--overlays", 1)
    for name in ("pq", "sq", "rq", "pq_things", "pq_stuff", "ap", "ap50", "mean_iou", "pixel_accuracy"):
        assert report["metrics"][name] == pytest.approx(100), name
    assert report["number_of_images"] == len(SIZES) and report["unit"] == "percent"
    assert report["tasks"] == ["panoptic", "instance", "semantic"] and report["tasks_left_out"] == {}
    assert report["thresholds"] == {
        "threshold": 0.8,
        "mask_threshold": 0.5,
        "overlap_mask_area_threshold": 0.8,
        "num_instances": 100,
    }
    assert set(report["averages"]) == set(report["metrics"])
    assert {"python", "torch", "transformers", "hfseg"} <= set(report["versions"])
    assert report["device"] and report["processes"] == 1 and report["protocol"]["name"] == "default"
    assert "--batch_size 3" in report["command"] and str(panoptic) in report["command"]
    with (tmp_path / "per_class.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["name"] for row in rows] == oracle.NAMES
    assert [row["kind"] for row in rows] == ["thing", "thing", "thing", "stuff"]
    assert all(float(row["pq"]) == float(row["iou"]) == 100 and row["fp"] == "0" for row in rows)
    images = sorted(path.name for path in (tmp_path / "overlays").iterdir())
    assert images == ["best_01_100_4.png", "worst_01_100_0.png"]
    image = Image.open(tmp_path / "overlays" / images[0])
    assert image.width > 2.5 * image.height > 0
    assert Image.open(tmp_path / "confusion.png").width > 200
    assert "5 samples" in capsys.readouterr().out


def test_result_file_is_what_the_hub_reads(model, panoptic, tmp_path):
    from huggingface_hub.repocard_data import model_index_to_eval_results

    evaluate(model, panoptic, tmp_path, "--limit", 1, "--task", "semantic", "--overlays", 0)
    content = yaml.safe_load((tmp_path / "model_index.yml").read_text())
    name, results = model_index_to_eval_results(content["model-index"])
    assert name == model.name
    assert {result.metric_type: result.metric_value for result in results}["mean_iou"] == 100
    assert all(result.task_type == "image-segmentation" and result.dataset_type == "blocks" for result in results)
    assert not (tmp_path / "overlays").exists()


def test_planted_faults_equal_a_direct_loop_and_hand_counts(model, faulty, tmp_path):
    report = evaluate(model, faulty, tmp_path, "--overlays", 2)
    dataset = load_folder(faulty, "val")
    processor = oracle.processor()
    quality = PanopticQuality(dataset.id2label, dataset.stuff_class_ids)
    precision = MaskAP(dataset.id2label, stuff_class_ids=dataset.stuff_class_ids)
    confusion = np.zeros((4, 4))
    renamed = outlined = 0
    for example in dataset:
        outputs = oracle.color_oracle(processor(example["image"], return_tensors="pt")["pixel_values"].float())
        place = {"target_sizes": [example["image"].shape[:2]]}
        result = processor.post_process_panoptic_segmentation(outputs, **place)[0]
        quality.add(prediction=result, reference=example)
        found = processor.post_process_instance_segmentation(outputs, **place)[0]
        entries = [
            {"segmentation": mask.numpy(), "category_id": segment["label_id"], "score": segment["score"]}
            for mask, segment in zip(found.binary_masks(), found["segments_info"])
        ]
        precision.add(prediction=entries, reference=example)
        truth = np.zeros(example["segmentation"].shape, dtype=int)
        for segment in example["segments_info"]:
            truth[example["segmentation"] == segment["id"]] = segment["category_id"]
        colors = example["image"][..., 0]
        np.add.at(confusion, (truth, np.array(oracle.CLASS_OF)[colors]), 1)
        renamed += (colors == 4).any()
        outlined += (colors == 5).any()
    expected = quality.compute()
    for name in ("pq", "sq", "rq", "pq_things", "pq_stuff"):
        assert report["metrics"][name] == pytest.approx(expected[name], abs=1e-9)
    assert report["metrics"]["ap"] == pytest.approx(precision.compute()["ap"], abs=1e-9)
    iou = np.diag(confusion) / (confusion.sum(0) + confusion.sum(1) - np.diag(confusion))
    assert report["metrics"]["mean_iou"] == pytest.approx(100 * iou.mean(), abs=1e-9)
    assert 1 < expected["pq"] < 100 and 0 < iou.min() < 1 and renamed and outlined
    with (tmp_path / "per_class.csv").open() as handle:
        rows = {row["name"]: row for row in csv.DictReader(handle)}
    assert int(rows["stone"]["fp"]) == renamed and int(rows["leaf"]["fn"]) == renamed
    assert float(rows["leaf"]["sq"]) < 100 and float(rows["cell"]["pq"]) == 100


@pytest.mark.parametrize(
    "mode",
    [
        ["--mode", "sliding", "--window", "64", "64", "--stride", "48", "32", "--weighting", "gaussian"],
        ["--mode", "multiscale", "--flip"],
        ["--mode", "multiscale", "--flip", "--window", "64", "48"],
    ],
    ids=["sliding", "flip", "flip-windows"],
)
def test_other_modes_give_the_same_for_an_oracle(model, panoptic, tmp_path, mode):
    report = evaluate(model, panoptic, tmp_path, "--batch_size", 2, "--overlays", 1, *mode)
    assert report["metrics"]["mean_iou"] == pytest.approx(100) and report["mode"]["name"] == mode[1]
    if mode[1] == "sliding":
        assert report["metrics"]["pq"] == pytest.approx(100) and set(report["tasks_left_out"]) == {"instance"}
    else:
        assert set(report["tasks_left_out"]) == {"panoptic", "instance"}


def test_object_maps_have_known_background(model, tmp_path):
    folder = oracle.write_maps(tmp_path / "data", "instances", SIZES[:3], names=["cell"])
    report = evaluate(model, folder, tmp_path / "out", "--match_labels", "name")
    assert report["tasks"] == ["panoptic", "instance"] and "background" in report["tasks_left_out"]["semantic"]
    assert report["metrics"]["ap"] == pytest.approx(100) and report["metrics"]["pq"] == pytest.approx(100)
    assert report["labels"]["unlabeled_pixels"] == "background"
    assert report["labels"]["only_in_model"] == ["stone", "leaf", "ground"]
    # A model that calls everything a cell is wrong in the background, void or not.
    (tmp_path / "eager").mkdir()
    eager = oracle.save_model(tmp_path / "eager", names=["other", "cell", "more", "ground"])
    report = evaluate(eager, folder, tmp_path / "out2", "--match_labels", "name")
    assert report["metrics"]["pq"] == 0
    with (tmp_path / "out2/per_class.csv").open() as handle:
        assert int(next(csv.DictReader(handle))["fp"]) > 0


def write_overlapping_instances(folder, file):
    """COCO instances of two images: the objects' boxes, which overlap, one crowd, and one object of another class."""
    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 10 + i, "name": oracle.NAMES[i]} for i in range(3)],
    }
    for number, (height, width) in enumerate(SIZES[:2]):
        colors = oracle.scene(height, width, seed=number)
        content["images"].append({"id": number, "file_name": f"{number}.png", "height": height, "width": width})
        for color in np.unique(colors).tolist():
            if color >= oracle.COLORS - 2:
                continue
            rows, columns = np.nonzero(colors == color)
            left, top, right, bottom = columns.min(), rows.min(), columns.max() + 9, rows.max() + 2
            corners = [left, top, right, top, right, bottom, left, bottom]
            mask = np.zeros((height, width), dtype=bool)
            mask[top:bottom, left:right] = True
            crowd = color == 4
            entry = {
                "id": len(content["annotations"]) + 1,
                "image_id": number,
                "category_id": 10 + (2 if color == 7 else oracle.CLASS_OF[color]),
                "iscrowd": int(crowd),
                "area": float(mask.sum()),
                "bbox": [int(left), int(top), int(right - left), int(bottom - top)],
                "segmentation": encode_run_lengths(mask) if crowd else [[float(corner) for corner in corners]],
            }
            content["annotations"].append(entry)
    (folder / file).write_text(json.dumps(content))
    return folder / file


def test_average_precision_is_that_of_pycocotools_on_the_same_files(model, tmp_path):
    """On annotations that overlap, which id maps cannot hold: through the command, and by pycocotools alone."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    folder = oracle.write_panoptic(tmp_path / "data", SIZES[:2])
    file = write_overlapping_instances(folder / "annotations", "instances_val.json")
    processor, found = oracle.processor(), []
    for number in range(2):
        image = np.array(Image.open(folder / f"images/val/{number}.png"))
        outputs = oracle.color_oracle(processor(image, return_tensors="pt")["pixel_values"].float())
        result = processor.post_process_instance_segmentation(outputs, target_sizes=[image.shape[:2]])[0]
        found += result.to_coco(number, category_ids={i: 10 + i for i in range(4)})
    truth = COCO(str(file))
    evaluation = COCOeval(truth, truth.loadRes(found), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    expected = 100 * evaluation.stats[0]
    assert 5 < expected < 95
    # The panoptic dataset with the annotations beside it, as the authors measure.
    report = evaluate(model, folder, tmp_path / "one", "--instance_annotations", file)
    assert report["metrics"]["ap"] == pytest.approx(expected, abs=1e-9)
    assert report["metrics"]["pq"] == pytest.approx(100) and report["labels"]["truth_of_ap"] == str(file)
    # They are found there by themselves, in training too; "none" takes the panoptic segments.
    report = evaluate(model, folder, tmp_path / "found")
    assert report["metrics"]["ap"] == pytest.approx(expected, abs=1e-9) and report["labels"]["truth_of_ap"] == str(file)
    report = evaluate(model, folder, tmp_path / "none", "--instance_annotations", "none")
    assert report["metrics"]["ap"] == pytest.approx(100) and report["labels"]["truth_of_ap"] is None
    # The same annotations as the dataset.
    report = evaluate(model, file, tmp_path / "two", "--match_labels", "name", "--task", "instance")
    assert report["metrics"]["ap"] == pytest.approx(expected, abs=1e-9)


def test_class_maps_and_a_model_of_transformers(model, tmp_path):
    folder = oracle.write_maps(tmp_path / "data", "labels", SIZES[:3])
    report = evaluate(model, folder, tmp_path / "one", "--overlays", 1)
    assert report["tasks"] == ["semantic"] and report["metrics"]["mean_iou"] == 100
    torch.manual_seed(0)
    labels = dict(enumerate(oracle.NAMES))
    config = SegformerConfig(
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
        id2label=labels,
        label2id={name: i for i, name in labels.items()},
    )
    segformer = SegformerForSemanticSegmentation(config).eval()
    segformer.save_pretrained(tmp_path / "segformer")
    processor = SegformerImageProcessor(size={"height": 64, "width": 64})
    processor.save_pretrained(tmp_path / "segformer")
    report = evaluate(tmp_path / "segformer", folder, tmp_path / "two")
    metric = MeanIoU(labels)
    for example in load_folder(folder, "val"):
        inputs = processor(example["image"], return_tensors="pt")
        with torch.no_grad():
            outputs = segformer(**inputs)
        size = example["image"].shape[:2]
        labeled = processor.post_process_semantic_segmentation(outputs, target_sizes=[size])[0]
        metric.add(prediction=labeled, reference=example["segmentation_map"])
    assert report["metrics"]["mean_iou"] == pytest.approx(metric.compute()["mean_iou"], abs=1e-6)


def test_classes_in_another_order_are_matched_by_name(panoptic, tmp_path, capsys):
    """The data's 'leaf' is the model's 'cell': by id the result is wrong, by name it is right."""
    order = ["leaf", "stone", "cell", "ground"]
    folder = oracle.write_panoptic(tmp_path / "data", SIZES[:2], names=order)
    model = oracle.save_model(tmp_path / "model", names=["leaf", "Stone", "cell", "ground"])
    assert evaluate(model, folder, tmp_path / "out")["metrics"]["pq"] == pytest.approx(100)
    renamed = oracle.save_model(tmp_path / "renamed", names=["ground", "leaf", "stone", "cell"])
    words = ["--dataset", str(folder), "--output_dir", str(tmp_path / "out2"), "--model", str(renamed)]
    assert main(words) == 2
    message = capsys.readouterr().err
    assert "same classes in another order" in message and "--match_labels name" in message
    report = evaluate(renamed, folder, tmp_path / "out2", "--match_labels", "name")
    assert report["labels"]["matched_by"] == "name" and report["metrics"]["pq"] < 50
    assert evaluate(renamed, folder, tmp_path / "out2", "--match_labels", "id")["metrics"]["pq"] == pytest.approx(100)


def test_two_processes_count_every_image_once(model, faulty, tmp_path):
    """Five images on two processes in batches of two: one process gets three, the other two."""
    single = evaluate(model, faulty, tmp_path / "one", "--batch_size", 2, "--overlays", 1)
    words = ["--model", str(model), "--dataset", str(faulty), "--output_dir", str(tmp_path / "two")]
    words += ["--batch_size", "2", "--overlays", "1", "--device", "cpu"]
    ranks = forked_launch(lambda rank: main(words), tmp_path)
    assert [rank.code for rank in ranks] == [0, 0], [rank.err[-2000:] for rank in ranks]
    double = json.loads((tmp_path / "two/metrics.json").read_text())
    assert double["processes"] == 2 and double["number_of_images"] == len(SIZES)
    assert double["metrics"] == pytest.approx(single["metrics"], abs=1e-10, nan_ok=True)
    for name in ("per_class.csv", "confusion.png"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    names = [sorted(path.name for path in (tmp_path / run / "overlays").iterdir()) for run in ("one", "two")]
    assert names[0] == names[1]


def bare(folder):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return folder


@pytest.mark.parametrize(
    "change, message",
    [
        ({"--model": "nowhere"}, "no model folder 'nowhere'"),
        ({"--model": "empty"}, "neither config.json nor model_index.json"),
        ({"--model": "bert"}, "has model_type 'bert'"),
        ({"--dataset": "nowhere"}, "no such folder or file"),
        ({"--dataset": "shapes:num_scenes=x"}, "'num_scenes=x' is not a setting"),
        ({"--dataset": "shapes:color=3"}, "'color=3' is not a setting"),
        ({"--dataset": "shapes:num_scenes=0"}, "not positive"),
        ({"--dataset": "shapes"}, "the model has 4 classes and the dataset 10"),
        ({"--dataset": "shapes", "--match_labels": "name"}, "no name in common"),
        ({"--dataset": "none"}, "no samples"),
        ({"--split": "test"}, "test"),
        ({"--instance_annotations": "nowhere.json"}, "no annotation file nowhere.json"),
        ({"--limit": "0"}, "limit must be 1 or more; got 0"),
        ({"--threshold": "1.5"}, "between 0 and 1"),
        ({"--mode": "sliding"}, "needs window"),
        ({"--mode": "multiscale"}, "needs scales"),
        ({"--scales": "0.5"}, "belong to mode multiscale"),
        ({"--mode": "sliding", "--window": "32 32", "--task": "instance"}, "task instance cannot be evaluated"),
    ],
)
def test_bad_input_is_one_line_and_status_2(change, message, model, panoptic, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    bare(tmp_path / "bert")
    if change.get("--dataset") == "none":
        (tmp_path / "none/images/val").mkdir(parents=True)
        (tmp_path / "none/annotations").mkdir()
        content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": n} for n in oracle.NAMES]}
        (tmp_path / "none/annotations/instances_val.json").write_text(json.dumps(content))
        message = ""  # the reader's own words
    options = {"--model": str(model), "--dataset": str(panoptic), "--output_dir": "out", **change}
    words = [word for name, value in options.items() for word in (name, *value.split(" "))]
    assert main(words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "out/metrics.json").exists()


def test_weights_of_another_class_are_not_measured(model, panoptic, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    folder = oracle.save_model(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    save_file({"other": weights["scale"]}, folder / "model.safetensors", metadata={"format": "pt"})
    assert main(["--model", str(folder), "--dataset", str(panoptic), "--output_dir", str(tmp_path / "out")]) == 2
    assert "lacks 1 weights of OracleModel (scale)" in capsys.readouterr().err


def test_a_damaged_image_is_named(model, tmp_path, capsys):
    folder = oracle.write_panoptic(tmp_path / "data", SIZES[:3])
    file = folder / "annotations/panoptic_val/1.png"
    labels = np.array(Image.open(file))
    labels[0, 0] = 99
    Image.fromarray(labels).save(file)
    assert main(["--model", str(model), "--dataset", str(folder), "--output_dir", str(tmp_path / "out")]) == 2
    assert "1.png" in capsys.readouterr().err


def test_specifications_and_protocols():
    dataset = open_dataset("shapes:num_scenes=3,image_size=40x56,seed=2", "val")
    assert len(dataset) == 3 and dataset.image_size == (40, 56) and dataset.split == "validation"
    assert open_dataset("shapes", "test").split == "test"
    coco, cityscapes = PROTOCOLS["coco-panoptic"].processor, PROTOCOLS["cityscapes"].processor
    assert coco["size"] == {"shortest_edge": 800, "longest_edge": 1333}
    assert cityscapes["size"] == {"shortest_edge": 1024, "longest_edge": 2048}
    for settings in (coco, cityscapes):
        assert settings["threshold"] == settings["overlap_mask_area_threshold"] == 0.8


def test_official_layouts_by_name(monkeypatch):
    from hfseg.data.readers import official

    opened = []
    monkeypatch.setattr(official, "official_names", lambda: ["city_panoptic"])
    monkeypatch.setattr(official, "load_official", lambda *arguments: opened.append(arguments))
    open_dataset("city_panoptic:some/where", "val")
    open_dataset("city_panoptic", None)
    assert opened == [("city_panoptic", "some/where", "val"), ("city_panoptic", None, "validation")]
    with pytest.raises(FileNotFoundError, match="no such folder or file"):
        open_dataset("mispelt", None)


def test_a_protocol_sets_sizes_and_thresholds(model, panoptic, tmp_path):
    words = ("--limit", 1, "--protocol", "cityscapes", "--no_resize", "--threshold", 0.3)
    report = evaluate(model, panoptic, tmp_path, *words)
    assert report["protocol"]["name"] == "cityscapes" and report["protocol"]["notes"]
    assert report["image_size"]["size"] == {"shortest_edge": 1024, "longest_edge": 2048}
    assert report["image_size"]["do_resize"] is False
    assert report["thresholds"]["threshold"] == 0.3 and report["thresholds"]["mask_threshold"] == 0.5


def test_it_is_a_command_of_hfseg(capsys):
    with pytest.raises(SystemExit) as stopped:
        hfseg_command.main(["evaluate", "--help"])
    assert stopped.value.code == 0 and "--dataset" in capsys.readouterr().out


def test_scripts_do_not_hide_the_package_of_the_same_name():
    """Python puts the folder of a script first on its path, and scripts/evaluate.py is named like a package.

    Those left out draw and write, and use no metric.
    """
    scripts = HERE.parent.parent / "scripts"
    names = sorted(
        {path.name for path in scripts.glob("*.py")} - {"draw_figures.py", "write_cards.py", "write_examples.py"}
    )
    code = (
        "import runpy, sys\n"
        f"for name in {names!r}:\n"
        f"    sys.path.insert(0, {str(scripts)!r})\n"
        f"    runpy.run_path({str(scripts)!r} + '/' + name, run_name='started')\n"
        "import evaluate\n"
        "print(hasattr(evaluate, 'Metric'))\n"
    )
    done = run_python(["-c", code], timeout=120)
    assert done.returncode == 0 and done.stdout.strip() == "True", done.stderr[-2000:]
