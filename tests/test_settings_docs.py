"""Every setting says what it is."""

import dataclasses
import runpy
from pathlib import Path

GENERATE = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "generate.py"))


def test_every_setting_has_a_docstring() -> None:
    silent = [
        f"{table}.{field.name}"
        for table, schema, tables in GENERATE["setting_tables"]()
        for field in dataclasses.fields(schema)
        if field.name not in tables and not GENERATE["_notes"](schema).get(field.name)
    ]
    assert silent == []


def test_the_page_has_a_table_for_every_class_of_settings() -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()
    for table, _, _ in GENERATE["setting_tables"]():
        assert f"## [{table}]" in page
