"""What every journal must do, whatever tape it is on."""

import asyncio
import random

import msgspec
import pytest
from journals import (
    AGENT,
    Disk,
    intent,
    message,
    opened,
    outcome,
)

from orlop.abi.errors import Broken, JournalStopped, NotFound, NotReady
from orlop.abi.events import Booted, Header
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, CallId, ProcessId, Seq, TenantId
from orlop.abi.kernels import ARRIVED
from orlop.abi.limits import BLOB_BYTES_MIN, CHECKPOINT_EVENTS
from orlop.store import whole
from orlop.store.audit import Audit, Finding
from orlop.store.chain import GENESIS
from orlop.store.journal import Draft, Journal


async def step(journal: Journal, number: int) -> Header:
    """An intent and its outcome, durable."""
    entered = journal.append(intent(number))
    returned = journal.append(outcome(number, entered.seq))
    await journal.durable(returned.seq)
    return returned


def audited(disk: Disk) -> Finding:
    """The whole journal, looked over offline."""
    tape = disk.tape()
    try:
        return Audit(tape, None, whole=True, progress=None).run()
    finally:
        tape.close()


def test_what_was_appended_is_read_back_in_order(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            headers = [journal.append(intent(number)) for number in range(5)]
            await journal.flush()
            events = await journal.read(headers[0].seq)
            assert [event.header for event in events] == headers
            assert [event.body for event in events] == [intent(number).body for number in range(5)]

    asyncio.run(scenario())


def test_a_new_journal_begins_with_the_boot(disk: Disk) -> None:
    async def scenario() -> None:
        journal = disk.journal()
        opening = await journal.open("9.9", "host", 7)
        assert opening.is_new and not opening.was_crash and opening.epoch == 1
        first = (await journal.read(Seq(1)))[0]
        assert first.header.seq == 1 and first.header.process == KERNEL_PROCESS
        assert first.body is not None
        booted = msgspec.json.decode(first.body, type=Booted)
        assert booted == Booted(boot=journal.boot, epoch=1, version="9.9", host="host", os_pid=7)
        await journal.close()

    asyncio.run(scenario())


def test_sequences_are_gap_free_across_lives_and_within_each_process(disk: Disk) -> None:
    async def scenario() -> None:
        other = ProcessId("prc_other")
        for life in range(3):
            async with opened(disk) as journal:
                for number in range(4):
                    journal.append(intent(10 * life + number))
                    journal.append(intent(10 * life + number, other))
        async with opened(disk) as journal:
            events = await journal.read(Seq(1))
            assert [event.header.seq for event in events] == list(range(1, len(events) + 1))
            for process in (AGENT, other):
                of_process = await journal.of_process(process)
                assert [event.header.process_seq for event in of_process] == list(range(1, 13))

    asyncio.run(scenario())


def test_a_process_that_arrives_goes_on_with_its_own_numbers(disk: Disk) -> None:
    async def scenario() -> None:
        guest = ProcessId("prc_guest")
        async with opened(disk) as journal:
            journal.append(intent(1, guest))
        async with opened(disk) as journal:
            journal.adopt(guest, 40)
            arrived = journal.append(
                Draft(process=guest, kind=ARRIVED, body=b"{}", tenant=DEFAULT_TENANT)
            )
            assert arrived.process_seq == 41
            journal.append(intent(2, guest))
        async with opened(disk) as journal:
            assert journal.process_head(guest) == 42
            assert journal.append(intent(3, guest)).process_seq == 43
            await journal.flush()
            numbers = [event.header.process_seq for event in await journal.of_process(guest)]
            assert numbers == [1, 41, 42, 43]
            later = await journal.of_process(guest, after=41)
            assert [event.header.process_seq for event in later] == [42, 43]
        assert not audited(disk).damage

    asyncio.run(scenario())


def test_each_event_names_the_hash_of_the_one_before(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            await step(journal, 1)
            before = GENESIS
            for event in await journal.read(Seq(1)):
                assert event.header.prev == before
                before = event.header.hash

    asyncio.run(scenario())


def test_each_life_has_a_higher_epoch_and_its_own_boot(disk: Disk) -> None:
    async def scenario() -> None:
        seen = []
        for _ in range(3):
            async with opened(disk) as journal:
                seen.append((journal.epoch, journal.boot))
        async with opened(disk) as journal:
            events = await journal.read(Seq(1), Seq(3))
            assert [(event.header.epoch, event.header.boot) for event in events] == seen
        assert [epoch for epoch, _ in seen] == [1, 2, 3]
        assert len({boot for _, boot in seen}) == 3

    asyncio.run(scenario())


def test_an_event_that_nobody_waits_for_goes_with_the_next_commit(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            entered = journal.append(intent(1))
            await asyncio.sleep(0)
            assert journal.durable_seq < entered.seq
            assert await journal.read(entered.seq) == []
            await journal.durable(journal.append(outcome(1, entered.seq)).seq)
            assert len(await journal.read(entered.seq)) == 2

    asyncio.run(scenario())


def test_a_waiter_that_leaves_takes_no_other_with_it(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            seq = journal.append(intent(1)).seq
            waiters = [asyncio.ensure_future(journal.durable(seq)) for _ in range(3)]
            await asyncio.sleep(0)
            waiters[1].cancel()
            await asyncio.gather(waiters[0], waiters[2])
            assert waiters[1].cancelled()

    asyncio.run(scenario())


def test_nobody_waits_for_an_event_that_was_never_appended(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            with pytest.raises(Broken, match="never appended"):
                await journal.durable(Seq(journal.head_seq + 1))

    asyncio.run(scenario())


def test_a_message_is_stored_once_and_found_by_its_name(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            hello, world = message(journal, "hello"), message(journal, "world")
            journal.append(intent(1, parts=(hello, hello)))
            journal.append(intent(2, parts=(hello, world)))
            await journal.flush()
        async with opened(disk) as journal:
            journal.append(intent(3, parts=(world, hello)))
            await journal.flush()
            assert await journal.part(DEFAULT_TENANT, hello.name) == b"hello"
            assert await journal.part(DEFAULT_TENANT, world.name) == b"world"
        tape = disk.tape()
        tape.look()
        parts = tape.parts_between(Seq(1), Seq(100))
        assert sorted(body.name or b"" for body in parts) == sorted((hello.name, world.name))
        tape.close()

    asyncio.run(scenario())


def test_two_tenants_share_neither_names_nor_messages(disk: Disk) -> None:
    async def scenario() -> None:
        other = TenantId("other")
        async with opened(disk) as journal:
            mine, theirs = message(journal, "same"), message(journal, "same", other)
            assert mine.name != theirs.name
            assert journal.args_digest(DEFAULT_TENANT, b"x") != journal.args_digest(other, b"x")
            journal.append(intent(1, parts=(mine,)))
            await journal.flush()
            with pytest.raises(NotFound):
                await journal.part(other, theirs.name)
            with pytest.raises(NotFound):
                await journal.part(other, mine.name)

    asyncio.run(scenario())


def test_large_bodies_come_back_byte_for_byte(disk: Disk) -> None:
    async def scenario() -> None:
        # Random, so that it can't be packed to less than a blob.
        large = random.Random(1).randbytes(2 * BLOB_BYTES_MIN)
        async with opened(disk) as journal:
            part = message(journal, large.hex())
            seq = journal.append(
                Draft(process=AGENT, kind="x", body=large, tenant=DEFAULT_TENANT, parts=(part,))
            ).seq
            await journal.flush()
        async with opened(disk) as journal:
            assert (await journal.read(seq, seq))[0].body == large
            assert await journal.part(DEFAULT_TENANT, part.name) == part.data
        assert audited(disk).damage == []

    asyncio.run(scenario())


def test_a_call_in_one_row_is_read_as_its_three_events(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            await step(journal, 0)
            bodies = [b'{"kind":"%b"}' % kind.encode() for kind in whole.HELD]
            draft = msgspec.structs.replace(intent(7), kind=whole.KIND, key=b"7")
            draft = msgspec.structs.replace(draft, body=whole.joined(bodies))
            seq = journal.append(draft).seq
            last = journal.append(intent(8)).seq
            await journal.flush()
            events = await journal.read(seq, seq)
            assert [(one.header.kind, one.body) for one in events] == list(
                zip(whole.HELD, bodies, strict=True)
            )
            assert await journal.of_call(CallId(f"cal_{7:026d}")) == events
            whole_life = await journal.of_process(AGENT)
            assert [one.header.process_seq for one in whole_life] == [1, 2, 3, 3, 3, 4]
            outcomes = await journal.of_process(AGENT, kinds=["call.returned"])
            assert [one.header.seq for one in outcomes] == [seq - 1, seq]
            back = await journal.newest("call.entered", 2)
            assert [one.header.seq for one in back] == [last, seq]
            assert await journal.at((seq,)) == events

    asyncio.run(scenario())


def test_events_are_found_by_call_and_by_kind(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            for number in range(3):
                await step(journal, number)
            call = await journal.of_call(CallId(f"cal_{1:026d}"))
            assert [event.header.kind for event in call] == ["call.entered", "call.returned"]
            assert call[1].header.cause == call[0].header.seq
            newest = await journal.latest("call.entered")
            assert newest is not None and newest.header.call == CallId(f"cal_{2:026d}")
            assert await journal.latest("kernel.snapshot") is None
            back = await journal.newest("call.returned", 2)
            assert [event.header.call for event in back] == [
                CallId(f"cal_{number:026d}") for number in (2, 1)
            ]
            outcomes = await journal.of_process(AGENT, kinds=["call.returned"])
            assert [event.header.process_seq for event in outcomes] == [2, 4, 6]
            tail = await journal.of_process(AGENT, after=4)
            assert [event.header.process_seq for event in tail] == [5, 6]

    asyncio.run(scenario())


def test_reading_has_bounds(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            for number in range(3000):
                journal.append(intent(number))
            await journal.flush()
            assert len(await journal.read(Seq(1))) == 3001
            assert len(await journal.read(Seq(1), limit=2500)) == 2500
            assert [e.header.seq for e in await journal.read(Seq(7), Seq(9))] == [7, 8, 9]
            assert await journal.read(Seq(4000)) == []
            assert len(await journal.of_process(AGENT)) == 3000

    asyncio.run(scenario())


def test_a_clean_end_is_told_from_a_crash(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            journal.append(intent(1))
        journal = disk.journal()
        assert (await journal.open("test", "host", 1)).was_crash
        journal.append(
            Draft(process=KERNEL_PROCESS, kind="kernel.halted", body=b"{}", tenant=DEFAULT_TENANT)
        )
        await journal.close()
        journal = disk.journal()
        assert not (await journal.open("test", "host", 1)).was_crash
        await journal.close()

    asyncio.run(scenario())


def test_a_second_kernel_is_refused(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk):
            second = disk.journal()
            with pytest.raises(JournalStopped, match="held by another kernel"):
                await second.open("test", "host", 2)

    asyncio.run(scenario())


def test_a_journal_that_is_not_open_says_so(disk: Disk) -> None:
    async def scenario() -> None:
        journal = disk.journal()
        with pytest.raises(NotReady):
            journal.append(intent(1))
        with pytest.raises(NotReady):
            await journal.read(Seq(1))
        await journal.close()

    asyncio.run(scenario())


def test_a_second_outcome_of_one_key_stops_the_journal(disk: Disk) -> None:
    async def scenario() -> None:
        journal = disk.journal()
        await journal.open("test", "host", 1)
        entered = journal.append(intent(1))
        await journal.durable(journal.append(outcome(1, entered.seq)).seq)
        with pytest.raises(JournalStopped):
            await journal.durable(journal.append(outcome(1, entered.seq)).seq)
        assert journal.stopped is not None
        with pytest.raises(JournalStopped):
            journal.append(intent(2))
        assert len(await journal.read(Seq(1))) == 3
        await journal.close()

    asyncio.run(scenario())


def test_pruned_bodies_are_gone_and_the_chain_still_verifies(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            part = message(journal, random.Random(1).randbytes(BLOB_BYTES_MIN).hex())
            old = journal.append(intent(1, parts=(part,)))
            new = journal.append(outcome(1, old.seq))
            assert await journal.prune(new.seq, keep=("kernel.booted",)) == 2
            events = await journal.read(Seq(1))
            assert [event.body is None for event in events] == [False, True, False]
            with pytest.raises(NotFound):
                await journal.part(DEFAULT_TENANT, part.name)
            journal.append(intent(2, parts=(part,)))
            await journal.flush()
            assert await journal.part(DEFAULT_TENANT, part.name) == part.data
        assert audited(disk).damage == []

    asyncio.run(scenario())


def test_a_forgotten_tenant_is_forgotten_and_the_chain_still_verifies(disk: Disk) -> None:
    async def scenario() -> None:
        other = TenantId("other")
        async with opened(disk) as journal:
            part = message(journal, "theirs", other)
            draft = Draft(process=AGENT, kind="x", body=b"theirs", tenant=other, parts=(part,))
            seq = journal.append(draft).seq
            await journal.forget(other)
            assert (await journal.read(seq, seq))[0].body is None
            with pytest.raises(NotFound):
                await journal.part(other, part.name)
        async with opened(disk) as journal:
            assert (await journal.read(seq, seq))[0].body is None
        assert audited(disk).damage == []

    asyncio.run(scenario())


def test_checkpoints_are_signed_and_fit_the_history(disk: Disk) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            for number in range(CHECKPOINT_EVENTS + 10):
                journal.append(intent(number))
        found = audited(disk)
        tape = disk.tape()
        tape.look()
        sizes = [made.size for made in tape.checkpoints()]
        assert sizes == [CHECKPOINT_EVENTS + 11, CHECKPOINT_EVENTS]
        assert tape.checkpoints()[0].root == found.tree.root()
        tape.close()

    asyncio.run(scenario())


def test_many_agents_share_commits_and_none_is_lost(disk: Disk) -> None:
    async def scenario() -> None:
        async def agent(name: int) -> None:
            process = ProcessId(f"prc_{name}")
            for number in range(10):
                entered = journal.append(intent(100 * name + number, process))
                await journal.durable(entered.seq)
                returned = journal.append(outcome(100 * name + number, entered.seq, process))
                await journal.durable(returned.seq)

        async with opened(disk) as journal:
            await asyncio.gather(*(agent(name) for name in range(16)))
        async with opened(disk) as journal:
            for name in range(16):
                assert len(await journal.of_process(ProcessId(f"prc_{name}"))) == 20
        assert audited(disk).damage == []

    asyncio.run(scenario())
