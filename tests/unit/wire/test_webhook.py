"""Signatures as Standard Webhooks have them, and what is not one."""

import base64

import pytest

from orlop.abi.errors import BadCall, Unauthenticated
from orlop.wire import webhook

KEY = webhook.secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
BODY = b'{"test": 2432232314}'
ID, STAMP = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330


def read(fields: dict[str, str], body: bytes = BODY, now_s: float = STAMP) -> str:
    return webhook.verify(KEY, lambda name: fields.get(name, ""), body, now_s, 300)


def test_the_signature_is_the_one_of_the_standards_own_example() -> None:
    wanted = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert webhook.sign(KEY, ID, STAMP, BODY) == wanted
    assert read(webhook.headers(KEY, ID, STAMP, BODY)) == ID


def test_of_several_signatures_one_must_be_right() -> None:
    fields = webhook.headers(KEY, ID, STAMP, BODY)
    fields[webhook.SIGNATURE] = f"v1,AAAA v1a,x {fields[webhook.SIGNATURE]}"
    assert read(fields) == ID


def test_what_was_changed_or_is_too_old_is_refused() -> None:
    fields = webhook.headers(KEY, ID, STAMP, BODY)
    changes = [
        ({webhook.ID: "msg_other"}, BODY, STAMP),
        ({webhook.TIMESTAMP: str(STAMP + 1)}, BODY, STAMP),
        ({webhook.SIGNATURE: "v1,AAAA"}, BODY, STAMP),
        ({webhook.SIGNATURE: ""}, BODY, STAMP),
        ({webhook.TIMESTAMP: "soon"}, BODY, STAMP),
        ({}, BODY + b" ", STAMP),
        ({}, BODY, STAMP + 301),
        ({}, BODY, STAMP - 301),
    ]
    for change, body, now_s in changes:
        with pytest.raises(Unauthenticated):
            read({**fields, **change}, body, now_s)
    with pytest.raises(BadCall):
        read({**fields, webhook.ID: "x" * 201})


def test_a_secret_is_base64_and_long_enough() -> None:
    with pytest.raises(ValueError, match="base64"):
        webhook.secret("whsec_!")
    with pytest.raises(ValueError, match="at least"):
        webhook.secret("whsec_" + base64.b64encode(b"short").decode())
