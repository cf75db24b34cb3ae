"""Checks of infra/compose.yaml that Docker Compose does not make. Prints each fault; exits with 1 if there is one."""

import pathlib
import re
import sys

import yaml

INFRA = pathlib.Path(__file__).resolve().parents[2] / "infra"


def proxied_services(caddyfile):
    """The services that Caddy forwards to."""
    lines = re.findall(r"^\s*reverse_proxy\s+(.*?)\s*\{?$", caddyfile, re.MULTILINE)
    return {upstream.split(":")[0] for line in lines for upstream in line.split()}


def faults(services, proxied):
    """Every fault, as a sentence."""
    builders = {}
    for name, service in services.items():
        builders.setdefault(service["image"], []).append((name, "build" in service))
    for image, users in builders.items():
        building = [name for name, builds in users if builds]
        if len(building) > 1:
            yield f"{image} is built by {', '.join(building)} side by side: let one build it"
    if not proxied:
        yield "no service was found behind Caddy: has the format of the Caddyfile changed?"
    for name in sorted(proxied):
        environment = services[name].get("environment", {})
        if str(environment.get("TRUSTED_PROXY_HOPS")) != "1":
            yield f"{name} is behind Caddy without TRUSTED_PROXY_HOPS=1: all clients would share one address"
        if "nofile" not in services[name].get("ulimits", {}):
            yield f"{name} holds clients' connections without a limit of open files (ulimits.nofile)"


def main():
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    proxied = proxied_services((INFRA / "docker/Caddyfile").read_text())
    found = list(faults(services, proxied))
    print("\n".join(found) or f"{len(services)} services, {len(proxied)} behind Caddy: no fault")
    sys.exit(bool(found))


main()
