"""A stand-in for Kubernetes' API server, as much of it as Helm uses: discovery, objects, watches. It stores objects and
runs nothing; Jobs are complete, or failed, at once."""

import contextlib
import http.server
import json
import threading
import time
import urllib.parse

# The resources of each group version.
RESOURCES = {
    "/api/v1": {"namespaces": "Namespace", "secrets": "Secret", "serviceaccounts": "ServiceAccount",
                "services": "Service"},
    "/apis/apps/v1": {"deployments": "Deployment"},
    "/apis/autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "/apis/batch/v1": {"jobs": "Job"},
    "/apis/networking.k8s.io/v1": {"ingresses": "Ingress", "networkpolicies": "NetworkPolicy"},
    "/apis/policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
}
WATCH_SECONDS = 20


class Cluster:
    """The stored objects, and the requests that changed them: `create jobs NAME`."""

    def __init__(self):
        self.objects = {}
        self.requests = []
        self.jobs_fail = False
        self.events = []
        self.changed = threading.Condition()

    def store(self, resource, stored, event):
        with self.changed:
            version = len(self.events) + 1
            stored["metadata"].update(uid=f"uid-{version}", resourceVersion=str(version), namespace="chat")
            if resource == "jobs":
                stored["status"] = self.job_status()
            if event == "DELETED":
                del self.objects[resource, stored["metadata"]["name"]]
            else:
                self.objects[resource, stored["metadata"]["name"]] = stored
            self.events.append((event, resource, stored))
            self.changed.notify_all()
        return stored

    def job_status(self):
        condition = "Failed" if self.jobs_fail else "Complete"
        return {"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": condition, "status": "True"}],
                "succeeded": int(not self.jobs_fail), "failed": int(self.jobs_fail)}

    def of(self, resource, options):
        name = options.get("fieldSelector", "").removeprefix("metadata.name=")
        found = [stored for (kind, _), stored in self.objects.items() if kind == resource]
        return [stored for stored in found if not name or stored["metadata"]["name"] == name]


class Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster = None

    def log_message(self, *_):
        pass

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status, reason):
        self.reply(status, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
                            "code": status, "message": reason})

    def target(self):
        """Group version, resource, name and options of the request."""
        path, _, query = self.path.partition("?")
        options = dict(urllib.parse.parse_qsl(query))
        for group in RESOURCES:
            if path.startswith(group + "/"):
                steps = path[len(group) + 1:].split("/")
                steps = steps[2:] if steps[0] == "namespaces" and len(steps) > 2 else steps
                if steps[0] in RESOURCES[group]:
                    return group, steps[0], steps[1] if len(steps) > 1 else None, options
        return None, None, None, options

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def change(self, verb, resource, stored, event):
        self.cluster.requests.append(f"{verb} {resource} {stored['metadata']['name']}")
        return self.cluster.store(resource, stored, event)

    def do_GET(self):
        path = self.path.partition("?")[0]
        document = discovery(path)
        group, resource, name, options = self.target()
        if document:
            self.reply(200, document)
        elif not group:
            self.refuse(404, "NotFound")
        elif name:
            stored = self.cluster.objects.get((resource, name))
            self.reply(200, stored) if stored else self.refuse(404, "NotFound")
        elif "sendInitialEvents" in options:
            # The client then lists first, as with API servers before 1.27.
            self.refuse(422, "Invalid")
        elif options.get("watch") in {"1", "true"}:
            self.watch(resource, int(options.get("resourceVersion") or 0))
        else:
            self.reply(200, {"kind": RESOURCES[group][resource] + "List", "apiVersion": version_of(group),
                             "metadata": {"resourceVersion": str(len(self.cluster.events))},
                             "items": self.cluster.of(resource, options)})

    def watch(self, resource, since):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        ends = time.monotonic() + WATCH_SECONDS
        with contextlib.suppress(OSError):
            while time.monotonic() < ends:
                with self.cluster.changed:
                    self.cluster.changed.wait_for(lambda: len(self.cluster.events) > since, timeout=0.5)
                    news, since = self.cluster.events[since:], len(self.cluster.events)
                for event, kind, stored in news:
                    if kind == resource:
                        self.wfile.write(json.dumps({"type": event, "object": stored}).encode() + b"\n")
                self.wfile.flush()

    def do_POST(self):
        _, resource, _, _ = self.target()
        self.reply(201, self.change("create", resource, self.body(), "ADDED"))

    def do_PATCH(self):
        _, resource, name, _ = self.target()
        if "apply-patch" not in self.headers["Content-Type"]:
            return self.refuse(415, "UnsupportedMediaType")
        is_new = (resource, name) not in self.cluster.objects
        verb, event = ("create", "ADDED") if is_new else ("apply", "MODIFIED")
        stored = self.change(verb, resource, self.body(), event)
        return self.reply(201 if is_new else 200, stored)

    def do_DELETE(self):
        _, resource, name, _ = self.target()
        self.body()
        stored = self.cluster.objects.get((resource, name))
        if not stored:
            return self.refuse(404, "NotFound")
        return self.reply(200, self.change("delete", resource, json.loads(json.dumps(stored)), "DELETED"))


def version_of(group):
    return group.removeprefix("/apis/").removeprefix("/api/")


def discovery(path):
    """The documents by which a client finds out what the server has."""
    if path == "/version":
        return {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = [version_of(group) for group in RESOURCES if group != "/api/v1"]
        entries = [{"groupVersion": version, "version": version.split("/")[1]} for version in versions]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
            {"name": entry["groupVersion"].split("/")[0], "versions": [entry], "preferredVersion": entry}
            for entry in entries]}
    if path == "/openapi/v3":
        return {"paths": {group[1:]: {"serverRelativeURL": f"/openapi/v3{group}"} for group in RESOURCES}}
    if path.startswith("/openapi/v3/") and path.removeprefix("/openapi/v3") in RESOURCES:
        return openapi(path.removeprefix("/openapi/v3"))
    if path in RESOURCES:
        verbs = ["create", "delete", "get", "list", "patch", "watch"]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version_of(path), "resources": [
            {"name": name, "singularName": "", "namespaced": name != "namespaces", "kind": kind, "verbs": verbs}
            for name, kind in RESOURCES[path].items()]}
    return None


def openapi(group):
    """Says that the server itself validates fields, so that the client does not."""
    *name, version = version_of(group).split("/")
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    paths = {}
    for resource, kind in RESOURCES[group].items():
        identity = {"group": "".join(name), "version": version, "kind": kind}
        patch = {"parameters": [parameter], "responses": {}, "x-kubernetes-group-version-kind": identity}
        paths[f"{group}/namespaces/{{namespace}}/{resource}/{{name}}"] = {"patch": patch}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.34.0"}, "paths": paths}


@contextlib.contextmanager
def running():
    """A server on a free port: yields the cluster and a kubeconfig for it."""
    cluster = Cluster()
    handler = type("Handler", (Requests,), {"cluster": cluster})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "test",
              "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
              "users": [{"name": "test", "user": {}}],
              "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "chat"}}]}
    try:
        yield cluster, json.dumps(config)
    finally:
        server.shutdown()
