"""Commands on files alone, where no kernel ever ran: they say so, and make nothing there."""

from pathlib import Path

import pytest

from orlop.shell.commands import run


@pytest.mark.parametrize(
    "words",
    [
        ("journal", "verify"),
        ("journal", "accept-loss", "--reason", "a mistyped folder"),
        ("upgrade",),
        ("upgrade", "--plan"),
        ("move", "--to", "sqlite"),
        ("backup", "{aside}"),
        ("drill",),
    ],
    ids=" ".join,
)
def test_a_home_without_a_journal_is_told_of_and_left_as_it_is(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, aside = tmp_path / "mistyped", tmp_path / "aside"
    said = [word.format(aside=aside) for word in words]
    assert run([*said, "--home", str(home)]) == 4
    assert "holds no journal" in capsys.readouterr().err
    assert not home.exists()
