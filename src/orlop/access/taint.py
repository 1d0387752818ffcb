"""Where data came from: labels of messages and calls of one process.

Labels come in with results (of tools that are not trusted, of other tenants' files, of the web) and
stay on what is made from them:

1. A message has the labels that it was given once, by its name (a keyed digest): agents send their
   conversations again and again.
2. The result of a tool, as a message, has the labels of that tool.  Which tool it is of, the
   message before it says.  `local`: a tool that the agent runs by itself, unseen by the kernel.
3. Any other message has the labels of the data of which it holds a piece (five words in a row, or a
   short value as a whole), however it is wrapped.
4. What a model answers has all labels of what it was shown; so has the use of a tool in it.
5. A tool call has the labels of the answers that ask for it with just these arguments.  One that no
   answer asks for was made by the program, from anything: it has all labels of the process.
6. A picture, a recording or a file can't be looked into: it has all labels of the process.
7. Where the pieces are not known (past a bound; after a restart, where the journal has not kept
   them any more), everything new has all labels of the process.  A child knows its parent's.

So a conversation that has none of this in it stays clean, also in a process that has read the web.
Invariant: labels of a process are never taken away.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import msgspec

from orlop.abi.errors import BadCall
from orlop.abi.ids import CallId
from orlop.abi.labels import MANY
from orlop.abi.limits import (
    LABEL_PRINTS_MAX,
    LABEL_WORDS_MAX,
    LABELLED_MESSAGES_MAX,
    LABELS_MAX,
    TOOL_USES_KNOWN_MAX,
)
from orlop.abi.messages import Audio, File, Foreign, Image, Message
from orlop.wire.canonical import canonical

Labels = frozenset[str]

Tools = Callable[[str], Labels | None]
"""Labels of what a tool of the kernel's says; None: the kernel has none of that name."""

CLEAN: Final[Labels] = frozenset()
LOCAL: Final = "local"

WORDS: Final = 5
"""In a row, that tell where a text comes from."""

SHORT_CHARS_MIN: Final = 12
"""A value of fewer words is told by all of them together, if they are as long."""

WORD: Final = re.compile(r"\w+")
ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})|\\[nrtbf/\"\\]")
"""As JSON has it inside of strings: a result may be shown to a model as JSON in a text."""


def words(text: str) -> list[str]:
    """Lower case, without punctuation; JSON's escapes are undone."""
    if "\\" in text:
        text = ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else " ", text)
    return WORD.findall(text.lower())


def texts(value: object) -> Iterator[str]:
    """The strings in a JSON value, numbers too; names of fields say nothing about their origin."""
    match value:
        case str():
            yield value
        case bytes():
            yield value.decode(errors="replace")
        case bool() | None:
            return
        case int() | float():
            yield str(value)
        case dict():
            for inner in value.values():
                yield from texts(inner)
        case list() | tuple():
            for inner in value:
                yield from texts(inner)
        case _:
            yield str(value)


def hashes(found: Sequence[str], length: int) -> set[int]:
    """All runs of `length` words, each as a number."""
    return {hash(tuple(found[place : place + length])) for place in range(len(found) - length + 1)}


def message_text(message: Message) -> str:
    """All that a message says, in one piece."""
    parts = [message.text(), message.reasoning, message.refusal]
    parts += [use.arguments for use in message.tool_uses]
    if isinstance(message.content, tuple):
        foreign = [part.value for part in message.content if isinstance(part, Foreign)]
        parts += [text for value in foreign for text in texts(value)]
    return "\n".join(part for part in parts if part)


@dataclass(eq=False, slots=True)
class Tracker:
    """What is known of one process's data.  carried: by label, the call that brought it first."""

    carried: dict[str, CallId] = field(default_factory=dict)
    is_blind: bool = False
    """The pieces of what it has received are not known (any more)."""
    is_looked_up: bool = False
    """The journal has been asked for them, if there was anything to ask for."""
    _names: dict[bytes, Labels] = field(default_factory=dict)
    """Of messages, by name; those without labels are not kept."""
    _prints: dict[int, dict[int, Labels]] = field(default_factory=dict)
    """Pieces of data as numbers, by how many words they have."""
    _uses: dict[bytes, list[tuple[str, Labels]]] = field(default_factory=dict)
    """Uses of tools that models have asked for: by arguments, the tool's name and its labels; what
    was asked for last is last."""
    _seen: set[bytes] = field(default_factory=set)
    """Names of messages that were looked at and are clean."""

    def received(
        self, labels: Labels, call: CallId, value: object, *, name: bytes | None = None
    ) -> None:
        """A result with labels has come; `name`: of the message that it is, where it is one."""
        if not labels:
            return
        for label in sorted(labels - self.carried.keys()):
            is_full = len(self.carried) >= LABELS_MAX
            self.carried.setdefault(MANY if is_full else label, call)
        if name is not None:
            self._seen.discard(name)
            self._names[name] = self._names.get(name, CLEAN) | labels
        for text in texts(value):
            self._print(text, labels)
        self._bound()

    def _print(self, text: str, labels: Labels) -> None:
        """Know the text again by its pieces."""
        found = words(text)
        length = min(WORDS, len(found))
        if len(found) > LABEL_WORDS_MAX:
            self.is_blind = True
        elif length == WORDS or sum(map(len, found)) >= SHORT_CHARS_MIN:
            known = self._prints.setdefault(length, {})
            for piece in hashes(found, length):
                known[piece] = known.get(piece, CLEAN) | labels

    def adopt(self, other: "Tracker") -> None:
        """What another process knows, whose child this one is."""
        for label, call in other.carried.items():
            self.carried.setdefault(label, call)
        self._names.update(other._names)
        for length, known in other._prints.items():
            mine = self._prints.setdefault(length, {})
            for piece, labels in known.items():
                mine[piece] = mine.get(piece, CLEAN) | labels
        self.is_blind |= other.is_blind
        self._bound()

    def _bound(self) -> None:
        """Past its bounds it knows nothing in particular any more, and everything in general."""
        if sum(map(len, self._prints.values())) > LABEL_PRINTS_MAX:
            self.is_blind = True
            self._prints.clear()
        if len(self._names) > LABELLED_MESSAGES_MAX:
            self.is_blind = True
            self._names.clear()
        if len(self._seen) > LABELLED_MESSAGES_MAX:
            self._seen.clear()

    def all(self) -> Labels:
        return frozenset(self.carried)

    def of_conversation(
        self,
        messages: Sequence[Message],
        names: Sequence[bytes],
        tools: Tools,
        call: CallId,
    ) -> Labels:
        """What a model is shown by `call`."""
        found: Labels = CLEAN
        asked: dict[str, str] = {}
        for message, name in zip(messages, names, strict=True):
            for use in message.tool_uses:
                asked[use.id] = use.name
            if name in self._seen:
                continue
            known = self._names.get(name)
            found |= self._look(message, name, asked, tools, call) if known is None else known
        return found

    def _look(
        self,
        message: Message,
        name: bytes,
        asked: Mapping[str, str],
        tools: Tools,
        call: CallId,
    ) -> Labels:
        """At a message for the first time."""
        text, labels = message_text(message), CLEAN
        if message.role == "tool" or message.tool_use_id:
            told = tools(asked.get(message.tool_use_id, message.name))
            labels = frozenset([LOCAL]) if told is None else told
            self.received(labels, call, text, name=name)
        is_dark = isinstance(message.content, tuple) and any(
            isinstance(part, Image | Audio | File) for part in message.content
        )
        if (self.is_blind and message.role not in ("system", "developer")) or is_dark:
            labels |= self.all()
        elif self.carried:
            labels |= self._of_text(text)
        if labels:
            self._names[name] = labels
        else:
            self._seen.add(name)
        self._bound()
        return labels

    def _of_text(self, text: str) -> Labels:
        """By the pieces that it shares with labelled data."""
        found: Labels = CLEAN
        said = words(text)
        for length, known in self._prints.items():
            for piece in known.keys() & hashes(said, length):
                found |= known[piece]
        return found

    def of_texts(self, given: Iterable[str]) -> Labels:
        """Of what is no conversation."""
        return self.all() if self.is_blind else CLEAN.union(*map(self._of_text, given))

    def answered(self, message: Message, name: bytes, labels: Labels, call: CallId) -> None:
        """A model has answered, having been shown what has these labels."""
        if not labels and not message.tool_uses:
            return
        for use in message.tool_uses:
            if (key := _key(use.arguments)) is None:
                continue
            uses = self._uses[key] = self._uses.pop(key, [])
            if (use.name, labels) not in uses:
                uses.append((use.name, labels))
            if len(self._uses) > TOOL_USES_KNOWN_MAX:
                del self._uses[next(iter(self._uses))]
        self.received(labels, call, message_text(message), name=name)
        self._bound()

    def of_tool_call(self, tool: str, arguments: Mapping[str, object]) -> Labels:
        """By who has asked for it; clean in a process that has received nothing."""
        if not self.carried:
            return CLEAN
        uses = self._uses.get(_digest(canonical(arguments)), ())
        matching = [labels for name, labels in uses if plain(name) == plain(tool)]
        if not matching or self.is_blind:
            return self.all()
        return CLEAN.union(*matching)


def plain(name: str) -> str:
    """Models are shown other names than the kernel has: `time.now` may be `time_now` there."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _key(arguments: str) -> bytes | None:
    """Of a use's arguments, however they are spelled; None: they are no JSON."""
    try:
        return _digest(canonical(msgspec.json.decode(arguments or "{}")))
    except (msgspec.DecodeError, BadCall):
        return None


def _digest(data: bytes) -> bytes:
    return sha256(data).digest()
