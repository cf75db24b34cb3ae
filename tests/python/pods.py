"""Starts the pods of infra/k8s/base with `podman kube play` and chats through them. tests/containers/services.sh runs
it beside running stand-ins for NATS, PostgreSQL and the S3 server.

podman has no Jobs, Services, network policies and, in an image without curl, no HTTP probes. The Job `provision` is
played as a pod, the names of Services are in the pods' hosts files, and this test makes the requests of the probes.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.request

import yaml

from manifests import ROOT, of_kind, rendered

ENGINE = os.environ["ENGINE"].split()
# The network of the stand-ins, and what addresses.py wrote: a file with their addresses in it.
NETWORK = os.environ["NETWORK"]
STAND_INS = json.loads(pathlib.Path(os.environ["ADDRESSES"]).read_text())["services"]
DEADLINE = 30
# Containers whose logs are printed when the test fails.
PLAYED = []


def fail(reason):
    for container in PLAYED:
        print(f"--- {container}", *logs_of(container).splitlines()[-20:], sep="\n", file=sys.stderr)
    sys.exit(f"pods: {reason}")


def podman(*arguments, text=None):
    ended = subprocess.run([*ENGINE, *arguments], input=text, capture_output=True, text=True)
    if ended.returncode:
        fail(f"podman {' '.join(arguments)}: {ended.stderr}")
    return ended.stdout


def logs_of(container):
    ended = subprocess.run([*ENGINE, "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return ended.stdout


def variables():
    """The values of infra/.env."""
    lines = pathlib.Path(os.environ["SECRETS_FILE"]).read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    return {name: value.strip('"').replace("\\n", "\n") for name, value in pairs}


def secret_part(value):
    """The value, or of a PEM file the encoded key."""
    lines = value.splitlines()
    return lines[1] if len(lines) > 1 else value


def create_secrets(values):
    """The Secrets that infra/README.md lists. podman 4.3 reads them as JSON, with values in base64."""
    url = "postgres://{}:{}@postgres:5432/chat"
    secrets = {
        "nats": {name: value for name, value in values.items() if name.startswith("NATS_")},
        "database-app": {"DATABASE_URL": url.format("chat_app", values["POSTGRES_APP_PASSWORD"])},
        "database-owner": {"DATABASE_URL": url.format("chat_owner", values["POSTGRES_OWNER_PASSWORD"])},
        "storage": storage_keys(values, "APP"),
        "storage-owner": storage_keys(values, "PROVISION"),
        "signing-key": {"SIGNING_KEY": values["SIGNING_KEY"]},
    }
    for name, keys in secrets.items():
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
        podman("secret", "create", name, "-", text=json.dumps(encoded))


def storage_keys(values, user):
    return {"AWS_ACCESS_KEY_ID": values[f"S3_{user}_KEY_ID"], "AWS_SECRET_ACCESS_KEY": values[f"S3_{user}_SECRET"]}


def hosts():
    """The addresses of the stand-ins and of the Service `functions`, which is a pod here."""
    found = {name: STAND_INS[name]["networks"]["edge"]["ipv4_address"] for name in ("nats", "postgres", "storage")}
    return {**found, "functions": found["nats"].rpartition(".")[0] + ".200"}


def playable(workload):
    """A Deployment, or the pod of a Job, without what podman 4.3 cannot do."""
    template = workload["spec"]["template"]
    template["spec"]["hostAliases"] = [{"ip": address, "hostnames": [name]} for name, address in hosts().items()]
    for container in template["spec"]["containers"]:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            container.pop(probe, None)
        # The optional Secret with the database's certificate does not exist here.
        container.pop("volumeMounts", None)
        for port in container.get("ports", []):
            port["hostPort"] = host_port(workload["metadata"]["name"], port["containerPort"])
    template["spec"].pop("volumes", None)
    if workload["kind"] == "Job":
        metadata = {**template["metadata"], "name": workload["metadata"]["name"]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    return workload


def host_port(process, port):
    """All processes serve metrics on one port; on the machine each needs another one."""
    return port + {"functions": 1, "gateway": 2, "archive": 3}[process] if port == 9090 else port


def play(workload, config_maps):
    name = workload["metadata"]["name"]
    objects = [*config_maps, playable(workload)]
    fixed = f":ip={hosts()[name]}" if name in hosts() else ""
    podman("kube", "play", "--quiet", "--network", NETWORK + fixed, "-", text=yaml.safe_dump_all(objects))
    PLAYED.append(f"{name}-{name}" if workload["kind"] == "Job" else f"{name}-pod-0-{name}")
    return PLAYED[-1]


def wait_for(what, condition):
    ends = time.monotonic() + DEADLINE
    while time.monotonic() < ends:
        if condition():
            return
        time.sleep(0.2)
    fail(f"gave up waiting for {what}")


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=3) as response:
            return response.status == 200
    except OSError:
        return False


def check_probes(process, container):
    """Every probe of the manifest is answered."""
    ports = {port["name"]: host_port(process, port["containerPort"]) for port in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if probe in container:
            request = container[probe]["httpGet"]
            url = f"http://127.0.0.1:{ports[request['port']]}{request['path']}"
            wait_for(f"the {probe} of {process}, {url}", lambda: answers(url))
    url = f"http://127.0.0.1:{ports['metrics']}/metrics"
    wait_for(f"the metrics of {process}", lambda: answers(url))


def chat():
    """The Python client, as in the stories."""
    addresses = {"BASE": "http://127.0.0.1:8080", "GATEWAY": "http://127.0.0.1:8081"}
    environment = {**os.environ, **addresses, "PYTHONPATH": os.environ["CLIENT_PATH"]}
    if subprocess.run([sys.executable, ROOT / "tests/python/client.py"], env=environment).returncode:
        fail("the chat failed")


def check_logs(values):
    logs = "".join(map(logs_of, PLAYED))
    leaked = [name for name, value in values.items() if secret_part(value) in logs]
    if leaked or "serving" not in logs:
        # Without the logs.
        sys.exit(f"pods: secrets in a log: {leaked}, or no log")


def stop(container):
    podman("stop", "--time", "40", container)
    status = podman("inspect", "--format", "{{.State.ExitCode}}", container).strip()
    if status != "0":
        fail(f"{container} ended with {status} on SIGTERM")


def main():
    objects = rendered(ROOT / "tests/containers/kube")
    config_maps = list(of_kind(objects, "ConfigMap").values())
    workloads = of_kind(objects, "Deployment", "Job")
    values = variables()
    create_secrets(values)
    status = podman("wait", play(workloads["provision"], config_maps)).strip()
    if status != "0":
        fail(f"provision ended with {status}")
    for name in ("functions", "archive", "gateway"):
        manifest = workloads[name]["spec"]["template"]["spec"]["containers"][0]
        play(json.loads(json.dumps(workloads[name])), config_maps)
        check_probes(name, manifest)
    chat()
    check_logs(values)
    for container in reversed(PLAYED[1:]):
        stop(container)
    podman("pod", "rm", "--all", "--force")
    print(f"{len(PLAYED)} pods: probes, a chat and the stop as expected")


if __name__ == "__main__":
    main()
