# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The zoo in the browser: a Gradio app with a tab per task, and a Space made of it.

It runs offline: no address is opened, nothing comes from other servers, nothing is reported. Needs the extra `demo`.
"""
