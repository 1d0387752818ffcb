"""The operators' routes for what people are asked."""

from orlop.abi.questions import AnswerOrder
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.kernel import questions
from orlop.kernel.core import Kernel


class Questions:
    """One method a route."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def all(self, exchange: Exchange) -> None:
        closed = exchange.query("all", "0") != "0"
        await send(exchange, questions.listed(self._kernel, closed=closed))

    async def one(self, exchange: Exchange) -> None:
        await send(exchange, questions.find(self._kernel, exchange.params["ref"]))

    async def answer(self, exchange: Exchange) -> None:
        order = await read(exchange, AnswerOrder)
        id = exchange.params["ref"]
        await send(exchange, await questions.answer(self._kernel, id, order))

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "questions"): self.all,
            ("GET", "questions", "{ref}"): self.one,
            ("POST", "questions", "{ref}", "answer"): self.answer,
        }
