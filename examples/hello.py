"""The smallest agent: `orlop run -- python examples/hello.py`."""

import orlop


@orlop.agent
async def greet(kernel: orlop.Kernel, whom: str) -> str:
    answer = await kernel.infer(f"Greet {whom} in one sentence.", model="smollm2")
    return answer.text()


if __name__ == "__main__":
    print(greet.run("the newcomer"))
