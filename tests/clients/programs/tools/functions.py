"""A program whose own functions are tools."""

import asyncio
import os
import signal
import sys

import orlop


def keep(folder, line):
    with open(f"{folder}/notes", "a") as notes:
        notes.write(f"{line}\n")


def crash_once(folder):
    if not os.path.exists(f"{folder}/crashed"):
        open(f"{folder}/crashed", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)


async def main(folder):
    async with orlop.connect() as kernel:

        @kernel.tool(effect="pure")
        def add(a: int, b: int = 2) -> int:
            """Add two numbers."""
            return a + b

        @kernel.tool
        async def note(text: str) -> str:
            keep(folder, f"{text} {orlop.effect_key()}")
            return "noted"

        @kernel.tool(shared=True)
        def fail(why: str) -> None:
            raise ValueError(why)

        print(await kernel.call_tool("add", a=40))
        print(await kernel.call_tool("note", text="first"))
        for tool, arguments in (("fail", {"why": "no"}), ("add", {"a": "x"}), ("nothing", {})):
            try:
                await kernel.call_tool(tool, **arguments)
            except orlop.KernelError as error:
                print(tool, error.code, error.message)
        print(await asyncio.gather(*(kernel.call_tool("add", a=n) for n in range(20))))
        child = await kernel.spawn([sys.executable, __file__, folder, "child"])
        print("child", await child.wait())
        if "crash" in sys.argv:
            crash_once(folder)
        print(await kernel.call_tool("note", text="second"))


async def child():
    async with orlop.connect() as kernel:
        for tool in ("add", "fail"):
            try:
                await kernel.call_tool(tool, **({"a": 1} if tool == "add" else {"why": "child"}))
            except orlop.KernelError as error:
                print(tool, error.code, error.message)


asyncio.run(child() if sys.argv[-1] == "child" else main(sys.argv[1]))
