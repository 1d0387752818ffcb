"""Any sequence of appends, waits, crashes and restarts leaves what a list and a dict would hold."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from journals import VolatileDisk, intent, message, outcome

from orlop.abi.errors import JournalStopped, NotFound
from orlop.abi.events import Header
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, ProcessId, Seq
from orlop.machine.chance import SeededChance
from orlop.store.audit import Audit
from orlop.store.journal import Journal, Part
from orlop.store.keyring import Keyring

PROCESSES = [ProcessId(f"prc_{name}") for name in "abc"]
TEXTS = st.sampled_from(["", "a", "b", "hello", "x" * 300])


class JournalMachine(RuleBasedStateMachine):
    """`durable`: what was acknowledged.  `queued`: what was appended after that."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.disk = VolatileDisk(seed=1)
        self.durable: list[Header] = []
        self.queued: list[Header] = []
        self.bodies: dict[int, bytes] = {}
        self.parts: dict[bytes, bytes] = {}
        self.parts_queued: dict[bytes, bytes] = {}
        self.number = 0

    @initialize()
    def boot(self) -> None:
        self.journal: Journal = self.disk.journal()
        self.loop.run_until_complete(self.journal.open("test", "host", 1))
        # A commit that was cut off by the crash may be there after all: the model looks.
        head = Seq(len(self.durable) + 1)
        for event in self.loop.run_until_complete(self.journal.read(head)):
            if event.header.process != KERNEL_PROCESS:
                assert event.header in self.queued and event.body is not None
                assert event.body == self.bodies[event.header.seq]
                self.parts |= self.parts_queued
            assert event.body is not None
            self.bodies[event.header.seq] = event.body
            self.durable.append(event.header)
        self.queued, self.parts_queued = [], {}

    @rule(process=st.sampled_from(PROCESSES), texts=st.lists(TEXTS, max_size=4), ends=st.booleans())
    def append(self, process: ProcessId, texts: list[str], ends: bool) -> None:
        self.number += 1
        parts: tuple[Part, ...] = tuple(message(self.journal, text) for text in texts)
        draft = outcome(self.number, 1, process) if ends else intent(self.number, process, parts)
        header = self.journal.append(draft)
        self.bodies[header.seq] = draft.body
        self.queued.append(header)
        if not ends:
            self.parts_queued |= {part.name: part.data for part in parts}

    @precondition(lambda self: self.queued)
    @rule(which=st.integers(0, 10))
    def wait(self, which: int) -> None:
        seq = self.queued[min(which, len(self.queued) - 1)].seq
        self.loop.run_until_complete(self.journal.durable(seq))
        self._acknowledge()

    @rule()
    def flush(self) -> None:
        self.loop.run_until_complete(self.journal.flush())
        self._acknowledge()

    @precondition(lambda self: self.queued)
    @rule(at_anchor=st.booleans(), seed=st.integers(0, 9))
    def fail_and_restart(self, at_anchor: bool, seed: int) -> None:
        faults = self.disk.tape().faults
        faults.anchor_fails_at, faults.commit_fails_at = int(at_anchor), int(not at_anchor)
        try:
            self.loop.run_until_complete(self.journal.flush())
        except JournalStopped:
            pass
        else:
            raise AssertionError("the planned fault did not stop the journal")
        self.loop.run_until_complete(self.journal.close())
        self.disk.tape().crash(SeededChance(seed))
        self.boot()

    @rule()
    def restart(self) -> None:
        self.loop.run_until_complete(self.journal.close())
        self._acknowledge()
        self.boot()

    @invariant()
    def what_is_read_is_what_was_acknowledged(self) -> None:
        if not self.durable:
            return
        events = self.loop.run_until_complete(self.journal.read(Seq(1)))
        assert [event.header for event in events] == self.durable
        assert all(event.body == self.bodies[event.header.seq] for event in events)

    @invariant()
    def each_process_has_its_own_gap_free_numbers(self) -> None:
        for process in PROCESSES if self.durable else []:
            events = self.loop.run_until_complete(self.journal.of_process(process))
            wanted = [header for header in self.durable if header.process == process]
            assert [event.header for event in events] == wanted
            assert [header.process_seq for header in wanted] == list(range(1, len(wanted) + 1))

    @invariant()
    def every_message_is_there(self) -> None:
        for name, data in self.parts.items():
            try:
                found = self.loop.run_until_complete(self.journal.part(DEFAULT_TENANT, name))
            except NotFound as error:
                raise AssertionError(f"{data!r} is gone") from error
            assert found == data

    def teardown(self) -> None:
        self.loop.run_until_complete(self.journal.close())
        verifier = Keyring.volatile(SeededChance(1)).verifier
        assert Audit(self.disk.tape(), verifier, whole=True, progress=None).run().damage == []
        self.loop.close()

    def _acknowledge(self) -> None:
        self.durable += self.queued
        self.parts |= self.parts_queued
        self.queued, self.parts_queued = [], {}


JournalMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestJournal = JournalMachine.TestCase
