"""What vLLM, SGLang, Ollama, llama.cpp, Triton and Anthropic say beside a chat: the engine's edge.

Each is a table of routes for `openai_surface`, written to the engine's documented wire format, over
a `FakeEngine`.  What a driver sent is in `asked`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import msgspec

from orlop.abi.calls import Embed
from orlop.abi.errors import BadCall, NotFound
from orlop.abi.ids import ModelName
from orlop.devices.fake import FakeEngine
from orlop.http import anthropic, openai
from orlop.http.exchange import Exchange, Route

Routes: TypeAlias = Mapping[tuple[str, str], Route]
Json: TypeAlias = dict[str, object] | list[object]


class EngineSurface:
    """The routes of one engine, and what came in."""

    def __init__(self, behind: FakeEngine) -> None:
        self.behind = behind
        self.asked: list[tuple[str, dict[str, object]]] = []
        """Paths with a body, and the body."""
        self.page = b""
        """The metrics, where a test wants others than the true ones."""

    @property
    def routes(self) -> Routes:
        return {}

    def last(self, path: str) -> dict[str, object]:
        return next(body for name, body in reversed(self.asked) if name == path)

    async def body(self, exchange: Exchange) -> dict[str, object]:
        held = await exchange.body()
        body = msgspec.json.decode(held, type=dict[str, object]) if held else {}
        self.asked.append((exchange.path, body))
        return body

    def watched(self, route: Route) -> Route:
        """A route whose body is noted, too."""

        async def noted(exchange: Exchange) -> None:
            held = await exchange.body()
            body = msgspec.json.decode(held, type=dict[str, object])
            self.asked.append((exchange.path, body))

            async def again() -> dict[str, object]:
                return {"type": "http.request", "body": held, "more_body": False}

            exchange._receive = again
            await route(exchange)

        return noted

    def says(self, answer: Callable[[dict[str, object]], Json | Awaitable[Json]]) -> Route:
        """A route that answers with JSON."""

        async def route(exchange: Exchange) -> None:
            said = answer(await self.body(exchange))
            if isinstance(said, Awaitable):
                said = await said
            await exchange.send_json(200, msgspec.json.encode(said))

        return route

    async def metrics(self, exchange: Exchange) -> None:
        await exchange.send_json(200, self.page or self.true_page())

    def true_page(self) -> bytes:
        raise NotFound("no metrics")

    def chat(self) -> Routes:
        return {("POST", "/v1/chat/completions"): self.watched(openai.chat)}


class VLLMSurface(EngineSurface):
    """`--scheduling-policy priority` where `has_priority`; development mode."""

    has_priority = True
    is_developed = True
    is_asleep = False
    sources: Json | None = None
    """Where it publishes its KV events."""

    @property
    def routes(self) -> Routes:
        always = {
            ("POST", "/v1/chat/completions"): self.watched(self._chat),
            ("GET", "/metrics"): self.metrics,
            ("GET", "/kv_event_sources"): self.says(lambda _: self.sources or []),
        }
        if not self.is_developed:
            return always
        return always | {
            ("GET", "/is_sleeping"): self.says(lambda _: {"is_sleeping": self.is_asleep}),
            ("POST", "/sleep"): self.says(lambda _: self._sleep(True)),
            ("POST", "/wake_up"): self.says(lambda _: self._sleep(False)),
        }

    def true_page(self) -> bytes:
        labels = 'engine="0",model_name="fake"'
        return (
            "# HELP vllm:num_requests_running Number of requests in model execution batches.\n"
            "# TYPE vllm:num_requests_running gauge\n"
            f"vllm:num_requests_running{{{labels}}} {self.behind.running}.0\n"
            f"vllm:num_requests_waiting{{{labels}}} 0.0\n"
            f"vllm:kv_cache_usage_perc{{{labels}}} 0.25\n"
            f"vllm:num_preemptions_total{{{labels}}} 7.0\n"
            f'vllm:cache_config_info{{{labels},block_size="16",num_gpu_blocks="1000"}} 1.0\n'
        ).encode()

    async def _chat(self, exchange: Exchange) -> None:
        if self.is_asleep:
            await asyncio.Event().wait()  # As the real one: it takes the call and never answers.
        if self.last(exchange.path).get("priority") and not self.has_priority:
            raise BadCall("Got priority 3 but Priority scheduling is not enabled.")
        await openai.chat(exchange)

    def _sleep(self, is_asleep: bool) -> Json:
        self.is_asleep = is_asleep
        return {}


class SGLangSurface(EngineSurface):
    info: Mapping[str, object] = {
        "enable_priority_scheduling": True,
        "schedule_low_priority_values_first": False,
        "enable_memory_saver": True,
    }
    loads: Json | None = None

    @property
    def routes(self) -> Routes:
        return {
            **self.chat(),
            ("GET", "/server_info"): self.says(lambda _: dict(self.info)),
            ("GET", "/v1/loads"): self.says(lambda _: self.loads or {"loads": [self._rank()]}),
            ("POST", "/abort_request"): self.says(lambda _: {}),
            ("POST", "/release_memory_occupation"): self.says(lambda _: {}),
            ("POST", "/resume_memory_occupation"): self.says(lambda _: {}),
        }

    def _rank(self) -> dict[str, object]:
        return {
            "dp_rank": 0,
            "num_running_reqs": self.behind.running,
            "num_waiting_reqs": 2,
            "token_usage": 0.5,
            "max_total_num_tokens": 32_000,
            "max_running_requests": 64,
        }


class OllamaSurface(EngineSurface):
    def __init__(self, behind: FakeEngine) -> None:
        super().__init__(behind)
        self.loaded: dict[str, str] = {}
        """Model to `expires_at`."""

    @property
    def routes(self) -> Routes:
        return {
            ("POST", "/v1/chat/completions"): self.watched(self._chat),
            ("GET", "/api/tags"): self.says(lambda _: {"models": [{"name": "fake"}]}),
            ("GET", "/api/ps"): self.says(lambda _: {"models": self._ps()}),
            ("POST", "/api/generate"): self.says(self._keep),
        }

    def _ps(self) -> list[object]:
        return [
            {"name": name, "size": 9, "size_vram": 7, "context_length": 8192, "expires_at": until}
            for name, until in self.loaded.items()
        ]

    async def _chat(self, exchange: Exchange) -> None:
        """A call sets the time back to the server's own, whatever it was."""
        self.loaded["fake"] = "2026-01-01T00:05:00Z"
        await openai.chat(exchange)

    def _keep(self, body: dict[str, object]) -> Json:
        model, seconds = str(body["model"]), body["keep_alive"]
        if model != "fake":
            raise NotFound(f"model '{model}' not found")
        if seconds == 0:
            self.loaded.pop(model, None)
        else:
            self.loaded[model] = "2318-07-05T00:00:00Z" if seconds == -1 else "2026-01-01T00:05:00Z"
        return {"model": model, "done": True}


class LlamaSurface(EngineSurface):
    """As `llama-server` with `--metrics`, without `--slot-save-path`."""

    @property
    def routes(self) -> Routes:
        return {
            **self.chat(),
            ("GET", "/props"): self.says(lambda _: self._props()),
            ("GET", "/metrics"): self.metrics,
        }

    def _props(self) -> Json:
        return {
            "default_generation_settings": {"n_ctx": 4096},
            "total_slots": 8,
            "model_path": "fake.gguf",
            "build_info": "b1",
            "modalities": {"vision": False},
            "chat_template_caps": {"supports_tools": True},
        }

    def true_page(self) -> bytes:
        return (
            "# TYPE llamacpp:requests_processing gauge\n"
            f"llamacpp:requests_processing {self.behind.running}\n"
            "llamacpp:requests_deferred 0\n"
        ).encode()


class AnthropicSurface(EngineSurface):
    @property
    def routes(self) -> Routes:
        return {
            ("POST", "/v1/messages"): self.watched(anthropic.messages),
            ("GET", "/v1/models"): self.says(
                lambda _: {"data": [{"type": "model", "id": "fake", "display_name": "Fake"}]}
            ),
        }


class TritonSurface(EngineSurface):
    """Two models in the repository: one makes vectors, one sorts texts into classes."""

    def __init__(self, behind: FakeEngine) -> None:
        super().__init__(behind)
        self.wrong_data: list[object] | None = None
        """Instead of vectors."""
        self.ready = {"fake-embed": True, "sorter": True}

    @property
    def routes(self) -> Routes:
        routes: dict[tuple[str, str], Route] = {
            ("GET", "/v2/health/live"): self.says(lambda _: {}),
            ("POST", "/v2/repository/index"): self.says(lambda _: self._index()),
            ("GET", "/v2/models/fake-embed"): self.says(
                lambda _: _metadata("fake-embed", "VECTOR", "FP32", self.behind.config.dimensions)
            ),
            ("GET", "/v2/models/sorter"): self.says(
                lambda _: _metadata("sorter", "SCORES", "FP32", 2)
            ),
            ("GET", "/v2/models/sorter/config"): self.says(
                lambda _: {"output": [{"name": "SCORES", "label_filename": "labels.txt"}]}
            ),
            ("POST", "/v2/models/fake-embed/infer"): self.says(self._embed),
            ("POST", "/v2/models/sorter/infer"): self.says(self._sort),
        }
        for name in self.ready:
            for what in ("load", "unload"):
                path = f"/v2/repository/models/{name}/{what}"
                routes["POST", path] = self.says(self._order(name, what == "load"))
        return routes

    def _index(self) -> Json:
        return [
            {"name": name, "version": "1", "state": "READY" if ready else "UNAVAILABLE"}
            for name, ready in self.ready.items()
        ]

    def _order(self, name: str, ready: bool) -> Callable[[dict[str, object]], Json]:
        def take(_: dict[str, object]) -> Json:
            self.ready[name] = ready
            return {}

        return take

    async def _embed(self, body: dict[str, object]) -> Json:
        texts = _texts(body)
        if self.wrong_data is not None:
            return _outputs("VECTOR", "FP32", [len(texts), 1], self.wrong_data)
        call = Embed(model="fake-embed", inputs=tuple(texts))
        made = await self.behind.embed(call, ModelName("fake-embed"), 30.0)
        numbers = [number for vector in made.vectors for number in vector]
        shape = [len(texts), len(made.vectors[0])]
        return _outputs("VECTOR", "FP32", shape, list(numbers))

    def _sort(self, body: dict[str, object]) -> Json:
        """As the classification extension has it."""
        (text,) = _texts(body)
        calm = 0.25 if "!" in text else 0.75
        labels: list[object] = [f"{1 - calm:f}:1:angry", f"{calm:f}:0:calm"]
        return _outputs("SCORES", "BYTES", [1, 2], labels)


def _metadata(name: str, output: str, datatype: str, size: int) -> Json:
    return {
        "name": name,
        "platform": "python",
        "inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [-1, 1]}],
        "outputs": [{"name": output, "datatype": datatype, "shape": [-1, size]}],
    }


def _outputs(name: str, datatype: str, shape: list[int], data: list[object]) -> Json:
    return {"outputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]}


def _texts(body: dict[str, object]) -> list[str]:
    inputs = body["inputs"]
    assert isinstance(inputs, list)
    return [str(text) for text in inputs[0]["data"]]
