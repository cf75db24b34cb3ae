"""What the description cannot say: which calls end a session, whose password is right, which room is there, where a page begins."""

import atexit
import collections
import functools
import itertools
import json
import os
import unicodedata
import urllib.error
import urllib.request

import schemathesis

BASE = os.environ["BASE"]
PASSWORD = "correct horse battery"
ROOM_PASSWORD = "open sesame"  # Of bob's room "vault".
SOON = 20
# Larger files are declared and not uploaded.
UPLOAD_BYTES = 1 << 20
# The caller's session may be over afterwards, so these calls are never ada's.
ENDING = {"POST /logout", "DELETE /user", "PATCH /user", "DELETE /user/session/{id}"}
# What other calls stand on is not for these: in the lobby, ada stays the only owner.
SPOILING = {"DELETE /room/{name}", "PATCH /room/{name}", "PATCH /room/{name}/member/{userId}"}

numbers = itertools.count(1)
cursors = {}  # By operation, the last `next` that it gave.
uploaded = []  # Files that can be completed.
refresh_tokens = []  # Not spent yet.
asked = collections.Counter()  # By operation, how often it was asked what it should do.
answered = collections.Counter()  # By operation, how often it did what it was asked for.


def elsewhere():
    """An address that nobody has called from: Schemathesis is many people, and the server is behind our proxy."""
    number = next(numbers)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def call(method, path, body=None, token=None):
    headers = {"content-type": "application/json", "x-forwarded-for": elsewhere()}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=SOON) as response:
        return json.loads(response.read() or b"null")


def log_in(name):
    return call("POST", "/login", {"name": name, "password": PASSWORD})


def somebody():
    """Logged in, with an account that nothing else needs."""
    name = f"passer-by-{next(numbers)}"
    call("POST", "/user", {"name": name, "password": PASSWORD})
    return log_in(name)


@functools.cache
def known(name):
    """Logged in once for all: ada, who owns the lobby, or an account that only these hooks call so."""
    return log_in(name) if name == "ada" else somebody()


def ada():
    return known("ada")["accessToken"]


@schemathesis.hook
def before_call(context, case, kwargs):
    label = case.operation.label
    case.headers["x-forwarded-for"] = elsewhere()
    is_right = case.meta is not None and case.meta.generation.mode.is_positive
    if is_right and case.query:
        take_one_page(label, case.query)
    if is_right and label == "POST /room" and isinstance(case.body, dict) and "name" in case.body:
        case.body["name"] = assigned(case.body["name"])
    # Every other time, for what is not there or wrong is asked about too. What a chain of calls found stays.
    is_chosen = is_right and case.meta.phase.name != "stateful" and not asked[label] % 2
    asked[label] += is_right
    if is_chosen and label in CHOICES:
        CHOICES[label](case)
    if is_right and label == "DELETE /room/{name}/member/{userId}":
        ban_no_oneself(case)
    if label in SPOILING and case.path_parameters.get("name") == "lobby":
        in_clay(case)
    # Not where the token was left out or spoiled to see that it is asked for.
    if label in ENDING and case.headers.get("authorization", "").startswith("Bearer eyJ"):
        token = caller(label, is_chosen)
        case.headers["authorization"] = f"Bearer {token}"
        if is_chosen and label == "DELETE /user/session/{id}":
            sessions = call("GET", "/user/session", None, token)["items"]
            case.path_parameters["id"] = next(session["id"] for session in sessions if not session["current"])


def caller(label, is_chosen):
    if label == "POST /logout":
        return log_in(known("guest")["user"]["name"])["accessToken"]
    if label == "DELETE /user/session/{id}" and is_chosen:
        return log_in(known("other guest")["user"]["name"])["accessToken"]
    if label in ("PATCH /user", "DELETE /user") and is_chosen:
        return somebody()["accessToken"]
    return known("guest")["accessToken"]


def assigned(name):
    r"""Schemathesis takes whole blocks for the `\p{M}` of the pattern; some of their places are no character (yet)."""
    return "".join(c for c in name if unicodedata.category(c) != "Cn") or "x"


def take_one_page(label, query):
    """A cursor is one that this list gave, and goes alone: `before`, `after` and it say the same thing in three ways."""
    if "cursor" in query:
        if label in cursors:
            query["cursor"] = cursors[label]
        else:
            del query["cursor"]
    for other in [name for name in ("cursor", "before", "after") if name in query][1:]:
        del query[other]


def ban_no_oneself(case):
    """Which is refused, and a description does not know who asks."""
    if case.path_parameters["userId"] == known("ada")["user"]["id"]:
        case.query.pop("ban", None)


# --- What makes a call one that can be answered -------------------------------------------------------------------


def in_lobby(case):
    case.path_parameters["name"] = "lobby"


def of_carol(case):
    """A member of the lobby, taken in again if the call before put them out."""
    carol = known("carol")["user"]
    call("POST", "/room/lobby/member", {"name": carol["name"]}, ada())
    case.path_parameters.update(name="lobby", userId=carol["id"])


def in_clay(case):
    """A room that may become anything. It is ada's, and carol is in it too."""
    name = f"clay-{next(numbers)}"
    call("POST", "/room", {"name": name}, ada())
    call("POST", f"/room/{name}/member", {"name": known("carol")["user"]["name"]}, ada())
    case.path_parameters["name"] = name


def role_of_carol(case):
    in_clay(case)
    case.path_parameters["userId"] = known("carol")["user"]["id"]


def join(case):
    if case.body.get("name") is not None:
        case.path_parameters["name"] = "lobby"
        case.body["name"] = known("carol")["user"]["name"]
    else:
        case.path_parameters["name"] = "vault"
        case.body["password"] = ROOM_PASSWORD


def prove(field):
    def with_password(case):
        if field in case.body:
            case.body[field] = PASSWORD

    return with_password


def log_in_as_guest(case):
    case.body.update(name=known("guest")["user"]["name"], password=PASSWORD)


def refresh(case):
    """By body or by cookie."""
    token = refresh_tokens.pop() if refresh_tokens else log_in(known("guest")["user"]["name"])["refreshToken"]
    if isinstance(case.body, dict) and case.body.get("refreshToken") is not None:
        case.body["refreshToken"] = token
    else:
        case.cookies["refreshToken"] = token
        case.headers["sec-fetch-site"] = "same-origin"


@functools.cache
def file_of_lobby():
    declared = call("POST", "/room/lobby/file", {"name": "a.txt", "size": 5, "type": "text/plain"}, ada())
    upload(declared["upload"], b"hello")
    return call("POST", f"/file/{declared['file']['id']}/complete", None, ada())["file"]["id"]


def message(case):
    in_lobby(case)
    if case.body.get("fileId") is not None:
        case.body["fileId"] = file_of_lobby()


def small_file(case):
    in_lobby(case)
    case.body["size"] = int(case.body["size"]) % UPLOAD_BYTES
    case.body.pop("sha256", None)


def complete(case):
    if uploaded:
        case.path_parameters["id"] = uploaded[-1]


def download(case):
    case.path_parameters["id"] = file_of_lobby()


CHOICES = {
    "POST /login": log_in_as_guest,
    "POST /login/refresh": refresh,
    "PATCH /user": prove("currentPassword"),
    "DELETE /user": prove("password"),
    "GET /room/{name}": in_lobby,
    "PATCH /room/{name}": in_clay,
    "DELETE /room/{name}": in_clay,
    "POST /room/{name}/broadcast": in_lobby,
    "GET /room/{name}/member": in_lobby,
    "POST /room/{name}/member": join,
    "PATCH /room/{name}/member/{userId}": role_of_carol,
    "DELETE /room/{name}/member/{userId}": of_carol,
    "GET /room/{name}/message": in_lobby,
    "POST /room/{name}/message": message,
    "GET /room/{name}/message/search": in_lobby,
    "POST /room/{name}/file": small_file,
    "POST /file/{id}/complete": complete,
    "GET /file/{id}": download,
}


@schemathesis.hook
def after_call(context, case, response):
    label = case.operation.label
    if response.status_code < 400:
        answered[label] += 1
    if response.status_code not in (200, 201) or response.headers.get("content-type") != ["application/json"]:
        return
    body = response.json()
    if body.get("next"):
        cursors[label] = body["next"]
    if label == "POST /login/refresh":
        refresh_tokens.append(body["refreshToken"])
    if label == "POST /room/{name}/file" and body["file"]["size"] <= UPLOAD_BYTES:
        if upload(body["upload"], bytes(body["file"]["size"])):
            uploaded.append(body["file"]["id"])


def upload(to, content):
    """Half of a file's way is the storage's, which is not described here."""
    request = urllib.request.Request(to["url"], content, to["headers"], method=to["method"])
    try:
        urllib.request.urlopen(request, timeout=SOON).close()
        return True
    except urllib.error.HTTPError:
        return False  # It has another SHA-256 than declared. `complete` is asked about files that are not there, too.


@atexit.register
def tell():
    """The story asks whether every operation was ever of use."""
    with open(os.environ["ANSWERED"], "w") as file:
        json.dump(answered, file)
