"""Checks infra/aws: translates the templates as CloudFormation does, then runs cfn-lint on the templates and on the
translations, and checkov on the translations; and runs provision.sh with a stand-in for the AWS CLI. Works offline.
Exits with 1 if there is a fault.

    PYTHONPATH=.tools/aws python3 tests/python/aws.py

`sam validate --lint` is the same translation and cfn-lint, in the versions that the SAM CLI has.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import boto3
import samtranslator
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

AWS = pathlib.Path(__file__).resolve().parents[2] / "infra/aws"
PACKAGES = pathlib.Path(samtranslator.__file__).resolve().parents[1]
# In place of local files, which `sam deploy` uploads before the translation.
UPLOADED = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::Application": "Location"}


def translated(template):
    if "Transform" not in template:
        return template
    for resource in template["Resources"].values():
        if resource["Type"] in UPLOADED:
            resource["Properties"][UPLOADED[resource["Type"]]] = "s3://bucket/key"
    session = boto3.Session(region_name="eu-central-1")
    translator = Translator({}, Parser(), boto_session=session)
    try:
        return translator.translate(template, {})
    finally:
        # It warns on exit about metrics that were not published. They go nowhere.
        translator.metrics.publish()


def run(program, folder, *arguments):
    # The interpreter that runs this script, because the programs' first lines may name another one.
    command = [sys.executable, PACKAGES / "bin" / program, *arguments]
    return subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": PACKAGES}).returncode


# A stand-in for the AWS CLI. It notes each call, and ends the task with the exit code in $CODE.
CLI = r"""#!/bin/sh
echo "$*" >>"$LOG"
case "$1 $2" in
'cloudformation describe-stacks') echo "$*" | sed "s/.*OutputKey=='\([A-Za-z]*\)'.*/the-\1/" ;;
'ecs describe-task-definition')
    echo '{"family": "f", "revision": 7, "containerDefinitions": [{"name": "provision", "image": "old"}]}' ;;
'ecs register-task-definition') echo the-new-definition ;;
'ecs run-task') echo arn:task/cluster/id ;;
'ecs describe-tasks') printf '%s\tEssential container in task exited\n' "$CODE" ;;
esac
"""


def script_faults():
    """Calls of the AWS CLI that provision.sh should make and does not, or the wrong exit code."""
    run_task = "run-task --cluster the-ClusterName --task-definition {} --launch-type FARGATE"
    network = "subnets=[the-ProvisionSubnets],securityGroups=[the-ProvisionSecurityGroup]"
    log = "get-log-events --log-group-name the-ProvisionLog --log-stream-name provision/provision/id"
    for code, options, expected in [
        ("0", ["--advance"], [run_task.format("the-ProvisionTask"), '"--only", "database,nats", "--advance"]']),
        ("0", ["--image", "new"], ['"image": "new"', run_task.format("the-new-definition"), network, log]),
        ("1", [], [run_task.format("the-ProvisionTask"), "wait tasks-stopped", log]),
        ("None", [], [run_task.format("the-ProvisionTask")]),
    ]:
        with tempfile.TemporaryDirectory() as folder:
            cli, calls = pathlib.Path(folder, "aws"), pathlib.Path(folder, "calls")
            cli.write_text(CLI)
            cli.chmod(0o755)
            path = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "LOG": calls, "CODE": code}
            ended = subprocess.run([AWS / "provision.sh", "chat", *options], env=path, capture_output=True, text=True)
            made = calls.read_text()
        yield from (f"provision.sh {options} does not call {call}:\n{made}" for call in expected if call not in made)
        if (ended.returncode == 0) != (code == "0") or "revision" in made:
            yield f"provision.sh {options} ended with {ended.returncode} after {code}: {ended.stdout}{ended.stderr}"


def main():
    found = list(script_faults())
    print("\n".join(found), end="")
    failed = bool(found)
    templates = sorted(path for path in AWS.glob("*.yaml") if not path.name.startswith("."))
    with tempfile.TemporaryDirectory() as folder:
        for path in templates:
            try:
                translation = translated(yaml_parse(path.read_text()))
            except InvalidDocumentException as error:
                failed = True
                print(f"{path.name}: {'; '.join(cause.message for cause in error.causes)}")
                continue
            pathlib.Path(folder, f"{path.stem}.json").write_text(json.dumps(translation, indent=1))
        translations = sorted(pathlib.Path(folder).iterdir())
        failed |= run("cfn-lint", folder, *templates, *translations) != 0
        failed |= run("checkov", folder, "--config-file", AWS / ".checkov.yaml", "--directory", ".") != 0
    print(f"{len(templates)} templates: " + ("faults" if failed else "no fault"))
    sys.exit(failed)


main()
