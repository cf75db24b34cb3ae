#!/usr/bin/env bash
# Deploys a release to Kubernetes: first everything except the servers, with the Job `provision`, which changes schema
# and streams; when it is complete, one kind of server after the other.
#
#   infra/k8s/release.sh infra/k8s/production      (or your own overlay)
set -euo pipefail

[ $# = 1 ] || {
    echo "usage: infra/k8s/release.sh OVERLAY" >&2
    exit 2
}
readonly namespace=chat
manifests=$(mktemp)
readonly manifests
trap 'rm -f "$manifests"' EXIT
kubectl kustomize "$1" >"$manifests"

# A Job cannot be changed, so the last release's one is deleted.
kubectl --namespace "$namespace" delete job provision --ignore-not-found
kubectl apply --filename "$manifests" \
    --selector 'app.kubernetes.io/component notin (functions, archive, gateway)'
if ! kubectl --namespace "$namespace" wait --for=condition=Complete --timeout=30m job/provision; then
    kubectl --namespace "$namespace" logs job/provision --tail 50 >&2 || true
    echo "release: provision did not complete; the servers were not changed" >&2
    exit 1
fi

for server in functions archive gateway; do
    kubectl apply --filename "$manifests" --selector "app.kubernetes.io/component=$server"
    kubectl --namespace "$namespace" rollout status "deployment/$server" --timeout=30m
done
