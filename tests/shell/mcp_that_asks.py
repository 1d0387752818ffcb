"""A server of the official package that asks a person in the middle of a call; stdio, both eras."""

from typing import Annotated

from mcp.server import MCPServer
from mcp.server.mcpserver import Elicit, Resolve
from pydantic import BaseModel

server = MCPServer("desk")


class Name(BaseModel):
    name: str
    urgent: bool


async def who() -> Elicit[Name]:
    return Elicit("for whom is it?", Name)


@server.tool()
def book(table: int, guest: Annotated[Name, Resolve(who)]) -> str:
    """Books a table."""
    return f"table {table} for {guest.name}{', now' if guest.urgent else ''}"


if __name__ == "__main__":
    server.run()
