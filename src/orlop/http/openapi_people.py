"""The routes for people, as rows of the API's description."""

from typing import Final

from orlop.abi import autonomy, grants, people, questions
from orlop.http.openapi_operation import OURS, Operation

OPERATIONS: Final = (
    Operation(
        method="GET",
        path=f"{OURS}/questions",
        summary="What waits for people; with all=1 also what is closed",
        reply=list[questions.Question],
        query=("all", "tool=", "agent=", "for="),
    ),
    Operation(
        method="GET",
        path=f"{OURS}/questions/{{question}}",
        summary="One question or approval",
        reply=questions.Question,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/questions/{{question}}/case",
        summary="All that is needed to take the case over",
        reply=people.CaseFile,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/questions/{{question}}/answer",
        summary="Approve, deny, answer or take it, once",
        body=questions.AnswerOrder,
        reply=questions.Question,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/answers",
        summary="The same word on many questions",
        body=questions.BatchOrder,
        reply=list[questions.BatchLine],
    ),
    Operation(
        method="POST",
        path=f"{OURS}/webhooks/answers",
        summary="A person's word, in a webhook that is signed as Standard Webhooks have it",
        body=questions.SignedAnswer,
        reply=questions.Question,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/grants",
        summary="Approvals in advance; with all=1 also those that are over",
        reply=list[grants.GrantView],
        query=("all",),
    ),
    Operation(
        method="POST",
        path=f"{OURS}/grants",
        summary="Approve calls in advance",
        body=grants.GrantOrder,
        reply=grants.GrantView,
        status=201,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/grants/{{grant}}/revoke",
        summary="Take a grant back",
        body=grants.GrantRevokeOrder,
        reply=grants.GrantView,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/autonomy",
        summary="How far agents may go by themselves, and on what evidence",
        reply=list[autonomy.AutonomyView],
    ),
    Operation(
        method="POST",
        path=f"{OURS}/autonomy",
        summary="Set a level by hand",
        body=autonomy.LevelOrder,
        reply=autonomy.AutonomyView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/incidents",
        summary="Something went wrong: back to where its rule starts",
        body=autonomy.IncidentOrder,
        reply=autonomy.AutonomyView,
    ),
    Operation(
        method="GET",
        path=f"{OURS}/people",
        summary="People, their work, and what it costs",
        reply=people.PeopleView,
    ),
    Operation(
        method="POST",
        path=f"{OURS}/people",
        summary="A token for a person; it is shown once",
        body=people.PersonOrder,
        reply=people.NewPerson,
        status=201,
    ),
    Operation(
        method="DELETE",
        path=f"{OURS}/people/{{person}}",
        summary="Take a person's token back",
        reply={"type": "object", "maxProperties": 0},
    ),
    Operation(
        method="POST",
        path=f"{OURS}/touches",
        summary="Work of a person that no answer holds",
        body=people.TouchOrder,
        reply=people.Work,
    ),
)
"""For operators, and but for the keeping of people also for people with tokens of their own."""
