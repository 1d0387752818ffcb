"""Conversations by reference: whatever is referred to, the same messages come back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from orlop.abi.events import ContextRef
from orlop.abi.ids import DEFAULT_TENANT, Seq, TenantId
from orlop.abi.messages import Message, Text
from orlop.context.conversation import Contexts, Namer, extend

TEXTS = st.sampled_from(["", "hello", "again", "and again", "x" * 5_000])
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=st.none() | TEXTS | st.tuples(st.builds(Text, text=TEXTS)),
    name=st.sampled_from(["", "ann"]),
    is_error=st.booleans(),
)
TALKS = st.lists(st.tuples(st.lists(MESSAGES, max_size=4), MESSAGES), max_size=6)


def named(tenant: TenantId, data: bytes) -> bytes:
    return sha256(tenant.encode() + b"\0" + data).digest()[:16]


@dataclass
class Notebook:
    """What a journal would hold: by intent, its reference and its reply's name."""

    contexts: Contexts = field(default_factory=Contexts)
    namer: Namer = field(default_factory=lambda: Namer(named))
    calls: dict[Seq, tuple[ContextRef, bytes]] = field(default_factory=dict)

    def call(self, messages: Sequence[Message], reply: Message) -> tuple[bytes, ContextRef]:
        parts = [self.namer.part(DEFAULT_TENANT, message) for message in messages]
        digest, context = self.contexts.refer(parts)
        seq = Seq(len(self.calls) + 1)
        answer = self.namer.part(DEFAULT_TENANT, reply)
        self.calls[seq] = context, answer.name
        self.contexts.remember(digest, seq, reply=False)
        self.contexts.remember(extend(digest, answer.name), seq, reply=True)
        return digest, context

    def names(self, context: ContextRef) -> list[bytes]:
        """The whole conversation, by following its references back."""
        names: list[bytes] = []
        if context.parent_seq is not None:
            parent, answer = self.calls[context.parent_seq]
            names = [*self.names(parent), *([answer] if context.reply else [])]
        return names + [bytes.fromhex(name) for name in context.new]


@given(TALKS)
def test_a_reference_followed_back_gives_every_message_in_order(
    talk: list[tuple[list[Message], Message]],
) -> None:
    notebook, said = Notebook(), list[Message]()
    for new, reply in talk:
        said += new
        _, context = notebook.call(said, reply)
        expected = [Namer(named).part(DEFAULT_TENANT, message).name for message in said]
        assert notebook.names(context) == expected
        said.append(reply)


@given(TALKS)
def test_what_is_sent_again_is_not_named_again(
    talk: list[tuple[list[Message], Message]],
) -> None:
    notebook, said = Notebook(), list[Message]()
    for new, reply in talk:
        is_first = not said
        said += new
        _, context = notebook.call(said, reply)
        assert len(context.new) <= len(new) or is_first
        said.append(reply)


@given(st.lists(MESSAGES, max_size=5), st.lists(MESSAGES, max_size=5))
def test_two_conversations_have_one_digest_only_if_they_are_equal(
    one: list[Message], other: list[Message]
) -> None:
    digests = [Notebook().call(talk, Message("assistant"))[0] for talk in (one, other)]
    assert (digests[0] == digests[1]) == (one == other)


@given(MESSAGES)
def test_tenants_share_no_names(message: Message) -> None:
    namer = Namer(named)
    names = {namer.part(TenantId(tenant), message).name for tenant in ("one", "two")}
    assert len(names) == 2
