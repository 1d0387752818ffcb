"""Rules that are asked in parts, with answers that are kept, decide as Cedar does with all of them.

The oracle is Cedar itself: the whole set, every fact, every entity, each time anew.
"""

import json
from functools import partial

import cedarpy
from hypothesis import given, settings
from hypothesis import strategies as st

from orlop.access import policy_words
from orlop.access.policy import Policy
from orlop.access.policy_reading import read
from orlop.access.policy_words import ACTIONS, Entity, leaves_of

AGENTS = ("ada", "bob", "clerk-1", "clerk-2")
TEAMS = ("", "red", "blue")
THINGS = {"call_tool": ("mail", "pay", "shop.find"), "infer": ("small", "large")}
GROUPS = '[groups]\noffice = ["agent:clerk-*", "tool:mail"]\nreds = ["team:red", "group:office"]\n'

PRINCIPALS = (
    "principal",
    'principal in Agent::"ada"',
    'principal in Team::"red"',
    'principal in Group::"office"',
    'principal in Group::"reds"',
    "principal is Process",
    'principal is Process in Group::"reds"',
    'principal == Process::"prc_bob"',
)
HEADS = (
    "action, resource",
    'action == Action::"call_tool", resource',
    'action in [Action::"call_tool", Action::"infer"], resource',
    'action == Action::"infer", resource == Model::"small"',
    'action == Action::"call_tool", resource == Tool::"mail"',
    'action == Action::"call_tool", resource in Group::"office"',
    "action, resource is Tool",
)
CONDITIONS = (
    "",
    "when { context.calls.agent.hour >= 3 }",
    'when { context.taint.contains("untrusted") }',
    "unless { context.time.hour < 18 }",
    'when { principal.name like "clerk*" }',
    'when { principal.team == "red" && context.spend.team.tokens > 10 }',
    'when { context.class == "batch" || context.calls.process.day > 1 }',
    "when { 2 < context.calls.agent.hour && context.calls.agent.hour <= 4 }",
    "when { context.calls.agent.hour == 2 || 5 != context.calls.agent.hour }",
    "when { context.calls.process.day + 1 > 3 }",
    "when { context.calls.process.day > context.calls.agent.hour }",
    "when { if 3 >= context.calls.process.day then context.time.hour > 12 else false }",
    "unless { -1 < context.spend.team.tokens && context.spend.team.tokens <= 10 }",
    "when { context.calls.agent has hour && context.calls.agent.hour >= 1 }",
)


@st.composite
def rules(draw: st.DrawFn) -> str:
    effects = ("permit", "forbid", "forbid", '@ask("?") forbid')
    texts = []
    for number in range(draw(st.integers(1, 12))):
        effect = draw(st.sampled_from(effects))
        head = f"{draw(st.sampled_from(PRINCIPALS))}, {draw(st.sampled_from(HEADS))}"
        condition = draw(st.sampled_from(CONDITIONS))
        texts.append(f'@id("r{number}") {effect}({head}) {condition};')
    return "\n".join(texts)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, Entity, Entity, dict[str, object]]:
    action = draw(st.sampled_from(tuple(THINGS)))
    agent = draw(st.sampled_from(AGENTS))
    who = policy_words.process(
        f"prc_{agent}",
        agent,
        pid=1,
        program="",
        version="",
        team=draw(st.sampled_from(TEAMS)),
        tenant="default",
    )
    what = policy_words.thing(action, draw(st.sampled_from(THINGS[action])))
    values = {leaf.path: leaf.default for leaf in leaves_of(action)}
    values["calls.agent.hour"] = draw(st.integers(0, 5))
    values["calls.process.day"] = draw(st.integers(0, 3))
    values["spend.team.tokens"] = draw(st.integers(0, 20))
    values["time.hour"] = draw(st.integers(0, 23))
    values["class"] = draw(st.sampled_from(("batch", "standard")))
    values["taint"] = draw(st.sampled_from(([], ["untrusted"])))
    return action, who, what, values


def oracle(text: str, action: str, who: Entity, what: Entity, values: dict[str, object]) -> str:
    """What Cedar says of the whole set; `@ask` rules are taken out where only they forbid."""
    office = {"clerk-1", "clerk-2"}
    in_office = who.attributes["name"] in office
    in_reds = in_office or who.attributes["team"] == "red"
    groups = [name for name, inside in (("office", in_office), ("reds", in_reds)) if inside]
    of = ["office", "reds"] if what.id == "mail" else []

    def entity(thing: Entity, above: list[str]) -> dict[str, object]:
        attributes = dict(thing.attributes)
        if "groups" in attributes:
            attributes["groups"] = above
        parents = [*thing.parents, *(("Group", name) for name in above)]
        return {
            "uid": {"type": thing.type, "id": thing.id},
            "attrs": attributes,
            "parents": [{"type": kind, "id": id} for kind, id in parents],
        }

    request = {
        "principal": {"type": who.type, "id": who.id},
        "action": {"type": "Action", "id": action},
        "resource": {"type": what.type, "id": what.id},
        "context": json.dumps(policy_words.nested(values)),
    }
    entities = json.dumps([entity(who, groups), entity(what, of)])

    def allows(wanted: str) -> bool:
        result = cedarpy.is_authorized(request, wanted, entities)
        assert not result.diagnostics.errors
        return result.decision is cedarpy.Decision.Allow

    lines = text.splitlines()
    firm = "\n".join(line for line in lines if "@ask" not in line)
    if allows(text):
        return "permit"
    return "ask" if allows(firm) else "forbid"


def picked(values: dict[str, object], paths: frozenset[str]) -> dict[str, object]:
    return {path: values[path] for path in sorted(paths)}


@settings(max_examples=150, deadline=None)
@given(text=rules(), made=st.lists(calls(), min_size=1, max_size=8))
def test_parts_decide_as_the_whole_does(
    text: str, made: list[tuple[str, Entity, Entity, dict[str, object]]]
) -> None:
    files = {"rules.cedar": text, "groups.toml": GROUPS}
    found = read(files, lambda tool: None)
    usable = [finding for finding in found.findings if finding.severity == "error"]
    # Cedar's validator refuses a head that no call can ever match, and a fact of other actions.
    if usable:
        return
    policy = Policy(files, "test", found)
    for action, who, what, values in made:
        place = policy.place(action, who, what)
        said = policy.decide(place, partial(picked, values))
        assert said.verdict == oracle(text, action, who, what, values)
        assert all(rule in policy.rules for rule in said.rules)


def test_every_action_has_a_schema_that_its_facts_fit() -> None:
    text = policy_words.schema()
    for action in ACTIONS:
        values = {leaf.path: leaf.default for leaf in leaves_of(action)}
        who = policy_words.process(
            "p", "ada", pid=1, program="", version="", team="", tenant="default"
        )
        what = policy_words.thing(action, "it")
        result = cedarpy.is_authorized(
            {
                "principal": {"type": "Process", "id": "p"},
                "action": {"type": "Action", "id": action},
                "resource": {"type": what.type, "id": what.id},
                "context": json.dumps(policy_words.nested(values)),
            },
            "permit(principal, action, resource);",
            json.dumps(
                [
                    {
                        "uid": {"type": thing.type, "id": thing.id},
                        "attrs": dict(thing.attributes),
                        "parents": [],
                    }
                    for thing in {who.id: who, what.id: what}.values()
                ]
            ),
            schema=text,
        )
        assert result.decision is cedarpy.Decision.Allow, (action, result.diagnostics.errors)
