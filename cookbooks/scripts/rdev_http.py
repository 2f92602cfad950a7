#!/usr/bin/env python3
"""A small client of `rdev serve` with httpx: requests, errors, idempotency, streams that go on where they broke, and work that takes long.

Usage:        rdev_http.py GET /projects
              rdev_http.py POST /projects '{"name": "shop"}'          what takes long is waited for
              rdev_http.py run shop 'sh scripts/check.sh'             its output here, its exit code
Environment:  RDEV_URL (http://127.0.0.1:8080), RDEV_API_KEY; RDEV_IDEMPOTENCY_KEY makes the same call again the same call.
"""

import base64
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx

AGAIN = {429, 502, 503, 504}  # the server, or what stands before it, has no time just now
EXITS = {400: 2, 401: 4, 403: 4, 404: 3, 409: 5, 422: 2, 429: 6, 502: 74, 503: 6, 504: 124}


class Refused(Exception):
    """The server's error: `code` does not change, the message and `hint` are for people, `exit` is what rdev's command line ends with."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        super().__init__(error.get("message", f"status {status}, and no document of rdev's"))
        self.status, self.code, self.hint, self.exit = status, error.get("code", ""), error.get("hint", ""), EXITS.get(status, 1)


class Rdev:
    def __init__(self, url: str = "", key: str = "", patience: float = 60) -> None:
        self.patience = patience  # seconds for which a server that does not answer is asked again
        url, headers = url or os.environ.get("RDEV_URL", "http://127.0.0.1:8080"), {"X-API-Key": key or os.environ.get("RDEV_API_KEY", "")}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=httpx.Timeout(30, connect=5), trust_env=False)

    def request(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        """Return what is under `data`; raises Refused. A POST has a key, so that asking again after a break does nothing twice."""
        headers = {"Idempotency-Key": key or os.urandom(16).hex()} if method == "POST" else {}
        end, pause = time.monotonic() + self.patience, 0.1
        while True:
            try:
                answer = self.http.request(method, path, json=body, headers=headers)
                told = "json" in answer.headers.get("Content-Type", "") and "Retry-After" not in answer.headers  # by rdev, to stay so
                if answer.status_code not in AGAIN or told or time.monotonic() > end:
                    return _data(answer)
                pause = float(answer.headers.get("Retry-After", pause))
            except httpx.TransportError:
                if time.monotonic() > end:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, 5)

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Yield (event, data) to the stream's end; a connection that breaks is made again from the last id: nothing is missed or told twice."""
        last, end = "", time.monotonic() + self.patience
        while time.monotonic() < end:
            try:
                with self.http.stream("GET", path, headers={"Last-Event-ID": last} if last else {}) as answer:
                    if answer.status_code != 200 and answer.status_code not in AGAIN:
                        answer.read()
                        _data(answer)
                    event: dict[str, str] = {}
                    for line in answer.iter_lines() if answer.status_code == 200 else ():
                        field, _, value = line.partition(": ")
                        if line:
                            event[field] = value
                            continue
                        last, end, kind = event.get("id", last), time.monotonic() + self.patience, event.get("event", "")
                        text, event = event.get("data", "null"), {}
                        if kind == "end" or (kind == "error" and "SHUTTING_DOWN" in text):
                            break  # this server stops, and the next one goes on
                        yield from [(kind, json.loads(text))] if kind else []
                        if kind in ("complete", "error"):
                            return
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        raise httpx.ConnectTimeout(f"{path} was not there for {self.patience:.0f} seconds")

    def finish(self, job: Any) -> Any:
        """Wait for what was answered with 202 and return its answer; anything else is an answer already."""
        if not isinstance(job, dict) or "stream_url" not in job:
            return job
        list(self.events(job["stream_url"]))
        done = self.request("GET", f"/{'commands' if job['id'].startswith('cmd_') else 'operations'}/{job['id']}")
        if done.get("error"):
            raise Refused(500, done["error"])
        return done.get("answer", done)

    def follow(self, command: Any) -> int:
        """Copy a command's output to this process's, and return its exit code; 74 if nobody knows it."""
        for kind, data in self.events(command["stream_url"]):
            if kind == "output":
                out = (sys.stderr if data["stream"] == "stderr" else sys.stdout).buffer
                out.write(base64.b64decode(data["data_b64"]) if "data_b64" in data else data["data"].encode())
                out.flush()
        done = self.request("GET", f"/commands/{command['id']}")
        if done["state"] == "failed" and done["exit_code"] is None:  # it was never started, and the job says why
            raise Refused(500, self.request("GET", f"/operations/{command['id']}")["error"])
        return 74 if done["exit_code"] is None else int(done["exit_code"])


def _data(answer: httpx.Response) -> Any:
    document = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
    if "data" not in document:
        raise Refused(answer.status_code, document.get("error", {}))
    return document["data"]


if __name__ == "__main__":
    client, own, words = Rdev(), os.environ.get("RDEV_IDEMPOTENCY_KEY", ""), sys.argv[1:] if len(sys.argv) in (3, 4) else sys.exit(__doc__)
    try:
        if words[0] == "run":
            sys.exit(client.follow(client.request("POST", f"/projects/{words[1]}/shell", {"command": words[2]}, own)))
        print(json.dumps(client.finish(client.request(words[0], words[1], json.loads(words[2]) if words[2:] else None, own))))
    except Refused as e:
        print(f"error: {e} ({e.code})\nhint:  {e.hint}", file=sys.stderr)
        sys.exit(e.exit)
