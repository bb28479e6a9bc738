# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Readers of dataset layouts: each checks a folder, says what is missing, and streams."""
