#!/bin/sh
# Creates the S3 users of infra/compose.yaml in MinIO. The service `storage-users` runs this at every start; it is
# idempotent, and a changed secret in infra/.env takes effect.
#
#   root          all rights; only this script uses it
#   provision     creates and configures the bucket, and cannot read or write its objects
#   app           reads, writes, lists and deletes the objects; `functions` and `archive` use it
set -eu

# mc reads the alias `chat` from this variable, so that no secret is in a process list or in a file.
export MC_HOST_chat="http://$MINIO_ROOT_USER:$MINIO_ROOT_PASSWORD@storage:9000"

# policy NAME STATEMENT…: creates or replaces a policy.
policy() {
    name=$1
    shift
    printf '{"Version":"2012-10-17","Statement":[%s]}' "$*" >"/tmp/$name.json"
    mc admin policy create chat "$name" "/tmp/$name.json"
}

# user KEY SECRET POLICY: creates the user or changes its secret. Attaching a policy again would be an error. The image
# has no grep.
user() {
    printf '%s\n%s\n' "$1" "$2" | mc admin user add chat
    case $(mc admin user info --json chat "$1") in
    *'"policyName"'*"$3"*) ;;
    *) mc admin policy attach chat "$3" --user "$1" ;;
    esac
}

bucket=arn:aws:s3:::$S3_BUCKET
policy chat-provision "{\"Effect\":\"Allow\",\"Action\":[\"s3:*\"],\"Resource\":[\"$bucket\"]}"
policy chat-app \
    "{\"Effect\":\"Allow\",\"Action\":[\"s3:ListBucket\",\"s3:GetBucketLocation\"],\"Resource\":[\"$bucket\"]}," \
    "{\"Effect\":\"Allow\",\"Action\":[\"s3:GetObject\",\"s3:PutObject\",\"s3:DeleteObject\"]," \
    "\"Resource\":[\"$bucket/*\"]}"
user "$S3_PROVISION_KEY_ID" "$S3_PROVISION_SECRET" chat-provision
user "$S3_APP_KEY_ID" "$S3_APP_SECRET" chat-app
