"""A tool that can be asked, and whose effect is its child's and comes seconds after its start."""

import json
import os
import sqlite3
import subprocess
import sys

SECONDS = 4
WRITE = """
import sqlite3, sys, time
time.sleep(float(sys.argv[3]))
with sqlite3.connect(sys.argv[1], timeout=30) as shop:
    shop.execute("INSERT INTO effect(key) VALUES (?)", (sys.argv[2],))
"""

place, what = sys.argv[1:]
key = json.load(sys.stdin)["key"] if what == "query" else os.environ["ORLOP_KEY"]
if what == "query":
    with sqlite3.connect(place, timeout=30) as shop:
        (count,) = shop.execute("SELECT count(*) FROM effect WHERE key = ?", (key,)).fetchone()
    print(json.dumps(count > 0))  # noqa: T201
else:
    writer = subprocess.Popen([sys.executable, "-c", WRITE, place, key, str(SECONDS)])
    with sqlite3.connect(place, timeout=30) as shop:
        shop.execute("INSERT INTO attempt(pid, child) VALUES (?, ?)", (os.getpid(), writer.pid))
    writer.wait()
    print("{}")  # noqa: T201
