"""What a program finds in its environment: the caller's variables, and where the kernel is."""

from collections.abc import Mapping


def program_environment(
    given: Mapping[str, str],
    url: str,
    socket: str,
    token: str,
    process: str,
    incarnation: int,
) -> Mapping[str, str]:
    """`given`, with the kernel in the place of every dialect that it speaks."""
    return {
        **given,
        "ORLOP_URL": url,
        "ORLOP_SOCKET": socket,
        "ORLOP_TOKEN": token,
        "ORLOP_PROCESS": process,
        "ORLOP_INCARNATION": str(incarnation),
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_BASE": f"{url}/v1",
        "OPENAI_API_KEY": token,
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": token,
    }
