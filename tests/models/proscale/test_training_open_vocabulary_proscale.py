# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Training of open-vocabulary PRO-SCALE: losses by hand, what learns, from a CLIP to names by command."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState
from PIL import Image
from transformers import CLIPConfig, CLIPModel, pipeline

import hfseg
from hfseg import ProScaleForOpenVocabularySegmentation
from hfseg.commands.train import main
from hfseg.data import ShapesDataset
from hfseg.data.synthetic.shapes_captions import entity_tokenizer
from hfseg.files.prompt_names import prompt_names
from hfseg.models.proscale.training_open_vocabulary_proscale import NamesCollator
from hfseg.training import load_recipe
from hfseg.training.arguments import recipe_names
from hfseg.training.tasks import build_task
from proscale_models import tiny_open_vocabulary_config

RECIPE = "proscale-tiny-names"
SMALL = ["run.max_steps=2", "schedule.warmup_steps=0", "data.batch_size=2", "data.validation.num_scenes=2"]
SMALL += ["data.train.num_scenes=8", "data.train.image_size=[64, 64]", "data.validation.image_size=[64, 64]"]
SENTENCE = "An image of {}."


@pytest.fixture(autouse=True)
def fresh_accelerate():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def run(recipe, folder, *changes):
    assert main(["--recipe", recipe, *changes, "--output_dir", str(folder)]) in (0, None)
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    run("proscale-tiny-clip", folder, *SMALL)
    AcceleratorState._reset_state(reset_partial_state=True)
    return folder


def names_task(folder, *changes):
    return build_task(load_recipe(RECIPE, [f"model.pretrained={folder}", *SMALL, *changes]))


def built(task):
    """Dataset, model and collator of a task."""
    dataset = task.build_dataset(task.arguments.data.train)
    torch.manual_seed(0)
    model = task.build_model(dataset)
    processor = task.build_processor(model)
    return dataset, model, task.build_collator(dataset, model, processor)


@pytest.mark.parametrize(("level", "tolerance"), [(0.0, 1e-4), (0.4, 0.03)])
def test_losses_of_names_in_closed_form(level, tolerance):
    """Segments that fill their images, masks that are the same everywhere: sampled points are alike.

    But for those at the border, where values fall to 0; masks of logit 0 do not.
    """
    points = 1024
    fields = {"class_weight": 2.0, "mask_weight": 5.0, "dice_weight": 3.0, "train_num_points": points}
    fields |= {"importance_sample_ratio": 0.0, "oversample_ratio": 1.0}  # else those at the border are preferred
    torch.manual_seed(0)
    model = ProScaleForOpenVocabularySegmentation(tiny_open_vocabulary_config(**fields))
    names = torch.tensor([[[1.0, 2.0, 0.5], [9.0, 0.0, 0.0]], [[0.0, -1.0, 3.0], [1.0, 1.0, 1.0]]])
    masks = torch.full((2, 2, 32, 32), -6.0)
    masks[0, 0] = masks[1, 0] = level  # the second masks are far off and stay without a partner
    labels = [torch.ones(64, 96, dtype=torch.int64)] * 2, [torch.tensor([1]), torch.tensor([2])]
    terms = model.name_losses(names, (masks, masks), *labels, (64, 96), None)
    cross_entropy = -(names[0, 0].log_softmax(-1)[1] + names[1, 0].log_softmax(-1)[2]) / 2
    inside = 1 / (1 + math.exp(-level))
    dice = 1 - (2 * points * inside + 1) / (points * inside + points + 1)
    expected = {"loss_ce": 2 * float(cross_entropy), "loss_mask": -5 * math.log(inside), "loss_dice": 3 * dice}
    assert float(terms["loss_ce"]) == pytest.approx(expected["loss_ce"], rel=1e-5)
    for key in ("loss_mask", "loss_mask_0"):
        assert float(terms[key]) == pytest.approx(expected["loss_mask"], rel=tolerance), key
    for key in ("loss_dice", "loss_dice_0"):
        assert float(terms[key]) == pytest.approx(expected["loss_dice"], rel=0.03), key
    assert "loss_ce_0" not in terms  # names are predicted once
    others = names.clone()
    others[:, 1] += 5 * torch.arange(3)
    again = model.name_losses(others, (masks, masks), *labels, (64, 96), None)
    assert float(again["loss_ce"]) == pytest.approx(expected["loss_ce"], rel=1e-5)


def test_batches_have_the_embedded_names(clip):
    """Of every class one row: its sentence, by the frozen text tower."""
    dataset, model, collate = built(names_task(clip))
    given = collate([dataset[0], dataset[1]])
    assert given["text_embeds"].shape == (10, 1, 64) and not given["text_embeds"].requires_grad
    tokens = entity_tokenizer()([SENTENCE.format(dataset.id2label[index]) for index in range(10)], padding=True)
    with torch.no_grad():
        rows = model.get_text_features(*(torch.tensor(tokens[name]) for name in ("input_ids", "attention_mask")))
    torch.testing.assert_close(given["text_embeds"][:, 0], F.normalize(rows, dim=-1))
    assert model.config.id2label == dataset.id2label and model(**given).loss.isfinite()
    with pytest.raises(ValueError, match="class id"):
        NamesCollator(given["text_embeds"], num_labels=2)([dataset[0]])


def test_public_classes_are_learned_by_their_plain_names(clip):
    task = names_task(clip)
    dataset, model, _ = built(task)
    dataset.id2label = {0: "sky-other-merged", 1: "couch"}
    assert prompt_names(dataset.id2label)["couch"] == ["couch", "sofa"]
    assert task.offered(dataset, model, task.build_processor(model))["text_embeds"].shape == (2, 2, 64)


def moved(before, after):
    """What differs: parts of the mask model, or what is added to CLIP."""
    names = {name for name in after if not torch.equal(before[name], after[name])}
    return {"relative" if ".relative." in name else name.split(".")[0] for name in names}


def test_names_are_learned_with_clip_as_it_is(clip, tmp_path):
    record = run(RECIPE, tmp_path, f"model.pretrained={clip}", *SMALL, "run.evaluation={loss: true}")
    assert {"mean_iou", "pq", "loss"} <= set(record["metrics"])
    load = ProScaleForOpenVocabularySegmentation.from_pretrained
    before, after = load(clip).state_dict(), load(tmp_path).state_dict()
    assert moved(before, after) == {"model", "class_predictor", "relative"}
    # The numbers are those of the public evaluation.
    scenes = ShapesDataset("validation", 2, (64, 64))
    measured = hfseg.evaluate(tmp_path, scenes, templates=[SENTENCE])
    for name in ("mean_iou", "pq"):
        assert record["metrics"][name] == pytest.approx(measured[name], abs=1e-6)
    named = pipeline("open-vocabulary-segmentation", model=str(tmp_path))
    found = named(Image.fromarray(scenes[0]["image"]), candidate_labels=["sky", "star"], subtask="semantic")
    assert {segment["label"] for segment in found} <= {"sky", "star"}
    assert "open-vocabulary-segmentation" in (tmp_path / "README.md").read_text()


def test_a_resumed_run_ends_as_one_that_went_through(clip, tmp_path):
    changes = [f"model.pretrained={clip}", *SMALL, "schedule.name=constant", "run.save_every=2", "data.validation=null"]
    states = {}
    for folder, ends in {"whole": [3], "parts": [2, 3]}.items():
        for end in ends:
            resume = ["--resume_from_checkpoint", "latest"] if end != ends[0] else []
            words = ["--recipe", RECIPE, *changes, f"run.max_steps={end}", "--output_dir", str(tmp_path / folder)]
            assert main([*words, *resume]) in (0, None)
            AcceleratorState._reset_state(reset_partial_state=True)
            states[folder, end] = ProScaleForOpenVocabularySegmentation.from_pretrained(tmp_path / folder).state_dict()
    assert not moved(states["whole", 3], states["parts", 3])
    assert moved(states["parts", 2], states["parts", 3]) == {"model", "class_predictor", "relative"}


def test_a_few_updates_teach_something(clip):
    """Two scenes by heart: names and masks get better while CLIP stays frozen."""
    dataset, model, collate = built(names_task(clip))
    given, model = collate([dataset[0], dataset[1]]), model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    sums = []
    for _ in range(10):
        torch.manual_seed(0)  # the same points every time
        terms = model(**given).loss_dict
        optimizer.zero_grad()
        sum(terms.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        values = {name: value.item() for name, value in terms.items()}
        own = [value for name, value in values.items() if not name.startswith("proposal_")]
        sums.append((sum(own), sum(values.values())))
    assert sums[-1][0] < 0.9 * sums[0][0] and sums[-1][1] < 0.8 * sums[0][1]


def test_the_towers_of_a_clip(tmp_path):
    """`model.pretrained` may be a CLIP of transformers; classes and image size are then the recipe's."""
    recipe = load_recipe(RECIPE)
    config = CLIPConfig(
        vision_config=recipe.model.config["vision_config"], text_config=recipe.model.config["text_config"],
        projection_dim=64,
    )  # fmt: skip
    torch.manual_seed(0)
    towers = CLIPModel(config)
    towers.save_pretrained(tmp_path)
    entity_tokenizer().save_pretrained(tmp_path)
    tokenizer = tmp_path / "tokenizer_config.json"
    fields = [f"model.config.{name}=null" for name in ("vision_config", "text_config")]
    task = names_task(tmp_path, *fields)
    dataset = task.build_dataset(task.arguments.data.train)
    model = task.build_model(dataset)
    assert model.config.id2label == dataset.id2label and list(model.config.stuff_class_ids) == [6, 7, 8, 9]
    pixels = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        expected = towers.visual_projection(towers.vision_model(model.clip_images(pixels)).pooler_output)
        torch.testing.assert_close(model.get_image_features(pixels), expected)
    assert tokenizer.is_file()


def test_what_cannot_start():
    task = build_task(load_recipe(RECIPE, SMALL))
    dataset = task.build_dataset(task.arguments.data.train)
    with pytest.raises(ValueError, match="pretrained must be a CLIP"):
        task.build_processor(task.build_model(dataset))
    with pytest.raises(ValueError, match="takes no points_per_side; must be one of tasks, threshold"):
        build_task(load_recipe(RECIPE, ["run.evaluation={points_per_side: 3}"])).evaluation_options()


def test_recipes():
    stages = load_recipe("proscale-tiny-shapes-open-vocabulary").stage_arguments()
    assert [stage.model.task for _, stage in stages] == ["contrastive", "open-vocabulary"]
    assert stages[0][1].model.config == stages[1][1].model.config
    assert {"proscale-r50-coco-open-vocabulary", "proscale-r50-full-coco-open-vocabulary"} <= set(recipe_names())
    paper = load_recipe("proscale-r50-coco-open-vocabulary")
    assert paper.model.pretrained == "openai/clip-vit-large-patch14-336" and paper.run.max_steps == 368_750
    assert paper.model.backbone == "microsoft/resnet-50" and paper.model.processor["size"]["longest_edge"] == 1333
    with torch.device("meta"):
        model = hfseg.from_recipe("proscale-r50-coco-open-vocabulary")
        full = hfseg.from_recipe("proscale-r50-full-coco-open-vocabulary")
    assert type(model) is type(full) is ProScaleForOpenVocabularySegmentation
    assert model.config.num_labels == 133 and len(model.config.stuff_class_ids) == 53
    assert (model.config.encoder, full.config.encoder) == ("progressive", "full")
    assert model.config.freeze_batch_norm and model.config.freeze_clip
    assert model.config.vision_config.image_size == 336 and list(model.config.encoder_stage_layers) == [3, 3, 3]
