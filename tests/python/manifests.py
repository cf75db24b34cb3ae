"""Checks of infra/k8s: that the manifests are valid, and that they do not drift from compose.yaml, the documentation,
nats.conf and roles.sh. Prints each fault; exits with 1 if there is one.

    PYTHONPATH=.tools/lint python3 tests/python/manifests.py
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
KUBECTL = pathlib.Path(kubernetes_validate.__file__).parents[1] / "bin/kubectl"
# The oldest version that the manifests support (`preStop.sleep`), and the newest that the validator has.
KUBERNETES = ["1.30", "1.37"]
PROCESSES = {"provision", "functions", "archive", "gateway"}
COMPOSE_NAMES = {"gateway": "gateway-1"}
SECRET = re.compile("PASSWORD|SECRET|ACCESS_KEY|SIGNING_KEY|DATABASE_URL")


def rendered(overlay):
    """The objects of an overlay. kubectl prints what is wrong with it."""
    command = [KUBECTL, "kustomize", INFRA / "k8s" / overlay]
    return list(yaml.safe_load_all(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def of_kind(objects, *kinds):
    return {item["metadata"]["name"]: item for item in objects if item["kind"] in kinds}


def invalid(objects):
    """Objects that Kubernetes would refuse."""
    for version in KUBERNETES:
        for item in objects:
            try:
                kubernetes_validate.validate(item, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = "/".join(str(step) for step in error.path)
                yield f"{item['kind']} {item['metadata']['name']} in Kubernetes {version}: {where}: {error.message}"


def environment(container, config_maps):
    """The variables of a container: a string, or the Secret's name and key."""
    found = {}
    for source in container.get("envFrom", []):
        found.update(config_maps[source["configMapRef"]["name"]]["data"])
    for variable in container.get("env", []):
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        else:
            reference = variable["valueFrom"]["secretKeyRef"]
            found[variable["name"]] = (reference["name"], reference["key"])
    return found


def documented_variables(readme):
    """Names in the first column of the table of variables."""
    section = readme.split("## Configuration")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def documented_secrets(readme):
    """Secrets and their keys in the table of the section Kubernetes."""
    section = readme.split("## Kubernetes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)`[^|]*\| ([^|]*) \|", section, re.MULTILINE)
    return {(secret, key) for secret, keys in rows for key in re.findall(r"`([^`]+)`", keys)}


def environment_faults(objects, readme):
    """Variables or Secrets that are not documented, and secrets in plain text."""
    names, secrets = documented_variables(readme), documented_secrets(readme)
    config_maps = of_kind(objects, "ConfigMap")
    for process, workload in of_kind(objects, "Deployment", "Job").items():
        for container in workload["spec"]["template"]["spec"]["containers"]:
            for name, value in environment(container, config_maps).items():
                if name not in names:
                    yield f"{process}: infra/README.md does not document the variable {name}"
                if isinstance(value, tuple) and value not in secrets:
                    yield f"{process}: infra/README.md does not document the key {value[1]} of Secret {value[0]}"
                if isinstance(value, str) and SECRET.search(name):
                    yield f"{process}: {name} must come from a Secret"
    yield from (f"Secret {name} must not be in git" for name in of_kind(objects, "Secret"))


def compose_faults(objects, compose):
    """Differences between the base and compose.yaml."""
    workloads = of_kind(objects, "Deployment", "Job")
    config_maps = of_kind(objects, "ConfigMap")
    if set(workloads) != PROCESSES:
        yield f"the processes are {sorted(workloads)}, not {sorted(PROCESSES)}"
    for process in PROCESSES & set(workloads):
        container = workloads[process]["spec"]["template"]["spec"]["containers"][0]
        service = compose["services"][COMPOSE_NAMES.get(process, process)]
        ours, theirs = environment(container, config_maps), service["environment"]
        for name in sorted(ours.keys() ^ theirs.keys()):
            yield f"{process}: only {'compose.yaml' if name in theirs else 'infra/k8s/base'} sets {name}"
        for variable in container["env"]:
            name = variable["name"]
            if "value" in variable and name in theirs and variable["value"] != theirs[name]:
                yield f"{process}: {name} is {variable['value']}, but {theirs[name]} in compose.yaml"
        if container["args"] != service["command"]:
            yield f"{process}: the command is {container['args']}, but {service['command']} in compose.yaml"


def privilege_faults(objects):
    """Containers with more privileges than they need."""
    for process, workload in of_kind(objects, "Deployment", "Job").items():
        pod = workload["spec"]["template"]["spec"]
        security = pod["securityContext"]
        expected = {
            "runAsNonRoot": security.get("runAsNonRoot") is True,
            "runAsUser 10001": security.get("runAsUser") == security.get("runAsGroup") == 10001,
            "seccompProfile RuntimeDefault": security.get("seccompProfile") == {"type": "RuntimeDefault"},
            "no service account token": pod.get("automountServiceAccountToken") is False,
            "its own service account": pod.get("serviceAccountName") == process,
            "no service links": pod.get("enableServiceLinks") is False,
        }
        for container in pod["containers"]:
            rights = container["securityContext"]
            expected["readOnlyRootFilesystem"] = rights.get("readOnlyRootFilesystem") is True
            expected["no privilege escalation"] = rights.get("allowPrivilegeEscalation") is False
            expected["all capabilities dropped"] = rights.get("capabilities") == {"drop": ["ALL"]}
            expected["a memory limit"] = "memory" in container["resources"]["limits"]
        yield from (f"{process}: expected {name}" for name, is_met in expected.items() if not is_met)
        yield from grace_faults(process, pod, of_kind(objects, "ConfigMap"))


def grace_faults(process, pod, config_maps):
    """A process that is killed before it has drained."""
    container = pod["containers"][0]
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = pause + int(environment(container, config_maps).get("DRAIN_SECONDS", 0))
    # 30 is Kubernetes' default.
    if pod.get("terminationGracePeriodSeconds", 30) <= needed:
        yield f"{process}: terminationGracePeriodSeconds must be above {needed}"


def selects(selector, labels):
    equal = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return equal and all(
        labels.get(rule["key"]) in rule["values"] and rule["operator"] == "In"
        for rule in selector.get("matchExpressions", [])
    )


def network_faults(objects):
    """A gateway that can reach more than NATS, the public keys and DNS, or pods without a policy."""
    policies = of_kind(objects, "NetworkPolicy").values()
    for process, workload in of_kind(objects, "Deployment", "Job").items():
        labels = workload["spec"]["template"]["metadata"]["labels"]
        if not any(selects(p["spec"]["podSelector"], labels) and len(p["spec"]["policyTypes"]) == 2 for p in policies):
            yield f"{process}: no policy denies everything by default"
    labels = of_kind(objects, "Deployment")["gateway"]["spec"]["template"]["metadata"]["labels"]
    rules = [r for p in policies if selects(p["spec"]["podSelector"], labels) for r in p["spec"].get("egress", [])]
    reached = {(peer_of(rule), port["port"]) for rule in rules for port in rule["ports"]}
    if reached != {("nats", 4222), ("chatting-room functions", 8080), ("kube-dns", 53)}:
        yield f"a gateway may reach {sorted(reached)}"


def namespace_faults(objects):
    """An overlay in which other pods of the namespace are not restricted."""
    policies = of_kind(objects, "NetworkPolicy").values()
    if not any(p["spec"]["podSelector"] == {} and len(p["spec"]["policyTypes"]) == 2 for p in policies):
        yield "no policy denies everything by default"


def peer_of(rule):
    """The pods or addresses of an egress rule, for people."""
    peers = [peer.get("podSelector", {}).get("matchLabels", {"": str(peer)}) for peer in rule["to"]]
    return ", ".join(" ".join(labels[key] for key in sorted(labels, reverse=True)) for labels in peers)


def scaling_faults(objects, adapter, metrics):
    """Autoscalers without a target or a metric, or whose target has a fixed number of replicas."""
    deployments = of_kind(objects, "Deployment")
    for name, scaler in of_kind(objects, "HorizontalPodAutoscaler").items():
        target = deployments.get(scaler["spec"]["scaleTargetRef"]["name"])
        if target is None or "replicas" in target["spec"]:
            yield f"the target of the autoscaler {name} does not exist or has a fixed number of replicas"
        for metric in [m["pods"]["metric"]["name"] for m in scaler["spec"]["metrics"] if m["type"] == "Pods"]:
            rules = [rule["seriesQuery"] for rule in adapter["rules"]["custom"]]
            if not any(rule.startswith(metric + "{") for rule in rules) or f"`{metric}{{" not in metrics:
                yield f"values/prometheus-adapter.yaml or docs/metrics.md has no metric {metric}"


def scrape_faults(objects, prometheus):
    """Pods that values/prometheus.yaml does not select, or whose job the alert rules do not expect."""
    rules = prometheus["scrapeConfigs"]["chatting-room"]["relabel_configs"]
    name, port = (rule["regex"] for rule in rules[:2])
    if [rule["source_labels"][0].split("_pod_")[1] for rule in rules if rule.get("target_label") == "job"] != [
        "label_app_kubernetes_io_component"
    ]:
        yield "values/prometheus.yaml does not name jobs by component"
    alerts = (INFRA / "monitoring/rules.yml").read_text()
    for process, deployment in of_kind(objects, "Deployment").items():
        template = deployment["spec"]["template"]
        labels = template["metadata"]["labels"]
        ports = [entry["name"] for entry in template["spec"]["containers"][0]["ports"]]
        if labels["app.kubernetes.io/name"] != name or ports.count(port) != 1:
            yield f"values/prometheus.yaml does not select {process}"
        if not re.search(rf'job=~"[a-z|]*\b{labels["app.kubernetes.io/component"]}\b', alerts):
            yield f"infra/monitoring/rules.yml expects no job of the name of {process}"


def nats_faults(values, configuration, compose, production):
    """Values of NATS's chart that contradict nats.conf, compose.yaml or the number of replicas."""
    missing = set(re.findall(r"\$(NATS_\w+)", configuration)) - values["container"]["env"].keys()
    yield from (f"values/nats.yaml does not set {name}, which nats.conf needs" for name in sorted(missing))
    tag = values["container"]["image"]["tag"]
    if compose["services"]["nats"]["image"] != f"nats:{tag}":
        yield f"values/nats.yaml has the image tag {tag}, compose.yaml another one"
    limit = int(re.search(r"max_file_store: (\d+)GB", configuration)[1])
    if int(values["config"]["jetstream"]["fileStore"]["pvc"]["size"].removesuffix("Gi")) <= limit:
        yield f"the volume in values/nats.yaml is not larger than max_file_store in nats.conf, {limit} GB"
    job = of_kind(production, "Job")["provision"]["spec"]["template"]["spec"]["containers"][0]
    replicas = environment(job, of_kind(production, "ConfigMap")).get("NATS_REPLICAS")
    if replicas != str(values["config"]["cluster"]["replicas"]):
        yield f"NATS_REPLICAS is {replicas} in the production overlay: not the servers of values/nats.yaml"


def database_faults(cluster, roles):
    """Privileges in roles.sh that values/postgres.yaml does not grant, or the other way round."""
    statements = re.findall(r"^(?:REVOKE|GRANT|ALTER DEFAULT)[^;]*", roles, re.MULTILINE)
    theirs = {" ".join(statement.replace(':"DBNAME"', "chat").split()) for statement in statements}
    ours = set(cluster["spec"]["bootstrap"]["initdb"]["postInitApplicationSQL"])
    yield from (f"only one of roles.sh and values/postgres.yaml has: {statement}" for statement in theirs ^ ours)


def release_faults():
    """An order of release.sh in which a server starts before `provision` is complete."""
    with tempfile.TemporaryDirectory() as folder:
        kubectl, log = pathlib.Path(folder, "kubectl"), pathlib.Path(folder, "log")
        kubectl.write_text(f'#!/bin/sh\necho "$*" >>"{log}"\ncase "$*" in *$FAILING*) exit 1 ;; esac\n')
        kubectl.chmod(0o755)
        for failing, expected in [
            ("none", "kustomize|delete job provision|notin|wait.*job/provision|=functions|rollout.*/functions"
                     "|=archive|rollout.*/archive|=gateway|rollout.*/gateway"),
            ("wait", "kustomize|delete job provision|notin|wait.*job/provision|logs job/provision"),
        ]:
            log.unlink(missing_ok=True)
            path = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "FAILING": failing}
            ended = subprocess.run([INFRA / "k8s/release.sh", "overlay"], env=path, capture_output=True)
            calls, steps = log.read_text().splitlines(), expected.split("|")
            fits = len(calls) == len(steps) and all(map(re.search, steps, calls))
            if not fits or (ended.returncode == 0) != (failing == "none"):
                yield f"release.sh with {failing} failing ended with {ended.returncode} after {calls}"


def main():
    base, production = rendered("base"), rendered("production")
    compose = yaml.safe_load((INFRA / "compose.yaml").read_text())
    readme = (INFRA / "README.md").read_text()
    found = [*compose_faults(base, compose), *release_faults()]
    for objects in base, production:
        found += invalid(objects)
        found += environment_faults(objects, readme)
        found += privilege_faults(objects)
        found += network_faults(objects)
        found += namespace_faults(objects)
    values = INFRA / "k8s/values"
    nats = yaml.safe_load((values / "nats.yaml").read_text())
    found += nats_faults(nats, (INFRA / "nats/nats.conf").read_text(), compose, production)
    adapter = yaml.safe_load((values / "prometheus-adapter.yaml").read_text())
    found += scaling_faults(production, adapter, (ROOT / "docs/metrics.md").read_text())
    found += scrape_faults(production, yaml.safe_load((values / "prometheus.yaml").read_text()))
    postgres = yaml.safe_load((values / "postgres.yaml").read_text())
    found += database_faults(postgres, (INFRA / "postgres/roles.sh").read_text())
    print("\n".join(dict.fromkeys(found)) or f"{len(base)} and {len(production)} objects: no fault")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
