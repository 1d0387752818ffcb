"""What the journal keeps in RAM of what it has written is bounded, without a flush."""

import asyncio

import pytest
from journals import VolatileDisk, intent, message, opened

from orlop.store import stamp
from orlop.store.volatile import VolatileTape


class Asked(VolatileTape):
    """Notes which names were looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []

    def has_part(self, name: bytes) -> bool:
        self.asked.append(name)
        return super().has_part(name)


class AskedDisk(VolatileDisk):
    def __init__(self) -> None:
        super().__init__()
        self._tape = self.asked = Asked()


def test_old_names_leave_ram_while_calls_go_on_and_their_messages_are_not_stored_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stamp, "JOURNAL_PARTS_KNOWN", 8)

    async def scenario() -> None:
        disk = AskedDisk()
        async with opened(disk) as journal:
            parts = [message(journal, f"message {number}") for number in range(40)]
            for number, part in enumerate(parts):
                await journal.durable(journal.append(intent(number, parts=(part,))).seq)
            disk.asked.asked.clear()
            header = journal.append(intent(40, parts=(parts[0], parts[-1])))
            await journal.durable(header.seq)
            assert disk.asked.asked == [parts[0].name], "the newest is known, the oldest looked up"
            assert disk.asked.parts_between(header.seq, header.seq) == []

    asyncio.run(scenario())
