"""A tool whose target knows the effect's key: attempts and effects are counted apart."""

import json
import os
import sqlite3
import sys

order = json.load(sys.stdin)["order"]
with sqlite3.connect(sys.argv[1], timeout=30) as shop:
    shop.execute("INSERT INTO attempt(name) VALUES (?)", (order,))
    shop.execute(
        "INSERT OR IGNORE INTO effect(key, name) VALUES (?, ?)", (os.environ["ORLOP_KEY"], order)
    )
sys.stdout.write(json.dumps({"order": order}))
