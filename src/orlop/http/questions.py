"""What people are asked, and their word: for operators, and for people with tokens of their own."""

from orlop.abi.errors import Unauthenticated
from orlop.abi.limits import WEBHOOK_AGE_S_MAX
from orlop.abi.questions import AnswerOrder, BatchOrder, Proof, SignedAnswer
from orlop.http import case
from orlop.http.admin import decoded, read, send
from orlop.http.exchange import Exchange, Route
from orlop.machine.clock import NS_PER_S
from orlop.people import answering, asking
from orlop.people.house import Speaker
from orlop.state.core import Kernel
from orlop.wire import webhook


def speaker_of(exchange: Exchange) -> Speaker:
    """Who says it: the holder of a token of his own, or an operator."""
    proof: Proof = "token" if exchange.person else "operator"
    return Speaker(exchange.person, proof, exchange.tenant)


class Questions:
    """One method a route."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def all(self, exchange: Exchange) -> None:
        closed = exchange.query("all", "0") != "0"
        rows = asking.listed(self._kernel, exchange.tenant, closed=closed)
        tool, agent, person = (exchange.query(name) for name in ("tool", "agent", "for"))
        found = [
            row
            for row in rows
            if tool in ("", row.tool)
            and agent in ("", row.name)
            and (not person or not row.asked_of or person in row.asked_of)
        ]
        await send(exchange, found)

    async def one(self, exchange: Exchange) -> None:
        row = asking.find(self._kernel, exchange.params["ref"], exchange.tenant)
        await send(exchange, row)

    async def case(self, exchange: Exchange) -> None:
        await send(exchange, await case.of(self._kernel, exchange.params["ref"], exchange.tenant))

    async def answer(self, exchange: Exchange) -> None:
        order = await read(exchange, AnswerOrder)
        id, speaker = exchange.params["ref"], speaker_of(exchange)
        await send(exchange, await answering.answer(self._kernel, id, order, speaker))

    async def together(self, exchange: Exchange) -> None:
        order = await read(exchange, BatchOrder)
        lines = await answering.together(self._kernel, order, speaker_of(exchange))
        await send(exchange, lines)

    async def signed(self, exchange: Exchange) -> None:
        """Needs no token: the signature is one."""
        kernel, desk = self._kernel, self._kernel.desk
        if not desk.config.webhook_answers or not desk.secret:
            raise Unauthenticated("answers by webhook are not taken here (people.webhook_answers)")
        body = await exchange.body()
        now_s = kernel.clock.wall_ns() / NS_PER_S
        id = webhook.verify(desk.secret, exchange.header, body, now_s, WEBHOOK_AGE_S_MAX)
        said = decoded(body, SignedAnswer)
        await send(exchange, await answering.signed(kernel, said, id))

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators and people."""
        return {
            ("GET", "questions"): self.all,
            ("GET", "questions", "{ref}"): self.one,
            ("GET", "questions", "{ref}", "case"): self.case,
            ("POST", "questions", "{ref}", "answer"): self.answer,
            ("POST", "answers"): self.together,
        }
