"""Installs, upgrades, tests and uninstalls the Helm chart by Helm's own library on a stand-in for Kubernetes' API.

    PYTHONPATH=.tools/lint python3 tests/python/chart_release.py
"""

import unittest

import helm_python

import kubernetes_api
from manifests import INFRA

CHART = INFRA / "helm/chatting-room"
SECONDS = 30
PROVISION = ["serviceaccounts chat-provision", "jobs chat-provision"]


def named(requests, verb):
    return [request.removeprefix(f"{verb} ") for request in requests if request.startswith(f"{verb} ")]


class ChartRelease(unittest.TestCase):
    """One release from installation to removal. The steps share it, because each takes Helm some seconds."""

    def upgrade(self, seconds):
        self.cluster.requests.clear()
        self.helm.upgrade(CHART, "chat", {"gateway": {"drainSeconds": seconds}}, timeout=SECONDS)

    def drain_seconds(self):
        pod = self.cluster.objects["deployments", "chat-gateway"]["spec"]["template"]["spec"]
        return {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}["DRAIN_SECONDS"]

    def test_a_release(self):
        with kubernetes_api.running() as (self.cluster, config):
            with helm_python.Config(kubeconfig_content=config, namespace="chat", storage_driver="memory") as self.helm:
                self.install_provisions_first()
                self.upgrade_provisions_first()
                self.a_failed_provision_changes_no_server()
                self.helm_test_asks_both_servers()
                self.uninstalling_leaves_the_last_job()

    def install_provisions_first(self):
        self.helm.install(CHART, "chat", timeout=SECONDS)
        created = named(self.cluster.requests, "create")
        self.assertEqual(created[:2], PROVISION)
        servers = {f"deployments chat-{name}" for name in ("functions", "gateway", "archive")}
        self.assertLess(servers, set(created[2:]))

    def upgrade_provisions_first(self):
        self.upgrade(31)
        self.assertEqual(named(self.cluster.requests, "delete"), PROVISION)
        self.assertEqual(named(self.cluster.requests, "create"), PROVISION)
        first = self.cluster.requests.index
        self.assertLess(first("create jobs chat-provision"), first("apply deployments chat-gateway"))
        self.assertEqual(self.drain_seconds(), "31")

    def a_failed_provision_changes_no_server(self):
        self.cluster.jobs_fail = True
        with self.assertRaisesRegex(helm_python.HelmError, "chat-provision"):
            self.upgrade(32)
        self.assertEqual(named(self.cluster.requests, "apply"), [])
        self.assertEqual(self.drain_seconds(), "31")
        self.cluster.jobs_fail = False
        self.upgrade(33)
        self.assertEqual(self.drain_seconds(), "33")

    def helm_test_asks_both_servers(self):
        self.cluster.requests.clear()
        self.helm.test("chat", timeout=SECONDS)
        jobs = {"jobs chat-test-functions", "jobs chat-test-gateway"}
        self.assertEqual(set(named(self.cluster.requests, "create")), jobs)

    def uninstalling_leaves_the_last_job(self):
        self.helm.uninstall("chat", timeout=SECONDS)
        left = sorted(f"{resource} {name}" for resource, name in self.cluster.objects)
        self.assertEqual(left, sorted(PROVISION))


if __name__ == "__main__":
    unittest.main()
