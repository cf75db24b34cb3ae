"""Checks the zips that `make lambda` builds: their size, and how long a function takes from its start to its first
answer. Plays the Lambda runtime API; no dependency of a function is up, so the time has no network in it. Prints a
table; exits with 1 if a limit is exceeded.

    python3 tests/python/lambda_zips.py target/lambda/arm64 target/lambda/x86_64
"""

import http.server
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

MAX_BYTES = 8 * 1024 * 1024
# CPU time of the process, because the time that passes depends on what else the machine does.
MAX_CPU_MS = 60
STARTS = 10
NATIVE = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
# Nothing listens there, and a connection is refused at once.
NOWHERE = "127.0.0.1:9"
ENVIRONMENT = {
    "DATABASE_URL": f"postgres://chat_app@{NOWHERE}/chat",
    "NATS_URL": f"nats://{NOWHERE}",
    "S3_ENDPOINT": f"http://{NOWHERE}",
    "S3_BUCKET": "files",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "PUBLIC_URL": "https://chat.example.com",
    "GATEWAY_URL": "https://gateway.chat.example.com",
    "RUST_LOG": "off",
    "AWS_LAMBDA_FUNCTION_NAME": "chat",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
    "AWS_LAMBDA_FUNCTION_VERSION": "1",
    "AWS_LAMBDA_LOG_STREAM_NAME": "log",
    "AWS_LAMBDA_LOG_GROUP_NAME": "log",
}


def request(path):
    """An event of API Gateway's HTTP API, payload format 2.0."""
    context = {
        "accountId": "1", "apiId": "api", "domainName": "chat.example.com", "domainPrefix": "chat", "requestId": "id",
        "routeKey": "$default", "stage": "$default", "time": "23/Nov/2026:00:00:00 +0000", "timeEpoch": 1795392000000,
        "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"},
    }
    return {"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "isBase64Encoded": False,
            "headers": {"host": "chat.example.com"}, "requestContext": context}


# An event that each function can answer without its dependencies. The answer may be an error.
EVENTS = {"archive": {}, "uploads": {"Records": []}}


class RuntimeApi(http.server.ThreadingHTTPServer):
    """Gives one event to one function, and notes when the answer arrives."""

    daemon_threads = True

    def __init__(self, event):
        super().__init__(("127.0.0.1", 0), Handler)
        self.event, self.given = json.dumps(event).encode(), threading.Lock()
        self.answered, self.answer, self.answered_at = threading.Event(), b"", 0.0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        if not self.server.given.acquire(blocking=False):
            # There is no second event.
            time.sleep(60)
            return
        self.send_response(200)
        for name, value in {
            "lambda-runtime-aws-request-id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            "lambda-runtime-deadline-ms": str(int(time.time() * 1000) + 30_000),
            "lambda-runtime-invoked-function-arn": "arn:aws:lambda:us-east-1:123456789012:function:chat",
            "content-length": str(len(self.server.event)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.event)

    def do_POST(self):
        chunked = self.headers.get("transfer-encoding") == "chunked"
        body = self.read_chunks() if chunked else self.rfile.read(int(self.headers["content-length"]))
        self.server.answer, self.server.answered_at = body, time.monotonic()
        self.server.answered.set()
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()

    def read_chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body


def cpu_ms(process):
    """The CPU time of all threads so far, by the kernel's account."""
    total = 0
    for thread in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e6


def start(program, name, variables):
    """Starts a function once. Returns the milliseconds until its first answer: of CPU, and on the clock."""
    api = RuntimeApi(EVENTS.get(name, request("/healthz")))
    environment = {**variables, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}"}
    began = time.monotonic()
    process = subprocess.Popen([program], env=environment, stdin=subprocess.DEVNULL)
    try:
        if not api.answered.wait(30):
            raise SystemExit(f"{name} did not answer within 30 s (exit code {process.poll()})")
        return cpu_ms(process), (api.answered_at - began) * 1000, api.answer
    finally:
        process.kill()
        process.wait()
        api.shutdown()
        api.server_close()


def keys():
    def openssl(*arguments, given=None):
        return subprocess.run(["openssl", *arguments], input=given, check=True, stdout=subprocess.PIPE).stdout

    private = openssl("genpkey", "-algorithm", "ed25519")
    public = openssl("pkey", "-pubout", given=private)
    return {"SIGNING_KEY": private.decode(), "VERIFICATION_KEYS": public.decode()}


def measure(archive, name):
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder, "bootstrap")
        with zipfile.ZipFile(archive) as zipped:
            program.write_bytes(zipped.read("bootstrap"))
        program.chmod(0o755)
        variables = {**ENVIRONMENT, **keys(), "HOME": folder}
        start(program, name, variables)
        runs = [start(program, name, variables) for _ in range(STARTS)]
        return [statistics.median(run[n] for run in runs) for n in range(2)], runs[-1][2]


def main():
    faults = []
    print(f"{'zip':32} {'MiB':>6} {'CPU ms':>7} {'ms':>5}  first answer")
    for folder in map(pathlib.Path, sys.argv[1:]):
        zips = sorted(folder.glob("*/bootstrap.zip"))
        if not zips:
            faults.append(f"{folder} has no zips")
        for archive in zips:
            name, size = archive.parent.name, archive.stat().st_size
            title = f"{folder.name}/{name}"
            if size > MAX_BYTES:
                faults.append(f"{title} is {size} bytes, more than {MAX_BYTES}")
            if folder.name != NATIVE:
                print(f"{title:32} {size / 2**20:6.2f}")
                continue
            (cpu, wall), answer = measure(archive, name)
            print(f"{title:32} {size / 2**20:6.2f} {cpu:7.1f} {wall:5.0f}  {answer.decode()[:60]}")
            if cpu > MAX_CPU_MS:
                faults.append(f"{title} uses {cpu:.1f} ms of CPU until its first answer, more than {MAX_CPU_MS}")
    print("\n".join(faults) or "no fault")
    sys.exit(bool(faults))


main()
