#!/usr/bin/env python3
"""Asks the supervisor of this program for its role, with the standard library alone:

    role.py role | wait leader 60 | events | step-down

SUCCESSION_API is set for every program that runs under `succession run --api`.
"""

import http.client
import json
import os
import socket
import sys
import urllib.parse


class SocketConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Supervisor:
    """What a program can ask its supervisor."""

    def __init__(self, api=None, token=None):
        self._api = api or os.environ["SUCCESSION_API"]
        self._token = token or os.environ.get("SUCCESSION_API_TOKEN")

    def role(self):
        """The role at this moment. A leader may act for `remainingMs` from before the question."""
        return self._ask("GET", "/role")[1]

    def wait(self, role, seconds=30):
        """Whether the role came within so many seconds."""
        status, _ = self._ask("GET", f"/wait?role={role}&timeout={seconds}", timeout=seconds + 10)
        return status == 200

    def events(self):
        """The present state, then every change, until the supervisor ends."""
        # It says something every ten seconds: silence is a supervisor that hangs.
        connection = self._connect(30)
        connection.request("GET", "/events")
        for line in connection.getresponse():
            if line.startswith(b"data: "):
                yield json.loads(line[len(b"data: "):])

    def step_down(self):
        """Gives the lead up to the next in line. Returns None, or why that is not possible now."""
        status, answer = self._ask("POST", "/step-down")
        if status in (401, 403):
            raise PermissionError(answer["reason"])
        return None if status == 202 else answer["reason"]

    def _ask(self, method, path, timeout=10):
        connection = self._connect(timeout)
        headers = {"Authorization": f"Bearer {self._token}"} if method == "POST" and self._token else {}
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        answer = json.load(response)
        connection.close()
        return response.status, answer

    def _connect(self, timeout):
        if self._api.startswith("http://"):
            return http.client.HTTPConnection(urllib.parse.urlsplit(self._api).netloc, timeout=timeout)
        return SocketConnection(self._api, timeout)


def main(command="role", *arguments):
    if not os.environ.get("SUCCESSION_API"):
        print("SUCCESSION_API is not set: start succession run with --api", file=sys.stderr)
        return 2
    supervisor = Supervisor()
    if command == "role":
        print(json.dumps(supervisor.role()))
    elif command == "wait" and arguments:
        role, seconds = (*arguments, "30")[:2]
        return 0 if supervisor.wait(role, float(seconds)) else 1
    elif command == "events":
        for state in supervisor.events():
            print(json.dumps(state), flush=True)
    elif command == "step-down":
        refusal = supervisor.step_down()
        if refusal is not None:
            print(refusal, file=sys.stderr)
            return 1
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
