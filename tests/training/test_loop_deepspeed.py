# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""DeepSpeed ZeRO-2 on two gloo processes, with the settings of scripts/accelerate/deepspeed_zero2.yaml."""

import importlib.util

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed: pip install hfseg[deepspeed]"
)


def options(**more) -> dict:
    run = {"save_every": 2, "max_steps": 4, "gradient_accumulation_steps": 2, "ema_decay": 0.9}
    return {"sections": {"run": run}, "evaluate": True, "processes": 2, **more}


def test_equals_data_parallelism_and_resumes(tmp_path, run_toy):
    plain = run_toy(tmp_path / "plain", **options())
    killed = run_toy(tmp_path / "zero", script="run_deepspeed.py", **options(kill={"after": 3}))
    assert plain.returncode == 0 and killed.returncode != 0, killed.output
    assert not (tmp_path / "zero/model.safetensors").exists()
    resumed = run_toy(tmp_path / "zero", script="run_deepspeed.py", **options(resume="latest"))
    assert resumed.returncode == 0 and "at step 2 of 4" in resumed.output, resumed.output
    for file in ("model.safetensors", "checkpoint-4/ema.safetensors"):
        one, two = load_file(tmp_path / "plain" / file), load_file(tmp_path / "zero" / file)
        assert one.keys() == two.keys()
        for name in one:
            torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-5, msg=f"{file}: {name}")
