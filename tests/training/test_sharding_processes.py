# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""FSDP2 on two gloo processes, with the settings of scripts/accelerate/fsdp2.yaml: the weights of data parallelism,
exact resume, several optimizers, and a recipe from data to model folder."""

from types import SimpleNamespace

import accelerate.commands.launch  # noqa: F401  once, before the forks
import pytest
import torch
import torch.distributed.checkpoint.state_dict
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from safetensors.torch import load_file
from test_checkpointing_resume import assert_same_run
from toy import GAN_PHASES, ToyDataset, ToyGan, collate, toy_arguments

from accelerate import Accelerator
from hfseg.training import load_recipe, train
from hfseg.training.arguments import recipe_names
from hfseg.training.sharding import sharding_units
from hfseg.training.tasks import build_task


def options(gan: bool, **more) -> dict:
    run = {"ema_decay": 0.9, "save_every": 4, "max_steps": 12, "gradient_accumulation_steps": 2, "evaluate_every": 6}
    sections = {"run": run, "phases": GAN_PHASES} if gan else {"run": run}
    return {"sections": sections, "dropout": 0.2, "evaluate": True, "gan": gan, "processes": 2, **more}


@pytest.mark.parametrize("gan", [False, True])
def test_equals_data_parallelism_and_resumes_bit_by_bit(tmp_path, run_toy, gan):
    plain = run_toy(tmp_path / "plain", **options(gan))
    sharded = run_toy(tmp_path / "sharded", script="run_sharded.py", **options(gan))
    assert plain.returncode == sharded.returncode == 0, plain.output + sharded.output
    for file in ("model.safetensors", "checkpoint-12/model.safetensors", "checkpoint-12/ema.safetensors"):
        one, two = load_file(tmp_path / "plain" / file), load_file(tmp_path / "sharded" / file)
        assert one.keys() == two.keys()
        for name in one:  # whole tensors, loadable on any number of processes
            torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-5, msg=f"{file}: {name}")
    killed = run_toy(tmp_path / "killed", script="run_sharded.py", **options(gan, kill={"after": 7}))
    assert killed.returncode != 0 and not (tmp_path / "killed/model.safetensors").exists()
    resumed = run_toy(tmp_path / "killed", script="run_sharded.py", **options(gan, resume="latest"))
    assert resumed.returncode == 0 and "at step 4 of 12" in resumed.output, resumed.output
    assert_same_run(tmp_path / "sharded", tmp_path / "killed")


def test_a_recipe_becomes_a_model_folder(tmp_path, run_toy):
    """Layers wrapped by the model's own list, bf16 as in the YAML, evaluation, overlays, averaged weights."""
    from transformers import AutoModelForUniversalSegmentation

    import hfseg  # noqa: F401

    changes = ["data.train.num_scenes=4", "data.validation.num_scenes=1", "data.batch_size=1", "data.num_workers=0"]
    changes += ["schedule.warmup_steps=0", "run.max_steps=2", "run.ema_decay=0.9", "data.train.image_size=[64,64]"]
    recipe = ["proscale-tiny-shapes", *changes]
    done = run_toy(tmp_path / "out", processes=2, script="run_sharded.py", precision="bf16", recipe=recipe)
    assert done.returncode == 0, done.output
    model = AutoModelForUniversalSegmentation.from_pretrained(tmp_path / "out")
    averages = load_file(tmp_path / "out/checkpoint-2/ema.safetensors")
    assert all(torch.equal(weight, averages[name]) for name, weight in model.named_parameters())
    assert "| pq | " in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize("recipe", [name for name in recipe_names() if name.endswith("-tiny-shapes")])
def test_the_units_of_sharding_are_found(recipe):
    """For every architecture accelerate finds what to wrap and what to leave, as it asks for it."""
    (_, arguments), *_ = load_recipe(recipe).stage_arguments()
    arguments.data.train["num_scenes"] = 2
    task = build_task(arguments)
    model = task.build_model(task.build_dataset(arguments.data.train), load_backbone=False)
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, auto_wrap_policy="transformer_based_wrap")
    state = SimpleNamespace(fsdp_plugin=plugin)
    with sharding_units(SimpleNamespace(distributed_type=DistributedType.FSDP, state=state), model):
        plugin.set_auto_wrap_policy(model)
        units = plugin.auto_wrap_policy.keywords["transformer_layer_cls"]
        getattr(model, "get_input_embeddings", lambda: None)()
    present = {type(module) for module in model.modules()}
    assert units and units <= present and "get_input_embeddings" not in vars(model)


def test_deepspeed_refuses_several_phases(tmp_path, monkeypatch):
    accelerator = Accelerator(cpu=True)
    monkeypatch.setattr(accelerator.state, "distributed_type", DistributedType.DEEPSPEED)
    with pytest.raises(ValueError, match=r"2 phases, and DeepSpeed's engine holds one optimizer.*fsdp2\.yaml"):
        train(
            ToyGan(),
            ToyDataset(),
            collate,
            toy_arguments(phases=GAN_PHASES),
            output_dir=tmp_path,
            accelerator=accelerator,
        )
