"""The Python client, unmodified: connect with the default transports and with each alone, join, send with
acknowledgement, receive, reconnect and continue where it was."""

import json
import os
import queue
import urllib.request
import uuid

import socketio

BASE, GATEWAY = os.environ["BASE"], os.environ["GATEWAY"]
DEADLINE = 20


def call(method, path, token=None, body=None):
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(BASE + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=DEADLINE) as response:
        text = response.read()
    return json.loads(text) if text else None


class Person:
    def __init__(self, name, **options):
        account = {"name": name, "password": "correct horse"}
        call("POST", "/user", body=account)
        login = call("POST", "/login", body=account)
        self.token, self.id = login["accessToken"], login["user"]["id"]
        self.messages, self.connects = queue.Queue(), queue.Queue()
        self.socket = socketio.Client(reconnection_delay=0.1)
        self.socket.on("receive-msg", self.messages.put)
        self.socket.on("connect", lambda: self.connects.put(True))
        self.socket.connect(GATEWAY, auth={"token": self.token}, wait_timeout=DEADLINE, **options)
        self.connects.get(timeout=DEADLINE)

    def ask(self, event, data):
        return self.socket.call(event, data, timeout=DEADLINE)

    def join(self, after=None):
        entered = call("GET", "/room/lobby", self.token)
        data = {"roomId": entered["room"]["id"], "userId": self.id, "ticket": entered["ticket"]}
        if after is not None:
            data["after"] = after
        answer = self.ask("join-room", data)
        assert answer["ok"], answer
        return entered["room"]["id"], answer


ada = Person("ada")
call("POST", "/room", ada.token, {"name": "lobby"})
bob = Person("bob", transports=["websocket"])
eve = Person("eve", transports=["polling"])
room, _ = ada.join()
bob.join()
_, joined = eve.join()
assert joined["online"]["count"] == 3, joined

for sender in (ada, bob, eve):
    sent = sender.ask("send-msg", {"roomId": room, "msg": "안녕", "id": str(uuid.uuid4())})
    assert sent["ok"], sent
    for receiver in (ada, bob, eve):
        message = receiver.messages.get(timeout=DEADLINE)
        assert (message["msg"], message["seq"]) == ("안녕", sent["seq"]), message
assert (ada.socket.transport(), eve.socket.transport()) == ("websocket", "polling")

# More packets at once than the client accepts in one body, as answers, events and replay.
BURST = 30
answers = queue.Queue()
for n in range(BURST):
    eve.socket.emit("send-msg", {"roomId": room, "msg": f"burst {n}"}, callback=answers.put)
seqs = [answers.get(timeout=DEADLINE)["seq"] for _ in range(BURST)]
for receiver in (ada, bob, eve):
    burst = [receiver.messages.get(timeout=DEADLINE) for _ in range(BURST)]
    assert [message["seq"] for message in burst] == seqs, burst
_, again = eve.join(after=seqs[0] - 1)
assert again["recovered"], again
replayed = [eve.messages.get(timeout=DEADLINE)["seq"] for _ in range(BURST)]
assert replayed == seqs, replayed
assert eve.socket.connected and eve.connects.empty(), "it stays connected"

refused = ada.ask("send-msg", {"roomId": "x.>", "msg": "x"})
assert refused["error"]["code"] == "bad-room-id", refused

# The transport breaks; the client reconnects by itself and continues where it was.
bob.socket.eio.ws.close()
missed = ada.ask("send-msg", {"roomId": room, "msg": "missed"})
bob.connects.get(timeout=DEADLINE)
_, again = bob.join(after=missed["seq"] - 1)
assert again["recovered"], again
assert bob.messages.get(timeout=DEADLINE)["msg"] == "missed"

try:
    socketio.SimpleClient().connect(GATEWAY, auth={"token": "x"})
    raise SystemExit("an invalid token was accepted")
except socketio.exceptions.ConnectionError:
    pass

for person in (ada, bob, eve):
    person.socket.disconnect()
print("1 passed, 0 failed")
