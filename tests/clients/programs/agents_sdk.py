"""A program as anybody would write it: an agent of the OpenAI Agents SDK, in its default mode."""

from agents import Agent, Runner, function_tool


@function_tool
def find_order(order: int) -> str:
    """Where an order is."""
    return f"order {order} is in Graz"


agent = Agent(name="desk", instructions="You find orders.", model="fake", tools=[find_order])
result = Runner.run_sync(agent, 'where? [[tool find_order {"order": 7}]]')
print(result.final_output)
for response in result.raw_responses:
    print(response.response_id, response.usage.total_tokens)
