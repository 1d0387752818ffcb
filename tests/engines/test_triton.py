"""A real Triton: skipped unless ORLOP_TRITON_VENV names an environment with nvidia-pytriton.

That package brings Triton's own server and its Python backend (docs/how-to/test-real-engines.md).
"""

import asyncio
import math
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orlop.abi.calls import Embed, Infer, Sampling
from orlop.abi.errors import DeviceRefused
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Message
from orlop.drivers.triton import Triton
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock

VENV = os.environ.get("ORLOP_TRITON_VENV", "")
pytestmark = pytest.mark.skipif(not VENV, reason="no Triton: set ORLOP_TRITON_VENV")
START_S = 60.0

CONFIG = """
backend: "python"
max_batch_size: 32
input [ { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 3 ] %s } ]
instance_group [ { kind: KIND_CPU } ]
"""
MODEL = """
import zlib
import numpy
import triton_python_backend_utils as pb

def row(text):
    if %r == "sorter":
        return [0.8, 0.15, 0.05] if b"!" in text else [0.1, 0.2, 0.7]
    found = numpy.random.default_rng(zlib.crc32(text)).standard_normal(3)
    return found / numpy.linalg.norm(found)

class TritonPythonModel:
    def execute(self, requests):
        texts = [pb.get_input_tensor_by_name(r, "TEXT").as_numpy().reshape(-1) for r in requests]
        rows = [numpy.array([row(text) for text in some], dtype=numpy.float32) for some in texts]
        return [pb.InferenceResponse([pb.Tensor("OUT", made)]) for made in rows]
"""


def repository(folder: Path) -> None:
    for name, labels in (("vectors", ""), ("sorter", 'label_filename: "labels.txt"')):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(f'name: "{name}"' + CONFIG % labels)
        (folder / name / "1" / "model.py").write_text(MODEL % name)
    (folder / "sorter" / "labels.txt").write_text("angry\ncalm\nglad\n")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = tmp_path_factory.mktemp("triton")
    repository(models)
    python = Path(VENV) / "bin" / "python"
    said = "import pytriton, sysconfig, sys; print(pytriton.__path__[0]); "
    said += "print(sysconfig.get_config_var('LIBDIR')); print('%d.%d' % sys.version_info[:2])"
    package, library, version = subprocess.check_output([python, "-c", said], text=True).split()
    home = Path(package) / "tritonserver"
    stub = home / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, home / "backends" / "python" / stub.name)
    libraries = [library, str(Path(package).with_name("nvidia_pytriton.libs"))]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(home / "bin" / "tritonserver"), f"--model-repository={models}"]
    command += [f"--backend-directory={home / 'backends'}", f"--http-port={port}"]
    command += ["--http-address=127.0.0.1", "--allow-grpc=false", "--allow-metrics=false"]
    command += ["--model-control-mode=explicit", "--load-model=vectors", "--load-model=sorter"]
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(libraries),
        "PYTHONPATH": str(Path(package).parent),
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    with (models.parent / "triton.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        ends_s = time.monotonic() + START_S
        address = f"http://127.0.0.1:{port}"
        while time.monotonic() < ends_s and process.poll() is None:
            ready = f"{address}/v2/health/ready"
            with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(ready, timeout=5):
                break
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def test_vectors_classes_loading_and_unloading(url: str) -> None:
    async def scenario() -> None:
        engine = Triton(EngineName("t"), url, clock=SystemClock(), chance=SystemChance())
        await engine.start()
        try:
            await look(engine)
        finally:
            await engine.close()

    asyncio.run(scenario())


async def look(engine: Triton) -> None:
    vectors, sorter = ModelName("vectors"), ModelName("sorter")
    cards = {card.name: card for card in await engine.models()}
    assert (cards[vectors].kind, cards[vectors].dimensions) == ("embed", 3)
    assert cards[sorter].kind == "chat"
    texts = (*(f"text {number}" for number in range(70)), "text 0")
    made = (await engine.embed(Embed(model="vectors", inputs=texts), vectors, 30.0)).vectors
    assert len(made) == len(texts)
    assert made[0] == made[-1] != made[1]
    assert math.isclose(sum(value * value for value in made[0]), 1.0, rel_tol=1e-5)
    sure = Sampling(logprobs=True, top_logprobs=3)
    call = Infer(model="sorter", messages=(Message("user", "now!"),), sampling=sure)
    (choice,) = (await engine.infer(call, sorter, None, 30.0)).choices
    assert choice.message.text() == "angry"
    assert [entry.token for entry in choice.logprobs[0].top] == ["angry", "calm", "glad"]
    await engine.residence.unload(sorter)
    assert sorter not in {card.name for card in await engine.models()}
    with pytest.raises(DeviceRefused, match="no model 'sorter'"):
        await engine.infer(call, sorter, None, 30.0)
    await engine.residence.load(sorter)
    assert sorter in {card.name for card in await engine.models()}
