# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg train` as one process of a run: `run_recipe.py OUTPUT_DIR JSON`, JSON with `recipe` and `overrides`."""

import json
import sys

from hfseg.commands.train import main

if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    given = ["--recipe", options["recipe"], "--output_dir", sys.argv[1], *options.get("overrides", [])]
    sys.exit(main(given))
