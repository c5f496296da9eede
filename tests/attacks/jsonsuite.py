#!/usr/bin/env python3
"""jsonsuite.py FOLDER PORT: posts every file of JSONTestSuite as a chat request; what must not parse (`n_`) is refused
as no JSON, what must (`y_`) is refused for something else at most, since no file of it is a chat.

Two `y_` files repeat a key. Every gate reads the same value, so a key that is there twice is refused: they count as
right when they are, and nothing else does.
"""
import http.client
import json
import os
import sys

TWICE = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}
folder, port = sys.argv[1], int(sys.argv[2])
seen, wrong = 0, []
for name in sorted(os.listdir(folder)):
    if name[:2] not in ("y_", "n_"):
        continue
    with open(os.path.join(folder, name), "rb") as file:
        content = file.read()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/v1/chat/completions", content, {"Content-Type": "application/json"})
    said = connection.getresponse().read()
    connection.close()
    try:
        refused = json.loads(said)["error"]["code"] == "invalid_json"
    except (ValueError, KeyError, TypeError):
        refused = False
    seen += 1
    if refused != (name.startswith("n_") or name in TWICE):
        wrong.append(name)
print(f"{seen} files, wrong {len(wrong)} {wrong[:20]}")
