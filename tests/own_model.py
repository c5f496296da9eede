#!/usr/bin/env python3
"""A judge of the kind `onnx`, end to end: a real ONNX Runtime, a model of ten lines, a gateway built with the feature.

Installs the pinned wheels once, into ${RINGWALL_CACHE:-~/.cache/ringwall}. `make onnx` runs it.
"""

import hashlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
WHEELS = ["numpy==2.3.5", "onnx==1.20.0", "onnxruntime==1.23.2", "tokenizers==0.22.1"]
WORDS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "a", "calm", "evil", "word"]


def main() -> int:
    if "RINGWALL_ONNX_VENV" not in os.environ:
        return in_venv()
    work = pathlib.Path(tempfile.mkdtemp(prefix="ringwall-onnx-"))
    make_model(work)
    library = next(pathlib.Path(sys.prefix).glob("lib/python*/site-packages/onnxruntime/capi/libonnxruntime.so*"))
    subprocess.run(["cargo", "build", "--locked", "--features", "onnx", "--bin", "ringwall"], cwd=ROOT, check=True)
    subprocess.run(["cargo", "build", "--locked", "--example", "upstreams"], cwd=ROOT, check=True)
    upstreams = subprocess.Popen([ROOT / "target/debug/examples/upstreams"], stdout=subprocess.PIPE, text=True)
    gateway = None
    try:
        model = next(line.split()[1] for line in upstreams.stdout if line.startswith("model "))
        address, admin = free_port(), free_port()
        config = work / "gateway.toml"
        config.write_text(CONFIG.format(address=address, admin=admin, work=work, model=model, library=library))
        gateway = subprocess.Popen([ROOT / "target/debug/ringwall", "serve", "--config", config])
        wait_for(admin)
        checks = {
            "a calm text passes": ask(address, "a calm word") == 200,
            "a bad one does not": ask(address, "a evil word") == 400,
            "at the end of a long one neither": ask(address, "calm word " * 3000 + "evil") == 400,
            "a long calm one passes": ask(address, "calm word " * 3000) == 200,
        }
    finally:
        for process in filter(None, [gateway, upstreams]):
            process.terminate()
            process.wait(20)
    for name, passed in checks.items():
        print(f"onnx: {name}: {'ok' if passed else 'FAILED'}")
    return 0 if all(checks.values()) else 1


def in_venv() -> int:
    cache = pathlib.Path(os.environ.get("RINGWALL_CACHE", pathlib.Path.home() / ".cache/ringwall"))
    folder = cache / ("onnx-" + hashlib.sha256(" ".join([*WHEELS, sys.version]).encode()).hexdigest()[:16])
    if not (folder / "complete").exists():
        print(f"onnx: installing into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", *WHEELS], check=True)
        (folder / "complete").touch()
    environment = {**os.environ, "RINGWALL_ONNX_VENV": str(folder)}
    return subprocess.run([folder / "bin/python", __file__], env=environment).returncode


def make_model(work: pathlib.Path) -> None:
    """A classifier that is sure of the second class where the word `evil` stands in its window."""
    import onnx
    from onnx import TensorProto, helper
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(work / "tokenizer.json"))
    tensor = helper.make_tensor
    graph = helper.make_graph(
        [
            helper.make_node("Equal", ["input_ids", "evil"], ["is"]),
            helper.make_node("Cast", ["is"], ["found"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["found"], ["any"], axes=[1], keepdims=1),
            helper.make_node("MatMul", ["any", "weights"], ["raw"]),
            helper.make_node("Add", ["raw", "bias"], ["logits"]),
        ],
        "words",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [
            tensor("evil", TensorProto.INT64, [1], [WORDS.index("evil")]),
            tensor("weights", TensorProto.FLOAT, [1, 2], [-10.0, 10.0]),
            tensor("bias", TensorProto.FLOAT, [2], [5.0, -5.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, str(work / "model.onnx"))


CONFIG = """
version = 1
[gateway]
listen = ["127.0.0.1:{address}"]
admin = "127.0.0.1:{admin}"
workers = 1
pin = false
[audit]
folder = "{work}/audit"
[[caller]]
name = "you"
anonymous = true
[[rule]]
name = "all"
effect = "allow"
models = ["*"]
[[provider]]
name = "demo"
url = "http://{model}/v1"
[[model]]
name = "demo-model"
routes = ["demo/demo-model"]
[[judge]]
name = "own"
kind = "onnx"
library = "{library}"
model = "{work}/model.onnx"
tokenizer = "{work}/tokenizer.json"
events = ["prompt"]
timeout = "10s"
"""


def ask(port: int, prompt: str) -> int:
    body = json.dumps({"model": "demo-model", "messages": [{"role": "user", "content": prompt}]}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions", body, {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


def wait_for(port: int) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("onnx: the gateway was not ready within 30 s")


if __name__ == "__main__":
    sys.exit(main())
