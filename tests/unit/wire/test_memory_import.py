"""Exports of other systems, read as they write them."""

import json

import pytest

from orlop.abi.errors import BadCall
from orlop.wire.memory_import import Format, read

MEM0 = {
    "results": [
        {
            "id": "8b7a",
            "memory": "Likes aisle seats",
            "user_id": "ann",
            "agent_id": "travel desk",
            "metadata": {"category": "travel"},
            "created_at": "2026-03-01T10:00:00+00:00",
        },
        {"id": "9c", "memory": "Vegetarian", "user_id": "bob", "metadata": None},
    ]
}
LETTA = {
    "name": "sam",
    "core_memory": [
        {"label": "human", "value": "Her name is Ann.", "description": "who"},
        {"label": "empty", "value": " "},
    ],
    "passages": [{"text": "Ann moved in May.", "tags": ["home"], "metadata_": {"n": 1}}],
}
LANGGRAPH = [
    {"namespace": ["users", "ann smith"], "key": "food", "value": {"text": "likes noodles"}},
    {"namespace": "users.bob", "key": "x", "value": {"score": 3}},
]


def test_mem0s_users_are_subjects_and_its_agents_namespaces() -> None:
    first, second = read("mem0", json.dumps(MEM0))
    assert first.namespace == "agents/travel-desk"
    assert first.item.text == "Likes aisle seats" and first.item.subjects == ("user:ann",)
    assert first.item.attributes == {"category": "travel"}
    assert first.item.sources == ("mem0:8b7a",)
    assert first.item.valid_from_ns == 1_772_359_200_000_000_000
    assert second.namespace == "" and second.item.text == "Vegetarian"


def test_lettas_blocks_have_keys_and_its_passages_none() -> None:
    block, passage = read("letta", json.dumps(LETTA))
    assert (block.namespace, block.item.key, block.item.kind) == ("agents/sam", "human", "block")
    assert passage.item.text == "Ann moved in May." and passage.item.key == ""
    assert passage.item.attributes == {"n": 1, "tags": ["home"]}


def test_langgraphs_items_keep_their_keys_and_values() -> None:
    lines = "\n".join(json.dumps(row) for row in LANGGRAPH)
    first, second = read("langgraph", lines)
    assert (first.namespace, first.item.key) == ("users/ann-smith", "food")
    assert first.item.text == "likes noodles"
    assert second.item.text == '{"score": 3}' and second.item.attributes == {"score": 3}


def test_lettas_agent_files_of_several_agents_give_each_its_blocks() -> None:
    blocks = [
        {"id": "block-0", "label": "human", "value": "Ann", "limit": 5000, "metadata": {}},
        {"id": "block-1", "label": "rules", "value": "Be kind.", "read_only": False},
        {"id": "block-2", "label": "loose", "value": "Nobody's."},
    ]
    agents = [
        {"id": "agent-0", "name": "sam", "block_ids": ["block-0", "block-1"], "messages": []},
        {"id": "agent-1", "name": "kim", "block_ids": ["block-1"]},
    ]
    found = list(read("letta", json.dumps({"agents": agents, "blocks": blocks, "tools": []})))
    assert [(one.namespace, one.item.key) for one in found] == [
        ("agents/sam", "human"),
        ("agents/sam", "rules"),
        ("agents/kim", "rules"),
        ("", "loose"),
    ]


def test_rows_of_langgraphs_tables_and_langmems_values_are_read() -> None:
    rows = [
        {"prefix": "users.cy", "key": "y", "value": {"data": {"a": 1}}, "expires_at": None},
        {
            "namespace": ["memories", "ann"],
            "key": "6c",
            "value": {"kind": "Memory", "content": {"content": "Prefers dark mode"}},
            "created_at": "2026-11-21T20:54:20.573593+00:00",
            "score": None,
        },
    ]
    first, second = read("langgraph", json.dumps(rows))
    assert first.namespace == "users/cy" and first.item.text == '{"data": {"a": 1}}'
    assert second.item.text == "Prefers dark mode" and second.item.attributes["kind"] == "Memory"


def test_what_is_known_no_more_is_not_taken_over() -> None:
    rows = [
        {"memory": "mem_1", "version": 1, "namespace": "n", "text": "old", "known_to": 7},
        {"memory": "mem_1", "version": 2, "namespace": "n", "text": "new", "key": "k"},
    ]
    (only,) = read("orlop", "\n".join(json.dumps(row) for row in rows))
    assert only.item.text == "new" and only.item.key == "k"
    assert only.item.sources == ("mem_1@2",)


def test_what_expires_goes_on_expiring_when_it_did_and_what_is_sealed_stays_so() -> None:
    row: dict[str, object] = {
        "memory": "mem_1",
        "version": 1,
        "namespace": "common",
        "text": "4711",
    }
    lines = [
        {**row, "expires_ns": 50},
        {**row, "expires_ns": 50, "valid_to_ns": 40},
        {**row, "expires_ns": 50, "valid_to_ns": 60},
        {**row, "sealed": True},
    ]
    found = [one.item for one in read("orlop", "\n".join(map(json.dumps, lines)))]
    assert [item.valid_to_ns for item in found] == [50, 40, 50, None]
    assert [item.sealed for item in found] == [False, False, False, True]


@pytest.mark.parametrize("format", ["orlop", "mem0", "letta", "langgraph"])
@pytest.mark.parametrize("text", ["no json", '{"a": 1}\nnot json', "[1, 2]", '[{"x": 1}]'])
def test_what_is_no_such_export_is_refused_by_place(format: Format, text: str) -> None:
    with pytest.raises(BadCall, match=r"record \d|line \d"):
        list(read(format, text))
