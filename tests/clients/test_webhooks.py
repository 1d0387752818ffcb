"""Webhooks of a real kernel: signed messages out, and in where each starts one program."""

import asyncio
import base64
import json
import time
import urllib.error
import urllib.request
from pathlib import Path

from aiohttp import web
from live_kernel import LiveKernel, live_kernel

import orlop
from orlop.wire import webhook

KEY = b"k" * 32
PROGRAM = """
import os, json, pathlib, sys
with open(sys.argv[1], "a") as got:
    said = json.loads(os.environ["ORLOP_WEBHOOK"])["data"]
    got.write(os.environ["ORLOP_WEBHOOK_ID"] + " " + said + "\\n")
"""


def config(folder: Path, **more: str) -> str:
    (folder / "secret").write_text(webhook.PREFIX + base64.b64encode(KEY).decode())
    (folder / "secret").chmod(0o600)
    lines = "".join(f"{name} = {value}\n" for name, value in more.items())
    return f'\n[webhooks.shop]\nsecret_file = "{folder}/secret"\n{lines}'


def post(kernel: LiveKernel, id: str, data: str, key: bytes = KEY) -> tuple[int, str]:
    body = json.dumps({"data": data}).encode()
    headers = webhook.headers(key, id, int(time.time()), body)
    url = f"{kernel.url}/orlop/v1/webhooks/shop"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_signed_message_starts_its_program_once_however_often_it_is_delivered(
    tmp_path: Path,
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    got = tmp_path / "got"
    command = json.dumps(["python3", str(tmp_path / "program.py"), str(got)])
    with live_kernel(config(tmp_path, run=command)) as kernel:
        first = post(kernel, "msg_1", "hello")
        assert first[0] == 202 and json.loads(first[1])["again"] is False
        again = post(kernel, "msg_1", "hello")
        assert again[0] == 200 and json.loads(again[1])["again"] is True
        assert json.loads(again[1])["pid"] == json.loads(first[1])["pid"]
        assert post(kernel, "msg_2", "other", key=b"x" * 32)[0] == 401
        assert post(kernel, "msg_3", "x" * 70_000)[0] == 413
        assert post(kernel, "msg_2", "there")[0] == 202
        kernel.orlop("ps", "--all")
        give_up_s = time.monotonic() + 60
        while not got.exists() or len(got.read_text().splitlines()) < 2:
            assert time.monotonic() < give_up_s
            time.sleep(0.05)
        assert sorted(got.read_text().splitlines()) == ["msg_1 hello", "msg_2 there"]


def test_a_message_that_is_not_taken_is_sent_again_under_the_same_id(tmp_path: Path) -> None:
    received: list[tuple[str, bytes]] = []

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        id = webhook.verify(KEY, lambda name: request.headers.get(name, ""), body, time.time(), 60)
        received.append((id, body))
        return web.Response(status=503 if len(received) < 3 else 204)

    async def whole() -> object:
        app = web.Application()
        app.router.add_post("/hook", receive)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        try:
            return await asyncio.to_thread(call, url)
        finally:
            await runner.cleanup()

    def call(url: str) -> object:
        with (
            live_kernel(config(tmp_path, url=json.dumps(url))) as kernel,
            orlop.connect_sync(kernel.url, token=kernel.key) as program,
        ):
            return program.call_tool("shop.send", type="order.paid", data={"order": 7})

    assert asyncio.run(whole()) == {"status": 204}
    assert len(received) == 3 and len({id for id, _ in received}) == 1
    assert json.loads(received[0][1]) == {"type": "order.paid", "data": {"order": 7}}
