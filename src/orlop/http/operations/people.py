"""What people are asked, allow and trust."""

from typing import Final

from orlop.abi import autonomy, grants, people, questions
from orlop.http.operations.operation import NOTHING, By, Operation

OPERATIONS: Final = (
    Operation(
        By.PERSON,
        "GET questions",
        "What waits for people; with all=1 also what is closed",
        reply=list[questions.Question],
        query=("all", "tool=", "agent=", "for="),
    ),
    Operation(
        By.PERSON, "GET questions/{question}", "One question or approval", reply=questions.Question
    ),
    Operation(
        By.PERSON,
        "GET questions/{question}/case",
        "All that is needed to take the case over",
        reply=people.CaseFile,
    ),
    Operation(
        By.PERSON,
        "POST questions/{question}/answer",
        "Approve, deny, answer or take it, once",
        body=questions.AnswerOrder,
        reply=questions.Question,
    ),
    Operation(
        By.PERSON,
        "POST answers",
        "The same word on many questions",
        body=questions.BatchOrder,
        reply=list[questions.BatchLine],
    ),
    Operation(
        By.SIGNER,
        "POST webhooks/answers",
        "A person's word, in a webhook that is signed as Standard Webhooks have it",
        body=questions.SignedAnswer,
        reply=questions.Question,
    ),
    Operation(
        By.PERSON,
        "GET grants",
        "Approvals in advance; with all=1 also those that are over",
        reply=list[grants.GrantView],
        query=("all",),
    ),
    Operation(
        By.PERSON,
        "POST grants",
        "Approve calls in advance",
        body=grants.GrantOrder,
        reply=grants.GrantView,
        status=201,
    ),
    Operation(
        By.PERSON,
        "POST grants/{grant}/revoke",
        "Take a grant back",
        body=grants.GrantRevokeOrder,
        reply=grants.GrantView,
    ),
    Operation(
        By.PERSON,
        "GET autonomy",
        "How far agents may go by themselves, and on what evidence",
        reply=list[autonomy.AutonomyView],
    ),
    Operation(
        By.PERSON,
        "POST autonomy",
        "Set a level by hand",
        body=autonomy.LevelOrder,
        reply=autonomy.AutonomyView,
    ),
    Operation(
        By.PERSON,
        "POST incidents",
        "Something went wrong: back to where its rule starts",
        body=autonomy.IncidentOrder,
        reply=autonomy.AutonomyView,
    ),
    Operation(
        By.PERSON, "GET people", "People, their work, and what it costs", reply=people.PeopleView
    ),
    Operation(
        By.TENANT,
        "POST people",
        "A token for a person; it is shown once",
        body=people.PersonOrder,
        reply=people.NewPerson,
        status=201,
    ),
    Operation(By.TENANT, "DELETE people/{person}", "Take a person's token back", reply=NOTHING),
    Operation(
        By.PERSON,
        "POST touches",
        "Work of a person that no answer holds",
        body=people.TouchOrder,
        reply=people.Work,
    ),
)
