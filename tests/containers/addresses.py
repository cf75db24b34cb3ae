"""Gives every container fixed addresses and a hosts file with the services that it shares a network with.

Reads the output of `docker compose config --format json` and prints another compose file in addition. With podman's own
addresses (netavark and aardvark-dns 1.4, Debian 12), services cannot reach each other for up to a minute now and then:

- Its DNS server stops to answer for a network when several containers start at once.
- A restarted container that gets its old IP address has a new MAC address, and does not announce it. Docker derives MAC
  addresses from IP addresses, as is done here.
"""

import json
import sys


def main():
    config = json.load(sys.stdin)
    networks = {name: f"10.99.{number}" for number, name in enumerate(sorted(config["networks"]), 1)}
    services = {name: sorted(service.get("networks") or []) for name, service in sorted(config["services"].items())}
    hosts = {name: number for number, name in enumerate(services, 10)}

    def address(service, network):
        return f"{networks[network]}.{hosts[service]}"

    def fixed(address):
        numbers = "".join(f":{int(number):02x}" for number in address.split("."))
        return {"ipv4_address": address, "mac_address": f"02:42{numbers}"}

    def known(service):
        for other in services:
            shared = [network for network in services[service] if network in services[other]]
            if shared:
                yield f"{other}={address(other, shared[0])}"

    json.dump({
        "networks": {name: {"ipam": {"config": [{"subnet": f"{net}.0/24"}]}} for name, net in networks.items()},
        "services": {
            name: {
                "networks": {network: fixed(address(name, network)) for network in joined},
                "extra_hosts": list(known(name)),
            }
            for name, joined in services.items() if joined
        },
    }, sys.stdout)


main()
