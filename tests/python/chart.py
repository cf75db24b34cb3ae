"""Checks of the Helm chart: that Helm renders it, that Kubernetes would accept the result, that it has the same content
as infra/k8s, and that its README lists all values. Prints each fault; exits with 1 if there is one.

    PYTHONPATH=.tools/lint python3 tests/python/chart.py [--write]

`--write` updates the table in the chart's README first.
"""

import json
import re
import sys

import helm_python
import yaml

from manifests import (
    INFRA,
    KUBERNETES,
    ROOT,
    environment,
    environment_faults,
    invalid,
    network_faults,
    of_kind,
    privilege_faults,
    rendered,
    selects,
)

CHART = INFRA / "helm/chatting-room"
# Helm prefixes the names of all objects with the release's name.
RELEASE = "demo"
# Kinds of other projects, whose schemas the validator does not have.
FOREIGN = {"HTTPRoute", "ServiceMonitor"}
INSTANCE = "app.kubernetes.io/instance"
# Values that the schema or a template must refuse, and a part of the message.
REFUSED = [
    ({"functions": {"replica": 2}}, "replica"),
    ({"gateway": {"drainSeconds": "30"}}, "drainSeconds"),
    ({"public": {"host": "https://chat.example.com"}}, "host"),
    ({"nats": {"existingSecret": ""}}, "existingSecret"),
    ({"networkPolicy": {"database": []}}, "database"),
    ({"httpRoute": {"enabled": True}}, "parentRefs"),
    ({"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}, "exclude each other"),
]


def render(chart, values):
    """The objects of the chart. The release's prefix is removed from names, and its label from all selectors."""
    texts = chart.render(values, name=RELEASE, namespace="chat")
    texts = [text for path, text in sorted(texts.items()) if path.endswith(".yaml")]
    objects = [item for text in texts for item in yaml.safe_load_all(text) if item]
    prefix = values.get("fullnameOverride") or RELEASE
    return objects, [unprefixed(item, prefix + "-") for item in objects]


def unprefixed(node, prefix):
    if isinstance(node, dict):
        return {key: unprefixed(value, prefix) for key, value in node.items() if key != INSTANCE}
    if isinstance(node, list):
        return [unprefixed(value, prefix) for value in node]
    if isinstance(node, str):
        return re.sub(rf"^(http://)?{prefix}", r"\1", node)
    return node


def comparable(objects):
    """What an object means, for all kinds of objects that both have."""
    config_maps = of_kind(objects, "ConfigMap")
    found = {}
    for item in objects:
        kind, name = item["kind"], item["metadata"]["name"]
        if kind in {"ConfigMap", "Namespace", "NetworkPolicy"} or "test-" in name:
            continue
        # The Ingress has the release's name.
        name = "" if kind == "Ingress" else name
        annotations = item["metadata"].get("annotations") or {}
        fields = {key: item[key] for key in item.keys() - {"apiVersion", "kind", "metadata"}}
        fields["annotations"] = {key: value for key, value in annotations.items() if not key.startswith("helm.sh/")}
        if kind in {"Deployment", "Job"}:
            fields["pods"] = pods(fields.pop("spec"), config_maps)
        found[f"{kind} {name}".strip()] = fields
    return found


def pods(spec, config_maps):
    spec = json.loads(json.dumps(spec))
    for container in spec["template"]["spec"]["containers"]:
        references = [entry["valueFrom"]["secretKeyRef"] for entry in container["env"] if "valueFrom" in entry]
        container["optional"] = sorted(entry["key"] for entry in references if entry.get("optional"))
        container["env"] = environment(container, config_maps)
        container.pop("envFrom", None)
        container.pop("imagePullPolicy", None)
    return spec


def allowed(objects, labels):
    """The connections that the network policies allow for pods with these labels."""
    found = set()
    for policy in of_kind(objects, "NetworkPolicy").values():
        spec = policy["spec"]
        if not selects(spec["podSelector"], labels):
            continue
        found.update((direction, "isolated", "") for direction in spec["policyTypes"])
        for direction, rules, peers in [("Ingress", "ingress", "from"), ("Egress", "egress", "to")]:
            for rule in spec.get(rules, []):
                for peer in rule[peers]:
                    text = json.dumps(peer, sort_keys=True)
                    for port in rule["ports"]:
                        found.add((direction, text, f"{port['protocol']} {port['port']}"))
    return {connection for connection in found if '"test"' not in connection[1]}


def differences(ours, theirs, path=""):
    """Paths at which two structures differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys(), key=str):
            yield from differences(ours.get(key), theirs.get(key), f"{path}/{key}" if path else key)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for at, pair in enumerate(zip(ours, theirs)):
            yield from differences(*pair, f"{path}/{at}")
    elif (ours or None) != (theirs or None):
        yield f"{path}: {ours} in the chart, {theirs} in infra/k8s"


def agreement_faults(objects, overlay):
    theirs = rendered(overlay)
    for fault in differences(comparable(objects), comparable(theirs)):
        yield f"{overlay}: {fault}"
    processes = ["functions", "gateway", "archive", "provision"]
    pods = [{"app.kubernetes.io/name": "chatting-room", "app.kubernetes.io/component": name} for name in processes]
    for labels in [*pods, {"app.kubernetes.io/name": "nats"}]:
        for connection in allowed(objects, labels) ^ allowed(theirs, labels):
            where = "the chart" if connection in allowed(objects, labels) else "infra/k8s"
            yield f"{overlay}: only {where} has for {' '.join(labels.values())}: {' '.join(connection)}"


def hook_faults(objects):
    """Objects that are created too early or too late. A hook can only use objects that are hooks as well."""
    for item in objects:
        name, kind = item["metadata"]["name"], item["kind"]
        hook = (item["metadata"].get("annotations") or {}).get("helm.sh/hook")
        expected = "pre-install,pre-upgrade" if name == "provision" else "test" if "test-" in name else None
        if hook != expected:
            yield f"{kind} {name} is a hook of {hook}, not of {expected}"
        if name == "provision" and kind == "Job" and '"configMap' in json.dumps(item):
            yield "the Job provision uses a ConfigMap, which does not exist before the first installation"


def value_faults(chart):
    for values, part in REFUSED:
        try:
            render(chart, values)
            yield f"the chart accepts {values}"
        except helm_python.HelmError as error:
            if part not in str(error):
                yield f"the chart refuses {values} with: {error}"


def described_values(node, lines, path=""):
    """Path, default and description of every value. Ends the program at a value without one."""
    for key, value in node.value:
        name = f"{path}.{key.value}" if path else key.value
        comment, at = [], key.start_mark.line - 1
        while lines[at].lstrip().startswith("#"):
            comment.insert(0, lines[at].lstrip().lstrip("#").strip())
            at -= 1
        if comment and comment[0].startswith("-- "):
            yield name, value, " ".join(comment).removeprefix("-- ")
        elif isinstance(value, yaml.MappingNode) and value.value:
            yield from described_values(value, lines, name)
        else:
            sys.exit(f"values.yaml does not describe {name}")


def table():
    text = (CHART / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    yield "| value | default | what |"
    yield "|---|---|---|"
    for name, _, description in described_values(yaml.compose(text), text.splitlines()):
        default = defaults
        for step in name.split("."):
            default = default[step]
        shown = json.dumps(default)
        shown = f"`{shown}`" if len(shown) <= 60 else "see values.yaml"
        yield f"| `{name}` | {shown} | {description} |"


def readme_faults(write):
    path = CHART / "README.md"
    before = path.read_text()
    begin, end = "<!-- values -->\n", "<!-- end of values -->"
    head, rest = before.split(begin)
    after = head + begin + "\n".join(table()) + "\n" + end + rest.split(end)[1]
    if write:
        path.write_text(after)
    elif before != after:
        yield "the table in infra/helm/chatting-room/README.md is out of date: run `make helm-docs`"


def version_faults(chart):
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    found = {chart.metadata["version"], chart.metadata["appVersion"]}
    if found != {version}:
        yield f"Chart.yaml has the versions {sorted(found)}, Cargo.toml {version}"


def main():
    chart = helm_python.Chart.load(CHART)
    readme = (INFRA / "README.md").read_text()
    found = [*readme_faults("--write" in sys.argv), *version_faults(chart), *value_faults(chart)]
    count = 0
    for file, overlay in [(None, "production"), ("minimal", "base"), ("gateway-api", None)]:
        values = yaml.safe_load((CHART / f"ci/{file}-values.yaml").read_text()) if file else {}
        for version in KUBERNETES:
            report = helm_python.chart.lint(CHART, values, strict=True, kube_version=f"v{version}.0")
            found += report["errors"]
        objects, plain = render(chart, values)
        count += len(objects)
        found += invalid(item for item in objects if item["kind"] not in FOREIGN)
        tests = [item for item in plain if "test-" in item["metadata"]["name"]]
        servers = [item for item in plain if item not in tests]
        found += environment_faults(servers, readme)
        found += privilege_faults(servers)
        found += network_faults(servers)
        found += hook_faults(plain)
        found += agreement_faults(plain, overlay) if overlay else []
    print("\n".join(dict.fromkeys(found)) or f"{count} objects of the chart: no fault")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
