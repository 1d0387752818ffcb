"""Code that models write, in an interpreter that can do nothing."""

import asyncio
from collections.abc import Mapping

import pytest

from orlop.abi.errors import Denied, ToolFailed
from orlop.effects.monty import CodeConfig, MontyTool

pytest.importorskip("pydantic_monty")


def ran(code: str, *, tools: tuple[str, ...] = (), **inputs: object) -> object:
    async def run() -> object:
        tool = MontyTool(CodeConfig(enabled=True, tools=tools, run_s=0.5, memory_mib=16))
        try:
            return await tool.run({"code": code, "inputs": inputs}, ask)
        finally:
            await tool.close()

    return asyncio.run(run())


async def ask(name: str, arguments: Mapping[str, object]) -> object:
    if name == "forbidden":
        raise Denied("no")
    return {"tool": name, **arguments}


def test_its_last_value_and_what_it_printed_come_back() -> None:
    assert ran("print('hi')\ninputs['a'] + 1", a=2) == {"value": 3, "printed": "hi\n"}


def test_it_calls_the_tools_that_are_named_and_no_others() -> None:
    found = ran("await shop_price(item='tea')", tools=("shop.price",))
    assert found == {"value": {"tool": "shop.price", "item": "tea"}, "printed": ""}
    with pytest.raises(ToolFailed, match="NameError"):
        ran("await shop_price(item='tea')")


def test_a_tool_that_refuses_is_an_error_that_the_code_may_catch() -> None:
    code = "try:\n    await forbidden()\nexcept Exception as e:\n    print(e)\n'went on'"
    assert ran(code, tools=("forbidden",)) == {"value": "went on", "printed": "forbidden: no\n"}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("open('/etc/passwd').read()", "PermissionError"),
        ("import os\nos.listdir('/')", "PermissionError"),
        ("import socket", "ModuleNotFoundError"),
        ("import subprocess", "ModuleNotFoundError"),
        ("__import__('os')", "NameError"),
        ("while True: pass", "TimeoutError"),
        ("[0] * 10**9", "MemoryError"),
        ("print('x' * 10**6)", "MemoryError"),
        ("def f(): f()\nf()", "RecursionError"),
        ("x = ", "Expected an expression"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_what_it_may_not_do_fails_and_says_so(code: str, said: str) -> None:
    with pytest.raises(ToolFailed, match=said):
        ran(code)
