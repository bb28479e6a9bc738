# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The whole loop under DeepSpeed on gloo processes: `run_deepspeed.py OUTPUT_DIR JSON`, options as of `run_toy.py`.

The settings are those that `accelerate launch --config_file scripts/accelerate/deepspeed_zero2.yaml` hands to a
process, but for `precision`. Accelerate counts processes under DeepSpeed on accelerators only, so they are joined here
first; all the rest is its own way: DeepSpeed's engine, partitioned optimizer, clipping and checkpoints.
"""

import json
import os
import sys
from pathlib import Path

import run_toy
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import PartialState
from accelerate.utils.launch import prepare_deepspeed_cmd_env

CONFIG = Path(__file__).parents[2] / "scripts" / "accelerate" / "deepspeed_zero2.yaml"


def launch_environment(precision: str) -> dict[str, str]:
    """What accelerate's launcher puts into the environment for our YAML, with another precision."""
    arguments = ["--config_file", str(CONFIG), "--mixed_precision", precision, "script.py"]
    validated, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    validated.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
    _, made = prepare_deepspeed_cmd_env(validated)
    return {name: value for name, value in made.items() if name.startswith("ACCELERATE_")}


def main() -> None:
    os.environ.update(launch_environment(json.loads(sys.argv[2]).get("precision", "no")), DS_ACCELERATOR="cpu")
    os.environ.pop("ACCELERATE_USE_DEEPSPEED")
    PartialState(cpu=True)
    os.environ.pop("ACCELERATE_USE_CPU")  # accelerate would turn DeepSpeed off with it
    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__.clear()  # a faster way between processes would be compiled first, for minutes
    deepspeed.init_distributed("gloo")
    run_toy.main()


if __name__ == "__main__":
    main()
