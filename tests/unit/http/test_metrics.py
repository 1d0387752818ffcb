"""`/metrics` says what its table says, and no more."""

from movable_engine import Movable, MovableEngine
from prometheus_client.parser import text_string_to_metric_families
from small_kernel import Computer, ask, on, program, result

from orlop.http import metrics
from orlop.kernel import syscall
from orlop.machine.chance import SeededChance
from orlop.state.core import Kernel
from orlop.subsystems import residence

DEVICE = "arithmetic"


async def used(here: Computer, kernel: Kernel) -> dict[tuple[str, frozenset[str]], float]:
    """A kernel with a movable model that has served a call; its samples by name and labels."""
    movable = Movable("a", here.clock, size=7, load_s=4.0)
    engine = MovableEngine(movable, clock=here.clock, chance=SeededChance(2), call_s=0.1)
    kernel.residents.budgets = {DEVICE: 10}
    kernel.registry.add(engine)
    await engine.start()
    kernel.registry.learn(engine.name, await engine.models())
    residence.attend(kernel, engine)
    residence.begin(kernel, [engine])
    await here.clock.sleep(5.0)
    await result(syscall.enter(kernel, await program(kernel), ask("hello")))
    text = metrics.text(metrics.registry(kernel)).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert metrics.FAMILIES[family.name].help == family.documentation
        assert metrics.FAMILIES[family.name].kind == family.type
        for sample in family.samples:
            assert set(sample.labels) == set(metrics.FAMILIES[family.name].labels)
            found[sample.name, frozenset(sample.labels.values())] = sample.value
    return found


def test_every_sample_is_of_a_family_in_the_table_with_its_labels() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        assert await used(here, kernel)

    on(Computer, scenario)


def test_models_engines_and_calls_are_counted() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        found = await used(here, kernel)

        def value(name: str, *labels: str) -> float:
            return found[name, frozenset(labels)]

        assert value("orlop_model_state", "a", "hot") == 1
        assert value("orlop_model_state", "a", "disk") == 0
        assert value("orlop_model_bytes", "a") == 7
        assert value("orlop_model_loads_total", "a") == 1
        assert value("orlop_model_cold_start_seconds", "a", "disk") == 4.0
        assert value("orlop_model_memory_bytes", DEVICE, "held") == 7
        assert value("orlop_model_memory_bytes", DEVICE, "budget") == 10
        assert value("orlop_decisions_total", "granted") == 1
        assert value("orlop_engine_calls_total", "engine") == 1
        assert value("orlop_engine_tokens_total", "engine", "output") > 0
        assert value("orlop_engine_running", "a") == 0

    on(Computer, scenario)
