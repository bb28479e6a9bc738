# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Trains a tiny model on embedded scenes, evaluates it and segments a picture; see --help."""

import sys

from hfseg.commands.quickstart import main

if __name__ == "__main__":
    sys.exit(main())
