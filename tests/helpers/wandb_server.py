"""A server that says to wandb what it must hear to begin a run, and dies when it is told to."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MINE = {"id": "ZQ==", "name": "me"}
PROJECT = {"id": "cA==", "name": "mamp", "entity": MINE}
ANSWERS: dict[str, Any] = {  # a word of the query -> what is answered
    "upsertBucket": {
        "bucket": {
            "id": "aWQ=", "name": "", "displayName": "", "description": "", "config": "{}", "sweepName": None,
            "historyLineCount": 0, "project": PROJECT,
        },
        "inserted": True,
    },
    "viewer": {"id": "dg==", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}},
    "model(": {**PROJECT, "bucket": None},
}  # fmt: skip


@dataclass
class Server:
    """url: where it listens. dead: set once it does not any more."""

    url: str
    dead: threading.Event


def start(*, dies_after: str) -> Server:
    """Serve from a thread until a request comes whose address holds `dies_after`."""
    dead = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if dies_after in self.path:
                dead.set()
                server.socket.close()
                threading.Thread(target=server.shutdown).start()
                return
            query = json.loads(body).get("query", "") if body else ""
            data = {word.strip("("): answer for word, answer in ANSWERS.items() if word in query}
            answer = json.dumps({"data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return Server(f"http://127.0.0.1:{server.server_port}", dead)
