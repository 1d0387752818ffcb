"""What processes inherit."""

import pytest

from orlop.abi.errors import BadCall
from orlop.sdk.environment import passed_on, with_named

MINE = {"PATH": "/bin", "LC_ALL": "C", "PYTHONPATH": "src", "OPENAI_API_KEY": "sk", "COLOR": "red"}


def test_secrets_are_not_passed_on() -> None:
    assert passed_on(MINE) == {"PATH": "/bin", "LC_ALL": "C", "PYTHONPATH": "src"}


def test_named_variables_are_added() -> None:
    chosen = with_named(["COLOR", "MODE=fast", "PATH=/opt"], MINE)
    assert chosen["COLOR"] == "red"
    assert chosen["MODE"] == "fast"
    assert chosen["PATH"] == "/opt"


def test_a_variable_that_is_not_set_is_refused() -> None:
    with pytest.raises(BadCall, match="--env SHAPE"):
        with_named(["SHAPE"], MINE)
