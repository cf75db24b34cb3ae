"""Hooks that give Schemathesis what the OpenAPI document cannot express: valid passwords, existing rooms and files,
cursors, and callers whose sessions may end."""

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
ROOM_PASSWORD = "open sesame"  # The password of Bob's room "vault".
DEADLINE = 20
# Larger files are declared and not uploaded.
UPLOAD_BYTES = 1 << 20
# These calls can end the caller's session, so they are never made as Ada.
ENDING = {"POST /logout", "DELETE /user", "PATCH /user", "DELETE /user/session/{id}"}
# These calls must not change the lobby, which other calls need: Ada stays its only owner.
SPOILING = {"DELETE /room/{name}", "PATCH /room/{name}", "PATCH /room/{name}/member/{userId}"}

numbers = itertools.count(1)
cursors = {}  # The last `next` of each list.
uploaded = []  # Files that can be completed.
refresh_tokens = []  # Unused refresh tokens.
asked = collections.Counter()  # The number of valid calls of each operation.
answered = collections.Counter()  # The number of successful calls of each operation.


def new_address():
    """A client address that was not used before, as a trusted proxy sends it: limits per address must not apply."""
    number = next(numbers)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def call(method, path, body=None, token=None):
    headers = {"content-type": "application/json", "x-forwarded-for": new_address()}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=DEADLINE) as response:
        return json.loads(response.read() or b"null")


def log_in(name):
    return call("POST", "/login", {"name": name, "password": PASSWORD})


def new_user():
    """Logs in with a new account that nothing else uses."""
    name = f"user-{next(numbers)}"
    call("POST", "/user", {"name": name, "password": PASSWORD})
    return log_in(name)


@functools.cache
def known(name):
    """Logs in once as Ada, who owns the lobby, or with a new account that these hooks know by this name."""
    return log_in(name) if name == "ada" else new_user()


def ada():
    return known("ada")["accessToken"]


@schemathesis.hook
def before_call(context, case, kwargs):
    label = case.operation.label
    case.headers["x-forwarded-for"] = new_address()
    is_right = case.meta is not None and case.meta.generation.mode.is_positive
    if is_right and case.query:
        if case.query.get("sort") == "activity":
            case.query["mine"] = "true"  # Only the caller's own rooms can be sorted by activity.
        take_one_page(list_of(case), case.query)
    if is_right and isinstance(case.body, dict):
        make_visible(case.body)
    if is_right and label == "GET /room/{name}/message/search" and len(case.query["q"]) == 1:
        case.query["q"] *= 2  # One character is enough only in some scripts, which the document cannot express.
    # Every other call gets valid values, because missing and wrong ones are tested too. Chains of calls keep theirs.
    is_chosen = is_right and case.meta.phase.name != "stateful" and not asked[label] % 2
    asked[label] += is_right
    if is_chosen and label in CHOICES:
        CHOICES[label](case)
    if is_right and label == "DELETE /room/{name}/member/{userId}":
        avoid_banning_the_caller(case)
    if label in SPOILING and case.path_parameters.get("name") == "lobby":
        in_new_room(case)
    # Only with a valid token: a missing or invalid one must stay so, because its refusal is tested.
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
        return new_user()["accessToken"]
    return known("guest")["accessToken"]


# Parts of the names of invisible characters: patterns do not say where these are allowed.
INVISIBLE = ("VARIATION SELECTOR", "FILLER", "GRAPHEME JOINER", "VOWEL INHERENT", "NULL NOTEHEAD", "BLANK")


def visible(text):
    r"""Removes unassigned and invisible characters: Schemathesis uses whole Unicode blocks for `\p{M}` in a pattern."""

    def is_visible(c):
        is_hidden = any(part in unicodedata.name(c, "") for part in INVISIBLE)
        return unicodedata.category(c) not in ("Cn", "Cf") and not is_hidden

    text = "".join(filter(is_visible, text))
    return text if text.strip() else "x"


def make_visible(body):
    for field in ("name", "title", "displayName"):
        if isinstance(body.get(field), str):
            body[field] = visible(body[field])


def list_of(case):
    """The operation and its order: a cursor of one order is refused by another."""
    query = case.query or {}
    is_mine = query.get("mine") in (True, "true")
    return case.operation.label, query.get("sort") or ("activity" if is_mine else "name")


def take_one_page(of, query):
    """Uses a cursor that this list returned. `cursor`, `before` and `after` exclude each other: one is kept."""
    if "cursor" in query:
        if of in cursors:
            query["cursor"] = cursors[of]
        else:
            del query["cursor"]
    for other in [name for name in ("cursor", "before", "after") if name in query][1:]:
        del query[other]


def avoid_banning_the_caller(case):
    """A ban of the caller is refused, and the document does not know the caller."""
    if case.path_parameters["userId"] == known("ada")["user"]["id"]:
        case.query.pop("ban", None)


# --- Values that make a call succeed ------------------------------------------------------------------------------


def in_lobby(case):
    case.path_parameters["name"] = "lobby"


def of_carol(case):
    """A member of the lobby, invited again in case an earlier call removed her."""
    carol = known("carol")["user"]
    call("POST", "/room/lobby/member", {"name": carol["name"]}, ada())
    case.path_parameters.update(name="lobby", userId=carol["id"])


def in_new_room(case):
    """A new room that the call may change. Ada owns it, and Carol is a member."""
    name = f"new-{next(numbers)}"
    call("POST", "/room", {"name": name}, ada())
    call("POST", f"/room/{name}/member", {"name": known("carol")["user"]["name"]}, ada())
    case.path_parameters["name"] = name


def role_of_carol(case):
    in_new_room(case)
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
    """Puts an unused refresh token into the body or the cookie."""
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
    "PATCH /room/{name}": in_new_room,
    "DELETE /room/{name}": in_new_room,
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
        cursors[list_of(case)] = body["next"]
    if label == "POST /login/refresh":
        refresh_tokens.append(body["refreshToken"])
    if label == "POST /room/{name}/file" and body["file"]["size"] <= UPLOAD_BYTES:
        if upload(body["upload"], bytes(body["file"]["size"])):
            uploaded.append(body["file"]["id"])


def upload(to, content):
    """Uploads to the object storage, which the document does not describe."""
    request = urllib.request.Request(to["url"], content, to["headers"], method=to["method"])
    try:
        urllib.request.urlopen(request, timeout=DEADLINE).close()
        return True
    except urllib.error.HTTPError:
        return False  # Its SHA-256 is not the declared one. `complete` is also called for files without an object.


@atexit.register
def write_answered():
    """The test checks that every operation succeeded at least once."""
    with open(os.environ["ANSWERED"], "w") as file:
        json.dump(answered, file)
