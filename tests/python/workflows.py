"""Checks of .github that actionlint and zizmor do not make: shellcheck on each step's script, versions beside the
hashes of actions, time limits, and that the targets and scripts that a step runs exist. Prints each fault; exits with 1
if there is one.

    PYTHONPATH=.tools/lint python3 tests/python/workflows.py
"""

import pathlib
import re
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
OWN = "uses: ./.github/actions/"


def steps(file):
    """All steps of a workflow or an action, each with a name for messages."""
    content = yaml.safe_load(file.read_text())
    jobs = content.get("jobs") or {"action": content["runs"]}
    for job, fields in jobs.items():
        for at, step in enumerate(fields["steps"], 1):
            yield f"{file.relative_to(ROOT)}: {job}, step {at}", step


def script_faults(name, script):
    # GitHub starts bash with these options. Expressions are replaced before the script runs.
    text = "#!/bin/bash\nset -eo pipefail\n" + re.sub(r"\$\{\{.*?\}\}", "expression", script)
    ended = subprocess.run(["shellcheck", "-"], input=text, capture_output=True, text=True)
    if ended.returncode:
        yield f"{name}: {ended.stdout.strip() or ended.stderr.strip()}"


def reference_faults(name, script, targets):
    for target in re.findall(r"\bmake ([a-z-]+)", script):
        if target not in targets:
            yield f"{name}: the Makefile has no target {target}"
    for path in re.findall(r"(?:^|\s)((?:\.ci|infra|tests)/[\w./-]+)", script):
        if not (ROOT / path).exists():
            yield f"{name}: {path} does not exist"


def file_faults(file):
    name = file.relative_to(ROOT)
    for line in file.read_text().splitlines():
        if "uses: " in line and OWN not in line and not PINNED.search(line):
            yield f"{name}: needs a hash and its version, such as `@… # v1.2.3`: {line.strip()}"
    for job, fields in (yaml.safe_load(file.read_text()).get("jobs") or {}).items():
        if not {"timeout-minutes", "permissions"} <= fields.keys():
            yield f"{name}: {job} needs timeout-minutes and permissions"


def cache_faults(file):
    """A release that could contain what another run left in a cache."""
    for name, step in steps(file):
        if step.get("uses", "").endswith("/actions/setup") and step.get("with", {}).get("cache") != "false":
            yield f'{name}: a release needs `cache: "false"`'
        if "cache-from" in step.get("with", {}):
            yield f"{name}: a release must not read a cache"


def pin_faults(files):
    """One action in two versions."""
    found = {}
    for file in files:
        for action, pin in re.findall(r"uses: ([\w./-]+)@(.*)", file.read_text()):
            found.setdefault(action, set()).add(pin)
    yield from (f"{action} has several pins: {sorted(pins)}" for action, pins in found.items() if len(pins) > 1)


def main():
    files = sorted([*GITHUB.glob("workflows/*.yml"), *GITHUB.glob("actions/*/action.yml")])
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    found = [*pin_faults(files), *cache_faults(GITHUB / "workflows/release.yml")]
    scripts = 0
    for file in files:
        found += file_faults(file)
        for name, step in steps(file):
            if "run" in step:
                scripts += 1
                found += script_faults(name, step["run"])
                found += reference_faults(name, step["run"], targets)
    print("\n".join(found) or f"{len(files)} workflows and actions, {scripts} scripts: no fault")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
