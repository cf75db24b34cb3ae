#!/usr/bin/env bash
# Runs the release step `provision` of a stack as an ECS task, prints its log and returns its exit code:
#     infra/aws/provision.sh STACK [--image URI] [--advance] [--replay]
# With --image, the task runs that image instead of the stack's: a release provisions first and then updates the stack.
# The other options are those of `provision`.
set -euo pipefail

if [ $# = 0 ]; then
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
stack=$1 image='' arguments=(provision --only 'database,nats')
shift
while [ $# != 0 ]; do
    case $1 in
    --image)
        image=$2
        shift
        ;;
    *) arguments+=("$1") ;;
    esac
    shift
done

output() {
    aws cloudformation describe-stacks --stack-name "$stack" --output text \
        --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue"
}
cluster=$(output ClusterName)
definition=$(output ProvisionTask)
log=$(output ProvisionLog)
network="awsvpcConfiguration={subnets=[$(output ProvisionSubnets)],securityGroups=[$(output ProvisionSecurityGroup)]}"

if [ -n "$image" ]; then
    # A revision like the stack's, with another image. Only members that `register-task-definition` accepts.
    registered=$(aws ecs describe-task-definition --task-definition "$definition" --query taskDefinition --output json |
        python3 -c '
import json, sys
old = json.load(sys.stdin)
names = ["family", "executionRoleArn", "taskRoleArn", "networkMode", "containerDefinitions", "volumes",
         "requiresCompatibilities", "cpu", "memory", "runtimePlatform"]
new = {name: old[name] for name in names if old.get(name)}
new["containerDefinitions"][0]["image"] = sys.argv[1]
print(json.dumps(new))' "$image")
    definition=$(aws ecs register-task-definition --cli-input-json "$registered" --output text \
        --query taskDefinition.taskDefinitionArn)
fi

overrides=$(python3 -c '
import json, sys
print(json.dumps({"containerOverrides": [{"name": "provision", "command": sys.argv[1:]}]}))' "${arguments[@]}")
task=$(aws ecs run-task --cluster "$cluster" --task-definition "$definition" --launch-type FARGATE \
    --network-configuration "$network" --overrides "$overrides" --output text --query 'tasks[0].taskArn')
[ "$task" != None ] || { echo 'ECS could not start the task' >&2; exit 1; }
echo "provision runs as $task"
aws ecs wait tasks-stopped --cluster "$cluster" --tasks "$task"
# There is no log if the container did not start.
aws logs get-log-events --log-group-name "$log" --log-stream-name "provision/provision/${task##*/}" --start-from-head \
    --query 'events[].[message]' --output text || true
result=$(aws ecs describe-tasks --cluster "$cluster" --tasks "$task" --output text \
    --query 'tasks[0].[containers[0].exitCode, stoppedReason]')
case $result in
0[[:space:]]*) echo 'provision is complete' ;;
*)
    echo "provision failed (exit code and reason: $result)" >&2
    exit 1
    ;;
esac
