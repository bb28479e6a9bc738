# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg predict`: every architecture from a folder to files, as its pipeline says; videos, volumes, bad input."""

import json
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from transformers import AutoImageProcessor, pipeline

from hfseg.commands.main import main
from hfseg.inference.video import VideoReader, VideoWriter
from hfseg.results.segmentation_result import decode_run_lengths
from tiny_zoo import example_pairs, image, model_folder, volume_file


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


def predict(*arguments):
    return main(["predict", *map(str, arguments)])


def read(folder, stem):
    """Id map and record of an image."""
    with Image.open(folder / f"{stem}_ids.png") as image:
        assert image.mode == "I;16"
        ids = np.array(image)
    return ids, json.loads((folder / f"{stem}.json").read_text())


def check_files(folder, stem, size):
    """Id map and COCO json say the same; returns them."""
    ids, record = read(folder, stem)
    assert ids.shape == size[::-1]
    assert record["images"][0] | {"file_name": ""} == {"id": 1, "file_name": "", "height": size[1], "width": size[0]}
    known = {category["id"] for category in record["categories"]}
    listed = {entry["id"] for entry in record["annotations"]}
    assert set(np.unique(ids).tolist()) - {0} <= listed
    for entry in record["annotations"]:
        mask = decode_run_lengths(entry["segmentation"])
        assert mask.shape == ids.shape and mask.sum() == entry["area"] and entry["category_id"] in known
        assert mask[ids == entry["id"]].all()  # where masks overlap, the map shows the best
    with Image.open(folder / f"{stem}_overlay.png") as overlay:
        assert overlay.size == size
    return ids, record


@pytest.mark.parametrize("subtask", [None, "instance", "semantic"])
def test_universal_model_as_its_pipeline(zoo, tmp_path, capsys, subtask):
    folder = model_folder("proscale", zoo)
    image().save(tmp_path / "a.png")
    chosen = ["--subtask", subtask] if subtask else []
    assert predict(tmp_path / "a.png", "--model", folder, "-o", tmp_path / "out", *chosen, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    (result,) = printed["results"]
    assert printed["errors"] == [] and printed["class"] == "ProScaleForUniversalSegmentation"
    _, record = check_files(tmp_path / "out", "a", (90, 60))
    expected = pipeline("image-segmentation", model=str(folder))(image(), subtask=subtask or "panoptic")
    assert expected and len(record["annotations"]) == len(expected) == len(result["segments"])
    for entry, segment in zip(expected, record["annotations"]):
        assert entry["label"] == segment["label"]
        assert np.array_equal(np.asarray(entry["mask"]) > 0, decode_run_lengths(segment["segmentation"]))
        assert (entry["score"] or 0) == pytest.approx(segment["score"] or 0, abs=1e-6)
    if subtask == "semantic":  # ids mean the same class in every image
        assert all(segment["id"] == segment["category_id"] + 1 for segment in record["annotations"])


def test_instances_below_the_processors_threshold_are_left_out(zoo, tmp_path):
    folder = model_folder("proscale", zoo)
    image().save(tmp_path / "a.png")
    counts = []
    for chosen in ([], ["--threshold", 0], ["--threshold", 0.99]):
        out = tmp_path / f"out{len(counts)}"
        assert predict(tmp_path / "a.png", "--model", folder, "-o", out, "--subtask", "instance", *chosen) == 0
        scores = [entry["score"] for entry in read(out, "a")[1]["annotations"]]
        assert len(chosen) or all(score >= AutoImageProcessor.from_pretrained(folder).threshold for score in scores)
        counts.append(len(scores))
    assert counts[2] <= counts[0] < counts[1]


def test_a_legend_stands_beside_the_overlay(zoo, tmp_path):
    image().save(tmp_path / "a.png")
    folder = model_folder("proscale", zoo)
    assert (
        predict(tmp_path / "a.png", "--model", folder, "-o", tmp_path / "out", "--subtask", "semantic", "--legend") == 0
    )
    with Image.open(tmp_path / "out/a_overlay.png") as overlay:
        assert overlay.width > 90 and overlay.height == 60


def test_the_time_is_that_of_reading_model_and_files(zoo, tmp_path, capsys, monkeypatch):
    import time

    from hfseg.inference import predict as room

    plain = room.write_prediction
    monkeypatch.setattr(room, "write_prediction", lambda *args: (time.sleep(0.3), plain(*args))[1])
    image().save(tmp_path / "a.png")
    assert predict(tmp_path / "a.png", "--model", model_folder("vpnext", zoo), "-o", tmp_path / "out", "--json") == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["seconds"] >= 0.3


@pytest.mark.parametrize("name", ["vpnext", "unisegformer", "unisegformer_semantic", "meddensevit"])
def test_other_closed_vocabularies(zoo, tmp_path, name, capsys):
    image().save(tmp_path / "a.png")
    assert predict(tmp_path / "a.png", "--model", model_folder(name, zoo), "-o", tmp_path / "out") == 0
    check_files(tmp_path / "out", "a", (90, 60))
    assert "a.png: " in capsys.readouterr().out


def test_tiles(zoo, tmp_path):
    image(100, 150).save(tmp_path / "a.png")
    for name, tile in (("proscale", 64), ("vpnext", 64)):
        out = tmp_path / name
        assert predict(tmp_path / "a.png", "--model", model_folder(name, zoo), "-o", out, "--tile", tile) == 0
        check_files(out, "a", (150, 100))


def test_expressions(zoo, tmp_path):
    image().save(tmp_path / "a.png")
    arguments = ["--model", model_folder("cris", zoo), "-o", tmp_path / "out", "--threshold", 0.01]
    assert predict(tmp_path / "a.png", *arguments, "--text", "the red star", "the circle") == 0
    _, record = check_files(tmp_path / "out", "a", (90, 60))
    assert [entry["label"] for entry in record["annotations"]] == ["the red star", "the circle"]


def test_names_points_boxes_and_everything(zoo, tmp_path):
    folder, file = model_folder("unpairseg", zoo), tmp_path / "a.png"
    image().save(file)
    assert predict(file, "--model", folder, "-o", tmp_path / "names", "--labels", "a b, c; d") == 0
    _, record = check_files(tmp_path / "names", "a", (90, 60))
    assert record["annotations"] and {entry["label"] for entry in record["annotations"]} <= {"a b", "d"}
    # The same folder takes points and boxes, without names; and no prompt at all.
    assert predict(file, "--model", folder, "-o", tmp_path / "points", "--points", "10,20", "70,30") == 0
    _, record = check_files(tmp_path / "points", "a", (90, 60))
    found = pipeline("mask-generation", model=str(folder))(image(), input_points=[[10, 20], [70, 30]])
    for index, entry in enumerate(record["annotations"]):
        assert entry["label"] == f"point {index + 1}"
        assert np.array_equal(decode_run_lengths(entry["segmentation"]), found["masks"][index])
    assert predict(file, "--model", folder, "-o", tmp_path / "box", "--box", "5,5,60,50") == 0
    assert read(tmp_path / "box", "a")[1]["annotations"][0]["label"] == "box 1"
    without = ["--box", "5,5,60,50", "--negative_points", "30,30"]
    assert predict(file, "--model", folder, "-o", tmp_path / "without", *without) == 0
    assert not decode_run_lengths(read(tmp_path / "without", "a")[1]["annotations"][0]["segmentation"])[30, 30]
    masks = model_folder("unpairseg_masks", zoo)
    assert predict(file, "--model", masks, "-o", tmp_path / "all") == 0
    assert check_files(tmp_path / "all", "a", (90, 60))[1]["annotations"]


def test_examples(zoo, tmp_path):
    image().save(tmp_path / "a.png")
    common = [
        "--model",
        model_folder("lavin_dit", zoo),
        "--examples",
        example_pairs(tmp_path / "pairs"),
        "--num_inference_steps",
        2,
    ]
    assert predict(tmp_path / "a.png", *common, "-o", tmp_path / "depth", "--task", "depth") == 0
    with Image.open(tmp_path / "depth/a_answer.png") as answer:
        assert answer.size == (90, 60)  # the image's, not the network's
    assert np.load(tmp_path / "depth/a_decoded.npy").shape == (32, 32)
    assert predict(tmp_path / "a.png", *common, "-o", tmp_path / "mask", "--task", "mask") == 0
    ids, record = check_files(tmp_path / "mask", "a", (90, 60))
    assert [entry["label"] for entry in record["annotations"]] == ["mask"] * len(record["annotations"])
    assert ids.max() <= 1
    assert predict(tmp_path / "a.png", *common, "-o", tmp_path / "box", "--task", "detection") == 0
    decoded = json.loads((tmp_path / "box/a.json").read_text())["info"].get("decoded")
    assert decoded is None or len(decoded) == 4


def test_volume(zoo, tmp_path, capsys):
    nibabel = pytest.importorskip("nibabel")
    file = volume_file(tmp_path / "scan.nii.gz")
    folder = model_folder("meddensevit", zoo)
    assert predict(file, "--model", folder, "-o", tmp_path / "out", "--json", "--quiet") == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    written, source = nibabel.load(tmp_path / "out/scan_segmentation.nii.gz"), nibabel.load(file)
    assert written.shape == source.shape and np.array_equal(written.affine, source.affine)
    counts = np.bincount(np.asarray(written.dataobj).ravel(), minlength=4)
    millilitres = [segment["milliliters"] for segment in result["segments"]]
    assert millilitres == pytest.approx((counts * 1.5 * 1.0 * 3.0 / 1000).tolist(), abs=1e-3)
    assert "not a medical device" in result["notice"]
    with Image.open(tmp_path / "out/scan_overlay.png") as image:
        assert image.height >= 400
    # A model of photographs says so.
    assert predict(file, "--model", model_folder("vpnext", zoo), "-o", tmp_path / "no") == 1
    assert "scan.nii.gz is a volume" in capsys.readouterr().err


# Videos.


def frames_of(count, size=(48, 32)):
    for index in range(count):
        frame = np.full((size[1], size[0], 3), 60, dtype=np.uint8)
        frame[8:24, 4 + 2 * index : 16 + 2 * index] = (220, 40, 40)
        yield Image.fromarray(frame)


def test_video_command(zoo, tmp_path, capsys):
    pytest.importorskip("av", reason="extra `video`")
    with VideoWriter(tmp_path / "clip.mp4", Fraction(10)) as writer:
        for frame in frames_of(3):
            writer.write(frame)
    folder = model_folder("proscale", zoo)
    assert predict(tmp_path / "clip.mp4", "--model", folder, "-o", tmp_path / "out", "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["frames"] == 3
    record = json.loads((tmp_path / "out/clip.json").read_text())
    for index, frame in enumerate(record["frames"]):
        with Image.open(tmp_path / f"out/clip_ids/{index:06d}.png") as image:
            listed = {segment["id"] for segment in frame["segments"]}
            assert set(np.unique(np.array(image)).tolist()) - {0} <= listed
    kept = [{segment["id"] for segment in frame["segments"]} for frame in record["frames"]]
    assert kept[0] & kept[1]  # something stays
    assert len(list(VideoReader(tmp_path / "out/clip_overlay.mp4"))) == 3
    # A cut file: what can be read is kept, and the error says where it ends.
    content = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    assert predict(tmp_path / "cut.mp4", "--model", folder, "-o", tmp_path / "out") == 1
    assert "cut.mp4" in capsys.readouterr().err
    # A folder of frames, in the order of their numbers.
    for index, frame in enumerate(frames_of(11)):
        (tmp_path / "frames").mkdir(exist_ok=True)
        frame.save(tmp_path / f"frames/{index}.png")
    reader = VideoReader(tmp_path / "frames")
    assert [int(np.argmax(np.asarray(frame)[15, :, 0] > 150)) for frame in reader] == [4 + 2 * i for i in range(11)]


# What is asked wrongly, and damaged input.


def test_the_rest_of_the_folder_goes_on(zoo, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("img10.png", "img2.png"):
        image().save(data / name)
    (data / "broken.png").write_bytes((data / "img2.png").read_bytes()[:300])
    (data / "empty.jpg").touch()
    (data / "notes.txt").write_text("not an image")
    Image.new("F", (8, 8)).save(data / "float.tif")
    folder = model_folder("vpnext", zoo)
    assert predict(data, "--model", folder, "-o", tmp_path / "out", "--json") == 1
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert [result["input"].rsplit("/", 1)[1] for result in printed["results"]] == ["img2.png", "img10.png"]
    assert len(printed["errors"]) == 3
    for name in ("broken.png", "empty.jpg", "float.tif"):
        assert sum(name in error["message"] for error in printed["errors"]) == 1
    assert "2 of 5 segmented" in captured.err and "Traceback" not in captured.err
    left = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert left == [f"img{n}{end}" for n in (10, 2) for end in (".json", "_ids.png", "_overlay.png")]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["photo.png", "--model", "no/such/model"], ["no/such/model"]),
        (["missing.png", "--model", "{vpnext}"], ["missing.png"]),
        (["https://example.org/a.png", "--model", "{vpnext}"], ["Only local files", "example.org"]),
        (["photo.png", "--model", "{vpnext}", "--text", "the dog"], ["VPNeXt", "does not take text"]),
        (["photo.png", "--model", "{vpnext}", "--subtask", "panoptic"], ["knows no objects"]),
        (["photo.png", "--model", "{cris}"], ["Cris", "needs text"]),
        (["photo.png", "--model", "{cris}", "--text", " "], ["empty"]),
        (["photo.png", "--model", "{lavin_dit}"], ["LavinDiTPipeline", "needs examples"]),
        (["photo.png", "--model", "{proscale}", "--threshold", "1.5"], ["1.5", "between 0 and 1"]),
        (["photo.png", "--model", "{proscale}", "--tile", "3"], ["tile is 3", "16"]),
        (["photo.png", "--model", "{vpnext}", "--device", "cuda:77"], ["cuda:77"]),
        (["empty", "--model", "{vpnext}"], ["empty", "nothing to segment"]),
    ],
)
def test_wrong_command_lines(zoo, tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    image().save("photo.png")
    (tmp_path / "empty").mkdir()
    given = [str(model_folder(text[1:-1], zoo)) if text.startswith("{") else text for text in arguments]
    assert predict(*given, "-o", "out") == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and len(message.splitlines()) == 1
    assert all(word in message for word in words), message


@pytest.mark.parametrize("text", ["1", "1,2,3", "a,b", ""])
def test_points_that_are_none(text, capsys):
    with pytest.raises(SystemExit) as stop:
        predict("a.png", "--model", "m", "-o", "out", "--points", text)
    assert stop.value.code == 2 and "x,y" in capsys.readouterr().err


# The command itself.
