"""A program as anybody would write it: OpenAI's client on the Responses API."""

from openai import OpenAI

client = OpenAI()
first = client.responses.create(model="fake", input="hello", instructions="be short")
print(first.to_json())
stream = client.responses.create(
    model="fake", input="and then?", previous_response_id=first.id, stream=True
)
for event in stream:
    print(event.to_json(indent=None))
