"""How a conversation begins that others may begin alike: with its tools and its system prompt.

Agents of one kind send the same ones with each call, so an engine that keeps prefixes has
them once.
"""

from orlop.abi.calls import Infer

BYTES_MIN = 256
"""A beginning that is shorter is not worth counting."""

_RULES = ("system", "developer")


def beginning(call: Infer) -> tuple[int, int]:
    """A number that is equal for equal beginnings, within one run of the kernel, and the bytes of
    its text; (0, 0) where there is none to speak of.

    Tools are told apart by their names: two lists of the same names that differ otherwise would be
    taken for one, which makes a memory look larger, and a call slower, never wrong.
    """
    texts: list[str] = []
    for message in call.messages:
        if message.role not in _RULES or not isinstance(message.content, str):
            break
        texts.append(message.content)
    size = sum(map(len, texts))
    if size < BYTES_MIN:
        return 0, 0
    return hash((call.model, *texts, *(tool.name for tool in call.tools))) or 1, size
