"""What is left of a tenant's calls when its device is given back: the real model."""

import asyncio
from pathlib import Path

from local_engine import MODEL, PATIENT_S, say, started

from orlop.devices import engine_host
from orlop.devices.device import Turn
from orlop.devices.erasure import erase, unerasable

SECRET = "My password is swordfish. " * 40


def test_after_an_erasure_no_process_and_no_file_has_the_tenants_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as (home, engine):
            assert unerasable(engine) == ""
            await engine.infer(say(SECRET), MODEL, None, PATIENT_S, Turn(program="p"))
            assert engine.contexts is not None
            assert await engine.contexts.save("p") > 0
            await engine.infer(say(SECRET), MODEL, None, PATIENT_S, Turn(program="q"))
            host, ram = home.host(), home.ram_folder()
            assert [path for path in ram.rglob("*") if path.is_file()]
            how = await erase(engine)
            assert not engine_host.is_alive(host)
            assert not [path for path in ram.rglob("*") if path.is_file()]
            assert "saved contexts are deleted" in how
            # It serves on, and knows nothing any more.
            again = await engine.infer(say(SECRET), MODEL, None, PATIENT_S, Turn(program="p"))
            assert again.usage.cached_tokens == 0

    asyncio.run(scenario())
