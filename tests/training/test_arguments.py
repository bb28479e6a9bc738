# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Recipes are read strictly and come back equal."""

import pytest

from hfseg.training import TrainingArguments, load_recipe
from hfseg.training.arguments import RunArguments, recipe_names


def write(tmp_path, text, name="recipe.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_values_types_and_overrides(tmp_path):
    path = write(tmp_path, "optimizer: {learning_rate: 1e-4, betas: [0.9, 0.95]}\nrun: {mixed_precision: no}\n")
    arguments = load_recipe(path, ["run.max_steps=7", "model.config.layers=[1, 2]", "run.ema_decay=null"])
    assert arguments.optimizer.learning_rate == 1e-4 and arguments.optimizer.betas == (0.9, 0.95)
    assert arguments.run.max_steps == 7 and arguments.run.ema_decay is None and arguments.run.mixed_precision == "no"
    assert arguments.model.config == {"layers": [1, 2]}


def test_round_trip(tmp_path):
    arguments = load_recipe(write(tmp_path, "run: {max_steps: 3}"), ["optimizer.learning_rate=2e-5"])
    assert load_recipe(write(tmp_path, arguments.to_yaml(), "again.yaml")) == arguments


def test_base_is_merged(tmp_path):
    write(tmp_path, "model: {config: {a: 1, b: 2}}\nrun: {max_steps: 5, seed: 1}", "base.yaml")
    arguments = load_recipe(write(tmp_path, "base: base.yaml\nmodel: {config: {b: 3}}\nrun: {seed: 2}"))
    assert arguments.model.config == {"a": 1, "b": 3}
    assert (arguments.run.max_steps, arguments.run.seed) == (5, 2)


def test_base_in_a_circle(tmp_path):
    write(tmp_path, "base: recipe.yaml", "other.yaml")
    with pytest.raises(ValueError, match="circle"):
        load_recipe(write(tmp_path, "base: other.yaml"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.max_step=3", r"run\.max_step .*Did you mean run\.max_steps\?"),
        ("run.learning_rate=3", r"Did you mean optimizer\.learning_rate\?"),
        ("rum.max_steps=3", r"rum .*Did you mean run\?"),
        ("run.zzz=1", r"Legal here: .*run\.seed"),
        ("run.max_steps=three", r"run\.max_steps is 'three' \(str\); it must be a int"),
        ("run.max_steps=true", r"run\.max_steps is True"),
        ("run.max_steps=0", r"run\.max_steps is 0; it must be at least 1"),
        ("schedule.name=linear", r"schedule\.name is 'linear'; must be one of constant, step, poly, cosine"),
        ("optimizer.betas=[0.9]", r"needs 2 values"),
        ("max_steps=3", r"not `section\.key=value`"),
        ("run.max_steps", r"not `section\.key=value`"),
        ("run.max_steps=[1", r"not YAML"),
        ("run.patience=3", r"need run\.metric"),
        ("model=3", r"model must be a mapping, not 3"),
        ("modell=3", r"not `section\.key=value`"),
    ],
)
def test_errors_name_the_value_and_the_fix(tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        load_recipe(write(tmp_path, "run: {seed: 1}"), [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "holds a list"),
        ("run: [", "not YAML"),
        ("run: 3", "run must be a mapping"),
        ("run: {seed: 1, seed: 2}", "twice"),
    ],
)
def test_broken_files(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_recipe(write(tmp_path, text))


def test_missing_recipe():
    with pytest.raises(FileNotFoundError, match="No recipe or file 'no-such'"):
        load_recipe("no-such")


@pytest.mark.parametrize("name", recipe_names())
def test_packaged_recipes_load(name):
    assert isinstance(load_recipe(name), TrainingArguments)


@pytest.mark.parametrize(
    ("old", "new"),
    [("first_mean_iou", "first_miou"), ("precision_at_50", "precision@0.5"), ("1-box IoU", "one_box_oracle_iou")],
)
def test_former_names_of_metrics_are_refused_with_the_new_one(old, new):
    with pytest.raises(ValueError, match=f"run.metric '{old}' is called '{new}' now"):
        TrainingArguments.from_dict({"run": {"metric": old}})


def test_the_samples_of_an_update_are_those_the_recipe_is_made_for():
    """256 as 8 x 8 x 4; one process has 32 and is told what to set."""
    run = RunArguments(max_steps=1, gradient_accumulation_steps=4, global_batch_size=256)
    run.check_global_batch(8, 8)
    with pytest.raises(ValueError, match=r"would see 32 samples .*run.gradient_accumulation_steps=32"):
        run.check_global_batch(8, 1)
    with pytest.raises(ValueError, match=r"choose sizes whose product it is"):
        run.check_global_batch(7, 1)
    RunArguments(max_steps=1).check_global_batch(7, 3)
    assert load_recipe("meddensevit-small-ct").run.global_batch_size == 256


@pytest.mark.parametrize(
    "override, message",
    [
        ("optimizer.learning_rate=0", "optimizer.learning_rate is 0.0; it must be positive"),
        ("optimizer.learning_rate=.nan", "optimizer.learning_rate is nan"),
        ("optimizer.learning_rate=.inf", "optimizer.learning_rate is inf"),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay is -1.0; it must be not negative"),
        ("optimizer.betas=[0.9, 1.0]", "optimizer.betas is 1.0; it must be at least 0 and below 1"),
        ("optimizer.clip_norm=0", "optimizer.clip_norm is 0.0; it must be positive"),
        ("schedule.warmup_factor=3", "schedule.warmup_factor is 3.0; it must be between 0 and 1"),
        ("schedule.warmup_steps=-5", "schedule.warmup_steps is -5"),
        ("data.batch_size=0", "data.batch_size is 0; it must be positive"),
        ("data.num_workers=-1", "data.num_workers is -1"),
        ("run.ema_decay=1.0", "run.ema_decay is 1.0; it must be at least 0 and below 1"),
        ("run.max_seconds=0", "run.max_seconds is 0"),
    ],
)
def test_numbers_that_would_train_nothing_are_refused_by_name(override, message):
    """A learning rate of 0 ran through and saved a model that had learned nothing."""
    with pytest.raises(ValueError, match=message):
        load_recipe("proscale-tiny-shapes", [override])


def test_an_entry_of_a_list_is_overridden_by_its_place(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("data: {train: {sets: [{root: a, split: train}, {root: b}]}}")
    recipe = load_recipe(file, ["data.train.sets.1.root=c", "data.train.sets.0.more.depth=2"])
    assert recipe.data.train["sets"] == [{"root": "a", "split": "train", "more": {"depth": 2}}, {"root": "c"}]
    for place in ("2", "-1", "first"):
        with pytest.raises(ValueError, match=f"'{place}' is no place in a list of 2; must be 0 to 1"):
            load_recipe(file, [f"data.train.sets.{place}.root=c"])
    assert load_recipe(file, ["data.train.sets.0=7"]).data.train["sets"] == [7, {"root": "b"}]
