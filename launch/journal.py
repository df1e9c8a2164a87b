"""RUN/launch.jsonl: what happened to a run on the cluster, one JSON object a line, only ever added to.

Events: `submitted` (token, arguments, logs), `queued` (its jobs), and from the jobs `started`, `requeued`,
`stopped`, `failed`, `part` (of shared work), `finished`, each with its job and rank. The newest submission
owns the run: jobs of an older one find another token and leave it alone. The job itself is sent by value, so
this module stands on the standard library alone.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

NAME = "launch.jsonl"
Event = dict[str, Any]


def add(run: Path, event: str, **values: Any) -> None:
    """Write one event; jobs on several nodes may do so at once."""
    line = json.dumps({"event": event, "time": round(time.time(), 3), **values}) + "\n"
    file = os.open(run / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, line.encode())  # one call: lines of several writers do not mix
        os.fsync(file)
    finally:
        os.close(file)


def read(run: Path) -> list[Event]:
    """The events so far, oldest first; a line cut short is left out."""
    try:
        lines = (run / NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and "event" in event:
            events.append(event)
    return events


def submission(events: list[Event]) -> Event | None:
    """The newest submission, with the ids of its jobs once the scheduler gave them."""
    found: Event | None = None
    for event in events:
        if event["event"] == "submitted":
            found = {**event, "jobs": event.get("jobs", [])}
        elif event["event"] == "queued" and found is not None and event.get("token") == found["token"]:
            found["jobs"] = [*found["jobs"], *event["jobs"]]
    return found


def of(events: list[Event], token: str) -> list[Event]:
    """What the jobs of one submission wrote."""
    return [event for event in events if event.get("token") == token]


def stalled(events: list[Event], job: str, *, progress: int) -> int:
    """How many starts of `job` in a row, the last ones, found no more done than `progress`."""
    starts = [e["progress"] for e in events if e["event"] == "started" and e.get("job") == job]
    count = 0
    for before in reversed(starts):
        if before < progress:
            break
        count += 1
    return count


def reason(run: Path) -> str:
    """Why the newest submission's jobs failed or stopped, by their journal; "" where none did."""
    events = read(run)
    owner = submission(events)
    reasons = [e["reason"] for e in of(events, owner["token"]) if e.get("reason")] if owner else []
    return "; ".join(dict.fromkeys(reasons))
