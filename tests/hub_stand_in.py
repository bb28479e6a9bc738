# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A Hub of one's own on a local port: as much of its interface as creating, uploading, tagging and downloading need.

Written from what `huggingface_hub` sends and expects. Files of 10 kB and more go through Git LFS, as on the Hub.
"""

import base64
import hashlib
import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from fresh_process import run_python

LFS_FROM = 10_000
CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-segmentation
tags:
- vision
- proscale
model-index:
- name: tiny
  results:
  - task:
      type: image-segmentation
    dataset:
      name: streets
      type: streets
      split: val
    metrics:
    - type: mean_iou
      name: mean_iou (%)
      value: 49.25
      args:
        command: python scripts/evaluate.py --model tiny --dataset streets
---

# tiny

## Use

```python
print("hello")
```

## Training

From scratch.

## Limits

Streets only.
"""


def in_new_process(code, hub, home):
    """Runs Python that downloads from the stand-in into a cache of its own."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": hub.token,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return run_python(code, env=environment)


class Repository:
    """Commits as whole trees, newest last; the first is empty."""

    def __init__(self, private):
        self.private = private
        self.commits = [(self._name(0), {})]
        self.messages = []
        self.tags = {}

    @staticmethod
    def _name(number):
        return hashlib.sha1(str(number).encode()).hexdigest()

    def commit(self, message, files):
        tree = {**self.commits[-1][1], **files}
        self.commits.append((self._name(len(self.commits)), tree))
        self.messages.append(message)
        return self.commits[-1][0]

    def tree(self, revision):
        revision = self.tags.get(revision, revision)
        if revision == "main":
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)


class HubStandIn:
    """The server. `fail` maps a word of a path to how many requests with it are still to be refused with 500.

    Attributes:
        repositories: By `owner/name`, of models; datasets by `datasets/owner/name`.
        gated: Names of repositories whose files nobody may read yet.
        objects: LFS objects by SHA-256.
        received: Number of LFS uploads by SHA-256.
        requests: (method, path) in order.
    """

    def __init__(self, token="hf_test"):
        self.token, self.fail, self.status = token, {}, 500
        self.repositories, self.objects, self.received, self.requests = {}, {}, {}, []
        self.gated = set()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def answer(self, status, content=b"", headers=None):
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                headers = {"Content-Length": str(len(body)), **(headers or {})}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def handle_any(self):
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size)
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = self.read_chunks()
                stand_in.respond(self, unquote(urlsplit(self.path).path), body)

            def read_chunks(self):
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            do_GET = do_HEAD = do_POST = do_PUT = handle_any

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def respond(self, http, path, body):
        self.requests.append((http.command, path))
        for word, left in self.fail.items():
            if word in path and left:
                self.fail[word] = left - 1
                return http.answer(self.status, {"error": "refused by the test"})
        if http.command != "GET" and http.command != "HEAD" and "/storage/" not in path:
            if http.headers.get("Authorization") != f"Bearer {self.token}" and path != "/api/validate-yaml":
                return http.answer(401, {"error": "Invalid credentials"}, {"X-Error-Message": "Invalid credentials"})
        for pattern, method in ROUTES:
            match = re.fullmatch(pattern, path)
            if match is not None:
                return method(self, http, body, *match.groups())
        return http.answer(404, {"error": f"no such path {path}"})

    # ------------------------------------------------------------------------------------------------------- requests

    def create(self, http, body):
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        name = f"datasets/{name}" if asked.get("type") == "dataset" else name
        if name in self.repositories:
            return http.answer(409, {"error": "You already created this model repo", "url": f"{self.url}/{name}"})
        self.repositories[name] = Repository(bool(asked.get("private")) or asked.get("visibility") == "private")
        return http.answer(200, {"url": f"{self.url}/{name}", "name": name})

    def validate(self, http, body):
        asked = json.loads(body)
        block = re.match(r"\s*---\n(.*?)\n---", asked["content"], re.DOTALL)
        data = yaml.safe_load(block[1]) if block else {}
        errors = [] if isinstance(data.get("license", "x"), str) else [{"message": "license must be a string"}]
        return http.answer(200, {"errors": errors, "warnings": []})

    def preupload(self, http, body, name, revision):
        tree = self.repositories[name].tree(revision)[1]
        files = []
        for file in json.loads(body)["files"]:
            known = tree.get(file["path"])
            files.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["size"] >= LFS_FROM else "regular",
                    "shouldIgnore": False,
                    "oid": None if known is None else self.etag(known),
                }
            )
        return http.answer(200, {"files": files})

    def batch(self, http, body, name):
        objects = []
        for wanted in json.loads(body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.objects:
                entry["actions"] = {"upload": {"href": f"{self.url}/storage/{wanted['oid']}", "header": {}}}
            objects.append(entry)
        return http.answer(200, {"transfer": "basic", "objects": objects})

    def store(self, http, body, oid):
        self.received[oid] = self.received.get(oid, 0) + 1
        if hashlib.sha256(body).hexdigest() != oid:
            return http.answer(400, {"error": "checksum"})
        self.objects[oid] = body
        return http.answer(200)

    def commit(self, http, body, name, revision):
        message, files = "", {}
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "header":
                message = entry["value"]["summary"]
            elif entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "lfsFile":
                files[entry["value"]["path"]] = self.objects[entry["value"]["oid"]]
        oid = self.repositories[name].commit(message, files)
        return http.answer(200, {"commitUrl": f"{self.url}/{name}/commit/{oid}", "commitOid": oid, "success": True})

    def tag(self, http, body, name, revision):
        repository, tag = self.repositories[name], json.loads(body)["tag"]
        if tag in repository.tags:
            return http.answer(409, {"error": "Reference already exists"})
        repository.tags[tag] = repository.tree(revision)[0]
        return http.answer(200, {})

    def info(self, http, body, name, revision=None):
        repository = self.repositories.get(name)
        commit = repository and repository.tree(revision or "main")
        if not commit:
            return http.answer(404, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})
        sha, tree = commit
        siblings = [{"rfilename": path} for path in sorted(tree)]
        content = {"id": name, "modelId": name, "sha": sha, "private": repository.private, "siblings": siblings}
        return http.answer(200, {**content, "tags": [], "downloads": 0, "likes": 0})

    def entry(self, path, content):
        entry = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        if len(content) >= LFS_FROM:
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry

    def list_tree(self, http, body, name, revision, folder=""):
        _, tree = self.repositories[name].tree(revision)
        prefix = f"{folder}/" if folder else ""
        inside = {path: content for path, content in sorted(tree.items()) if path.startswith(prefix)}
        if parse_qs(urlsplit(http.path).query).get("recursive", ["false"])[0].lower() not in ("true", "1"):
            folders = sorted({path[len(prefix) :].partition("/")[0] for path in inside if "/" in path[len(prefix) :]})
            oid = hashlib.sha1(b"folder").hexdigest()
            entries = [{"type": "directory", "path": prefix + one, "size": 0, "oid": oid} for one in folders]
            inside = {path: content for path, content in inside.items() if "/" not in path[len(prefix) :]}
        else:
            entries = []
        return http.answer(200, entries + [self.entry(*item) for item in inside.items()])

    def paths_info(self, http, body, name, revision):
        _, tree = self.repositories[name].tree(revision)
        text = body.decode()
        wanted = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text).get("paths", [])
        entries = [self.entry(path, tree[path]) for path in wanted if path in tree]
        oid = hashlib.sha1(b"folder").hexdigest()
        entries += [
            {"type": "directory", "path": path, "size": 0, "oid": oid}
            for path in wanted
            if any(file.startswith(f"{path}/") for file in tree)
        ]
        return http.answer(200, entries)

    def resolve(self, http, body, name, revision, path):
        if name in self.gated:
            message = f"Access to {name} is restricted: ask for it on its page."
            headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": message}
            return http.answer(403, {"error": message}, headers)
        commit = self.repositories[name].tree(revision) if name in self.repositories else None
        if commit is None or path not in commit[1]:
            code = "EntryNotFound" if commit else "RepoNotFound"
            return http.answer(
                404, {"error": code}, {"X-Error-Code": code, "X-Repo-Commit": commit[0] if commit else ""}
            )
        content = commit[1][path]
        return http.answer(200, content, {"X-Repo-Commit": commit[0], "ETag": f'"{self.etag(content)}"'})

    @staticmethod
    def etag(content):
        """Names content as Git does, or as LFS does."""
        if len(content) >= LFS_FROM:
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


NAME = r"((?:datasets/)?[\w.-]+/[\w.-]+)"
ROUTES = [
    (r"/api/repos/create", HubStandIn.create),
    (r"/api/validate-yaml", HubStandIn.validate),
    (rf"/api/(?:models/)?{NAME}/preupload/(.+)", HubStandIn.preupload),
    (rf"/{NAME}\.git/info/lfs/objects/batch", HubStandIn.batch),
    (r"/storage/(\w+)", HubStandIn.store),
    (rf"/api/(?:models/)?{NAME}/commit/(.+)", HubStandIn.commit),
    (rf"/api/(?:models/)?{NAME}/tag/(.+)", HubStandIn.tag),
    (rf"/api/(?:models/)?{NAME}/tree/([^/]+)(?:/(.*))?", HubStandIn.list_tree),
    (rf"/api/(?:models/)?{NAME}/paths-info/(.+)", HubStandIn.paths_info),
    (rf"/api/(?:models/)?{NAME}/revision/(.+)", HubStandIn.info),
    (rf"/api/(?:models/)?{NAME}", HubStandIn.info),
    (rf"/{NAME}/resolve/([^/]+)/(.+)", HubStandIn.resolve),
]
