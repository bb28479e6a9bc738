# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg evaluate` on open-vocabulary models: a faultless one gives 100, a tiny one its numbers, errors one line."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hfseg import UnpairSegForOpenVocabularySegmentation, UnpairSegImageProcessor, UnpairSegProcessor
from hfseg.commands.evaluate import main
from hfseg.data.synthetic.shapes_captions import entity_tokenizer
from hfseg.evaluation.labels import embed_classes
from hfseg.evaluation.segmentation import evaluate_open_vocabulary
from unpairseg_models import TEXT, tiny_config


class Bands:
    """Images wider than high, higher than wide, and square: bands of 8 pixels of two things on a stuff class."""

    id2label = {0: "brick", 1: "tile", 2: "wall-other, wall"}
    stuff_class_ids = (2,)
    ignore_index = 255

    def __len__(self):
        return 3

    def __getitem__(self, index):
        height, width = ((32, 64), (64, 32), (64, 64))[index]
        segmentation = np.full((height, width), 3, dtype=np.int32)
        segmentation[8:16], segmentation[16:24] = 1, 2
        classes = {1: 0, 2: 1, 3: 2}
        info = [{"id": key, "category_id": value, "iscrowd": 0} for key, value in classes.items()]
        return {
            "image": np.full((height, width, 3), index, np.uint8),
            "segmentation": segmentation,
            "segments_info": info,
        }


class Oracle(torch.nn.Module):
    """Finds the bands of the image whose number is its gray level."""

    def __init__(self, mistakes=False):
        super().__init__()
        self.weight, self.mistakes = torch.nn.Parameter(torch.zeros(())), mistakes

    @property
    def device(self):
        return self.weight.device

    def get_text_features(self, input_ids, attention_mask):
        return torch.randn(len(input_ids), 8, generator=torch.Generator().manual_seed(0))

    def forward(self, pixel_values, original_sizes, text_embeds, output_masks):
        assert text_embeds.shape[:2] == (3, 2) and not output_masks  # the stuff class has two names
        assert pixel_values.shape == (1, 3, 64, 64)
        mean, std = 0.48145466, 0.26862954
        index = round(float((pixel_values[0, 0, 0, 0] * std + mean) * 255))
        truth = Bands()[index]["segmentation"]
        assert original_sizes.tolist() == [list(truth.shape)]
        rows = torch.from_numpy(truth[::4, 0])
        rows = torch.cat([rows, rows[-1:].expand(16 - len(rows))])  # bands go on in the padding
        masks = 18.0 * (rows == torch.tensor([[1], [2], [3]]))[..., None].expand(3, 16, 16) - 9
        classes = [0, 0, 2] if self.mistakes else [0, 1, 2]
        # Embeddings are rows of the identity, so that the pixel embedding is the masks.
        return Outputs(
            class_queries_logits=20 * torch.eye(3)[classes][None],
            mask_embeddings=torch.eye(3)[None],
            pixel_embedding=masks[None],
            iou_scores=torch.ones(1, 3),
        )


class Outputs(SimpleNamespace):
    def get(self, name):
        return getattr(self, name, None)

    def __contains__(self, name):
        return hasattr(self, name)


def processor():
    return UnpairSegProcessor(UnpairSegImageProcessor(size={"longest_edge": 64}), entity_tokenizer())


def test_a_faultless_model_gives_100_and_a_wrong_name_its_share():
    tasks = ("panoptic", "instance", "semantic")
    numbers = evaluate_open_vocabulary(Oracle(), processor(), Bands(), tasks)
    for name in ("pq", "sq", "rq", "ap", "mean_iou"):
        assert numbers[name] == pytest.approx(100), name
    wrong = evaluate_open_vocabulary(Oracle(mistakes=True), processor(), Bands(), tasks)
    assert wrong["mean_iou"] == pytest.approx(100 * (1 / 2 + 0 + 1) / 3)
    assert wrong["pq"] == pytest.approx(100 * (1 / 1.5 + 0 + 1) / 3)  # one false positive of brick per image


def test_names_of_classes():
    model = Oracle()
    embeddings = embed_classes(model, processor(), Bands.id2label, {"tile": ["tile", "slab", "plate"]})
    assert embeddings.shape == (3, 3, 8)
    with pytest.raises(ValueError, match="roof, but the dataset has the classes brick"):
        embed_classes(model, processor(), Bands.id2label, {"roof": ["roof"]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("open")
    torch.manual_seed(0)
    words = {**TEXT, "eos_token_id": entity_tokenizer().eos_token_id}
    UnpairSegForOpenVocabularySegmentation(tiny_config(points_per_side=4, text_config=words)).save_pretrained(path)
    settings = {"score_threshold": 0.0, "threshold": 0.0}
    tokenizer = entity_tokenizer()
    tokenizer.model_max_length = 8  # of the tiny text tower
    UnpairSegProcessor(UnpairSegImageProcessor(size={"longest_edge": 64}, **settings), tokenizer).save_pretrained(path)
    return path


def evaluate(folder, output_dir, *more):
    words = [
        "--model",
        str(folder),
        "--dataset",
        "shapes:num_scenes=2,image_size=48x64",
        "--output_dir",
        str(output_dir),
    ]
    return main([*words, "--device", "cpu", *map(str, more)])


def test_the_command_as_a_user_calls_it(folder, tmp_path, capsys):
    assert evaluate(folder, tmp_path / "a", "--overlays", 1) == 0
    report = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert {"pq", "sq", "rq", "ap", "mean_iou"} <= set(report["metrics"]) and report["number_of_images"] == 2
    assert report["labels"]["names"] == "the dataset's" and report["labels"]["templates"] == ["vild"]
    assert list((tmp_path / "a" / "overlays").iterdir()) and "mean_iou" in capsys.readouterr().out
    (tmp_path / "names.json").write_text('{"circle": ["disc", "circle"], "sky": "heaven"}')
    more = ("--labels", tmp_path / "names.json", "--templates", "A {}.", "The {}.", "--task", "semantic")
    assert evaluate(folder, tmp_path / "b", *more) == 0
    report = json.loads((tmp_path / "b" / "metrics.json").read_text())
    assert report["labels"]["names"]["sky"] == ["heaven"] and report["tasks"] == ["semantic"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--mode", "multiscale", "--flip"), "models takes no flip, mode"),
        (("--match_labels", "id"), "models takes no match_labels"),
        (("--templates", "clip"), "templates='clip' is not known"),
        (("--labels", "absent.json"), "there is no such file"),
        (("--labels", "list.json"), "must hold an object"),
        (("--labels", "empty.json"), "gives 'sky' no names"),
        (("--labels", "foreign.json"), "names are given for moon"),
    ],
    ids=str,
)
def test_bad_options_are_one_line(folder, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.chdir(tmp_path)
    contents = {"list": ["sky"], "empty": {"sky": []}, "foreign": {"moon": ["moon"]}}
    for name, content in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert evaluate(folder, tmp_path / "out", *more) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert message in errors[-1] and errors[-1].startswith("error: ")


def test_a_mask_generator_cannot_name(tmp_path, folder, capsys):
    from hfseg import UnpairSegForMaskGeneration

    UnpairSegForMaskGeneration(tiny_config()).save_pretrained(tmp_path / "masks")
    processor().save_pretrained(tmp_path / "masks")
    words = ("--task", "open-vocabulary")
    assert evaluate(tmp_path / "masks", tmp_path / "out", *words) == 2
    assert "lacks" in (error := capsys.readouterr().err) and "UnpairSegForOpenVocabularySegmentation" in error
    assert evaluate(tmp_path / "masks", tmp_path / "out", "--points_per_side", 2) == 0
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {"one_point_iou", "one_box_oracle_iou"} <= set(report["metrics"])
