# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The evaluation of in-context tasks, images and clips: what it feeds, what it compares, and that its command works."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg import LavinDiTPipeline, LavinDiTScheduler, LavinDiTTransformer3DModel, PixelAutoencoder
from hfseg.commands.evaluate import main
from hfseg.data.readers.in_context import NotInSampleError, ShapesSource
from hfseg.evaluation.in_context import InContextEvaluator, TaskPairs, measure_image, open_data, predictions
from hfseg.metrics.in_context import TASK_METRICS, InContextMetric
from hfseg.models.lavin_dit.pipeline_lavin_dit import LavinDiTExamples
from hfseg.results.visual_formats import FORMATS
from lavin_dit_models import TINY

SIZE = (32, 32)


@pytest.fixture(scope="module")
def source():
    return ShapesSource(split="test", num_scenes=6, image_size=SIZE, in_memory=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluated")
    vae = PixelAutoencoder(2, sample_height=32, sample_width=32)
    LavinDiTPipeline(LavinDiTTransformer3DModel(**TINY), vae, LavinDiTScheduler()).save_pretrained(path)
    return path


class Oracle:
    """A pipeline that knows the function which turns queries into answers, and keeps what it was shown."""

    def __init__(self, answer):
        self.answer, self.shown = answer, []

    def prepare_examples(self, pairs, height, width, generator=None):
        self.shown.append(pairs)
        return LavinDiTExamples(torch.zeros(1, 1, 1, 1, 1), torch.zeros(1, 1, 1), height, width, 1, 1)

    def __call__(self, queries, examples, **settings):
        assert len(examples.latents) == len(queries) == len(settings["generator"])
        return SimpleNamespace(images=[Image.fromarray(self.answer(query)) for query in queries])


def settings(num_examples, examples=None, batch_size=4, seed=0):
    """Options of the evaluator."""
    sampling = {"num_inference_steps": 2, "guidance_scale": 1.0, "seed": seed}
    return SimpleNamespace(num_examples=num_examples, examples=examples, batch_size=batch_size, limit=None, **sampling)


def measured(task, source, answer, size=SIZE, number=2, batch=4):
    options = settings(number, batch_size=batch)
    pipe, pairs = Oracle(answer), TaskPairs(task, source, size, 0)
    metric = InContextMetric(task, only=tuple(n for n in TASK_METRICS[task] if n not in ("lpips", "fid")))
    names = []
    for _, given, target, record, name in predictions(pipe, pairs, None, options):
        measure_image(metric, given, target, record, size)
        names.append(name)
    return metric.compute(), pipe, names


def test_colorization_by_hand(source):
    """The answer is the gray query; the error is that of pixels over ImageNet's spread."""
    found, pipe, names = measured("colorization", source, lambda query: query)
    expected = []
    for index in range(6):
        image = source[index]["image"]
        gray = (image @ np.array([0.2989, 0.587, 0.114])).astype(np.uint8)[..., None]  # BT.601, truncated
        expected.append((((gray.astype(float) - image) / 255 / [0.229, 0.224, 0.225]) ** 2).mean())
    assert found["mse"] == pytest.approx(np.mean(expected), rel=0.02) and names == [str(i) for i in range(6)]
    assert all(len(pairs) == 2 for pairs in pipe.shown)


def test_answers_in_other_units_and_sizes(source):
    """Depth: any increasing affine image of the truth is perfect but for its 256 levels; also at another size."""
    images = {record["image"].tobytes(): record["depth"] for record in (source[index] for index in range(6))}

    def answer(query):
        image = FORMATS["depth"].encode(images[query.tobytes()])
        return (image // 2 + 60).astype(np.uint8)

    found, _, _ = measured("depth_estimation", source, answer, batch=1)
    assert found["abs_rel"] < 0.02 and found["delta1"] == 100
    found, _, _ = measured(
        "depth_estimation", source, lambda query: np.kron(answer(query), np.ones((2, 2, 1), np.uint8))
    )
    assert found["abs_rel"] < 0.05
    flat, _, _ = measured("depth_estimation", source, lambda query: np.zeros_like(query))
    assert flat["abs_rel"] > 0.2


@pytest.mark.parametrize("task", ["foreground_segmentation", "single_object_detection", "normal_estimation"])
def test_the_right_answer_is_perfect(task, source):
    pairs = TaskPairs(task, source, SIZE, 0)
    answers = {}
    for index in range(6):
        given, target, _ = pairs.pair(index)
        answers[given.tobytes()] = target
    found, _, _ = measured(task, source, lambda query: answers[query.tobytes()])
    if task == "normal_estimation":
        assert found["mean_angle"] < 0.6 and found["within_11.25"] == 100
    else:
        assert found == {"mean_image_iou": 100.0}


def test_a_query_is_no_example_of_its_own_where_its_dataset_is_named_again(folder):
    """`--examples` with the dataset itself, which may be opened with other settings."""
    from hfseg.evaluation import in_context
    from hfseg.evaluation.runner import evaluate

    seen, own = [], in_context.TaskPairs.examples

    def noted(self, index, *arguments):
        pairs = own(self, index, *arguments)
        seen.append((self.source[index]["image"], [given for given, _ in pairs]))
        return pairs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_context.TaskPairs, "examples", noted)
        data = "shapes:num_scenes=5,image_size=32"
        given = {"num_inference_steps": 1, "guidance_scale": 1.0, "only": ["abs_rel"], "num_examples": 4}
        evaluate(str(folder), data, task="depth_estimation", examples=data, **given)
    assert len(seen) == 5
    for image, shown in seen:
        assert len(shown) == 4 and not any(np.array_equal(image, other) for other in shown)


def test_hole_and_degradations_are_made_at_the_networks_size(source):
    """The paper's hole is 128 pixels wide at the network's size, not at the image's."""
    pairs = TaskPairs("inpainting", source, (512, 512), 0)
    given, target, _ = pairs.pair(0)
    hole = (given == 0).all(-1) & (target != 0).any(-1)
    rows, columns = np.nonzero(hole)
    assert target.shape == (512, 512, 3) and np.ptp(rows) + 1 == np.ptp(columns) + 1 == 128
    assert np.array_equal(given[~hole], target[~hole])
    small = TaskPairs("inpainting", source, SIZE, 0).pair(0)
    assert 200 < (small[0] != small[1]).any(-1).sum() <= 256


def test_queries_are_not_their_own_examples(source):
    pairs = TaskPairs("colorization", source, SIZE, 0)
    for query in range(6):
        shown = pairs.examples(query, 5, query)
        assert len(shown) == 5 and not any(np.array_equal(t, source[query]["image"]) for _, t in shown)
    with pytest.raises(ValueError, match="only 5 samples"):
        pairs.examples(0, 6, 0)
    assert len(pairs.examples(0, 6, None)) == 6


def test_every_query_has_noise_of_its_own(source):
    seeds = []

    class Noisy(Oracle):
        def __call__(self, queries, examples, **settings):
            seeds.extend(generator.initial_seed() for generator in settings["generator"])
            return super().__call__(queries, examples, **settings)

    options = SimpleNamespace(
        num_examples=1, examples=None, batch_size=4, limit=None, num_inference_steps=2, guidance_scale=1.0, seed=3
    )
    pairs = TaskPairs("colorization", source, SIZE, 0)
    assert len(list(predictions(Noisy(lambda query: query), pairs, None, options))) == 6
    assert seeds == [3 * 1_000_003 + index for index in range(6)]


def test_examples_of_other_data_may_stand_at_the_querys_place(source):
    """Two examples are wanted and two are there, at the places of the first two queries."""
    others = ShapesSource(split="test", num_scenes=2, image_size=SIZE, in_memory=True)
    options = SimpleNamespace(
        num_examples=2, examples="x", batch_size=4, limit=None, num_inference_steps=2, guidance_scale=1.0, seed=0
    )
    pairs, partners = TaskPairs("colorization", source, SIZE, 0), TaskPairs("colorization", others, SIZE, 1)
    pipe = Oracle(lambda query: query)
    assert len(list(predictions(pipe, pairs, partners, options))) == 6
    assert all(len(shown) == 2 for shown in pipe.shown)


def test_generated_images_are_compared_at_the_networks_size():
    added = []
    metric = SimpleNamespace(task="depth_to_image", add=lambda *given: added.append([part.shape for part in given]))
    answer, target = np.zeros((64, 96, 3), np.uint8), np.zeros((32, 40, 3), np.uint8)
    measure_image(metric, answer, target, {}, (64, 96))
    assert added == [[(64, 96, 3), (64, 96, 3)]]


def test_data_without_the_task_are_an_error(folder, tmp_path, capsys, monkeypatch):
    def nothing(self, index):
        raise NotInSampleError("no such thing")

    monkeypatch.setattr(TaskPairs, "pair", nothing)
    arguments = ["--model", str(folder), "--dataset", "shapes:num_scenes=4", "--output_dir", str(tmp_path)]
    assert main([*arguments, "--task", "depth_estimation"]) == 2
    assert "shows nothing of depth_estimation" in capsys.readouterr().err
    assert not (tmp_path / "metrics.json").exists()


def test_disparity_is_drawn_and_aligned_alike(source):
    """An image of disparity: perfect there, wrong where depth is aligned."""
    pairs = TaskPairs("depth_estimation", source, SIZE, 0, depth_space="disparity")
    _, target, record = pairs.pair(0)
    errors = {}
    for space in ("disparity", "depth"):
        metric = InContextMetric("depth_estimation", depth_space=space)
        measure_image(metric, target, target, record, SIZE)
        errors[space] = metric.compute()["abs_rel"]
    assert errors["disparity"] < 0.01 < errors["depth"]
    nearest = np.unravel_index(record["depth"].argmin(), record["depth"].shape)
    assert target[nearest].max() == 0  # black is near, whatever the space
    source.inverse_depth = True
    try:
        with pytest.raises(ValueError, match="disparities of unknown shift"):
            TaskPairs("depth_estimation", source, SIZE, 0)
    finally:
        del source.inverse_depth


def test_examples_of_another_source_keep_the_class():
    class Fold(ShapesSource):
        def category(self, index):
            return index % 3

        def of_category(self, category):
            return [place for place in range(len(self)) if place % 3 == category]

    queries = TaskPairs("foreground_segmentation", Fold(split="test", num_scenes=6, image_size=SIZE), SIZE, 0)
    others = Fold(split="train", num_scenes=12, image_size=SIZE, in_memory=True)
    pairs = TaskPairs("foreground_segmentation", others, SIZE, 1)
    for index in range(3):
        shown = [given for given, _ in pairs.examples(index, 3, None, queries.category(index))]
        own = [others[place]["image"] for place in others.of_category(index)]
        assert all(any(np.array_equal(given, image) for image in own) for given in shown)


def test_pascal_examples_are_of_the_querys_class():
    class Fold(ShapesSource):
        def partners(self, index):
            return [place for place in range(len(self)) if place % 2 == index % 2 and place != index]

    fold = Fold(split="test", num_scenes=6, image_size=SIZE, in_memory=True)
    pairs = TaskPairs("foreground_segmentation", fold, SIZE, 0)
    shown = [given for given, _ in pairs.examples(2, 2, 2)]
    assert all(any(np.array_equal(given, fold[place]["image"]) for place in (0, 4)) for given in shown)


def test_command(folder, tmp_path, capsys):
    arguments = [
        "--model",
        str(folder),
        "--dataset",
        "shapes:num_scenes=4",
        "--num_inference_steps",
        "2",
        "--num_examples",
        "1",
    ]
    output = tmp_path / "out"
    assert main([*arguments, "--task", "depth_estimation", "--output_dir", str(output), "--overlays", "2"]) == 0
    report = json.loads((output / "metrics.json").read_text())
    assert set(report["metrics"]) == {"abs_rel", "delta1", "mse"} and report["number_of_images"] == 4
    assert report["sampling"]["size"] == [32, 32] and "depth_estimation" in report["command"]
    assert len(list((output / "overlays").glob("*.png"))) == 2
    page = (output / "report.html").read_text()
    assert page.count("<img") == 2 and f"{report['metrics']['abs_rel']:.4g}" in page and report["command"] in page
    assert "abs_rel" in capsys.readouterr().out
    again = tmp_path / "again"  # the batch size changes nothing
    main([*arguments, "--task", "depth_estimation", "--output_dir", str(again), "--batch_size", "3"])
    assert json.loads((again / "metrics.json").read_text())["metrics"] == pytest.approx(report["metrics"], rel=1e-4)


def test_examples_of_a_folder(folder, tmp_path, source):
    examples = tmp_path / "template"
    examples.mkdir()
    for index in range(2):
        for kind in ("input", "target"):
            Image.fromarray(source[index]["image"]).save(examples / f"{index}_{kind}.png")
    arguments = [
        "--model",
        str(folder),
        "--dataset",
        "shapes:num_scenes=3",
        "--num_inference_steps",
        "2",
        "--num_examples",
        "2",
    ]
    arguments += ["--only", "mse", "--examples", str(examples), "--output_dir", str(tmp_path / "out")]
    assert main([*arguments, "--task", "colorization"]) == 0
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert report["examples"]["from"] == str(examples) and set(report["metrics"]) == {"mse"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--task", "gray_depth_estimation"], "must be one of depth_estimation"),
        (["--task", "pose_estimation"], "needs keypoints, which the data do not have"),
        (["--num_examples", "0"], "num_examples must be 1 or more; got 0"),
        (["--num_examples", "9"], "only 3 samples besides the query"),
        (["--height", "33"], "height is 33"),
        (["--dataset", "nyuv2"], "has no path: give nyuv2:PATH"),
        (["--dataset", "nyuv2:/nowhere"], "nowhere"),
        (["--dataset", "heaps:x"], "is not known"),
        (["--dataset", "shapes:scenes=3"], "scenes"),
        (["--only", "psnr"], "its numbers are abs_rel, delta1"),
        (["--dataset", "shapes:num_scenes=3,num_frames=5"], "needs depth, image"),
    ],
)
def test_user_errors(changed, message, folder, tmp_path, capsys):
    base = {"--task": "depth_estimation", "--dataset": "shapes:num_scenes=4", "--num_examples": "1"}
    base[changed[0]] = changed[1]
    arguments = ["--model", str(folder), "--output_dir", str(tmp_path), "--num_inference_steps", "2"]
    assert main(arguments + [word for pair in base.items() for word in pair]) == 2
    assert message in capsys.readouterr().err


def test_specifications(tmp_path, source):
    for index in range(3):
        Image.fromarray(source[index]["image"]).save(tmp_path / f"{index}.png")
    (tmp_path / "depth").mkdir()
    assert len(open_data(f"images:{tmp_path}", SIZE, 2, 0)) == 2
    with pytest.raises(ValueError, match="4 images are wanted"):
        open_data(f"images:{tmp_path}", SIZE, 4, 0)
    depth = tmp_path.parent / "labels"
    depth.mkdir(exist_ok=True)
    for index in range(3):
        np.save(depth / f"{index}.npy", source[index]["depth"])
    labeled = open_data(f"labeled:{tmp_path},depth_folder={depth}", SIZE, None, 0)
    assert np.array_equal(labeled[1]["depth"], source[1]["depth"])


def test_a_large_folder_gives_the_papers_number_of_images(tmp_path, monkeypatch):
    monkeypatch.setattr("hfseg.evaluation.in_context.PAPER_IMAGES", 3)
    for index in range(5):
        Image.fromarray(np.full((8, 8, 3), index, np.uint8)).save(tmp_path / f"{index}.png")
    drawn = open_data(f"images:{tmp_path}", SIZE, None, 0)
    assert len(drawn) == 3 and len(open_data(f"images:{tmp_path}", SIZE, 5, 0)) == 5


@pytest.mark.parametrize(
    "task, numbers",
    [
        ("optical_flow", {"epe"}),
        ("video_instance_segmentation", {"j&f", "j", "f"}),
        ("video_depth_estimation", {"abs_rel", "delta1", "mse"}),
        ("frame_prediction", {"psnr", "ssim"}),
        ("panoptic_segmentation", {"pq", "sq", "rq"}),
    ],
)
def test_tasks_beyond_the_papers_tables(task, numbers, folder, tmp_path):
    """From the command to the numbers; clips as clips, `shapes` with its 17 frames unless told otherwise."""
    arguments = ["--model", str(folder), "--task", task, "--dataset", "shapes:num_scenes=3", "--num_examples", "1"]
    assert main([*arguments, "--num_inference_steps", "1", "--output_dir", str(tmp_path), "--overlays", "1"]) == 0
    (file,) = tmp_path.glob("*.json")
    assert set(json.loads(file.read_text())["metrics"]) == numbers


def test_the_right_clip_is_perfect():
    """Through pairs, queries and sizes; ids of segments survive another size because colors are not mixed."""
    source = ShapesSource(split="test", num_scenes=3, image_size=(48, 64), num_frames=3, in_memory=True)
    for task, name, least in (
        ("video_instance_segmentation", "j&f", 99.9),
        ("video_normal_estimation", "within_11.25", 99),
    ):
        pairs = TaskPairs(task, source, SIZE, 0)
        answers = {pair[0].tobytes(): pair[1] for pair in map(pairs.pair, range(3))}

        class Clips(Oracle):
            def __call__(self, queries, examples, **settings):
                large = [np.kron(self.answer(query), np.ones((1, 2, 2, 1), np.uint8)) for query in queries]
                return SimpleNamespace(images=[[Image.fromarray(frame) for frame in clip] for clip in large])

        metric = InContextMetric(task)
        pipe = Clips(lambda query, answers=answers: answers[query.tobytes()])
        for _, given, target, record, _ in predictions(pipe, pairs, None, settings(1)):
            assert given.shape == (3, 96, 128, 3)
            measure_image(metric, given, target, record, SIZE)
        assert metric.compute()[name] > least


@pytest.mark.parametrize(("trained", "asked", "taken"), [(None, None, 4), (1, None, 1), (9, None, 4), (1, 3, 3)])
def test_no_more_examples_than_the_model_was_trained_with_unless_asked(trained, asked, taken):
    loaded = SimpleNamespace(model=SimpleNamespace(max_examples=trained, check_size=lambda height, width: (8, 8)))
    evaluator = InContextEvaluator.__new__(InContextEvaluator)
    evaluator.loaded = loaded
    settings = {**InContextEvaluator.options_of_task, "task": "depth_estimation", "num_examples": asked}
    evaluator.options = SimpleNamespace(**settings)
    evaluator.check_options()
    assert evaluator.options.num_examples == taken
