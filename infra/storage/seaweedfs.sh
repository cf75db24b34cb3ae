#!/bin/sh
# Starts SeaweedFS with an S3 server on port 9000, for infra/compose.seaweedfs.yaml. The S3 users are those of
# infra/storage/minio-users.sh, without root. A right is `ACTION:BUCKET` or a pattern of `ACTION:BUCKET/KEY`:
#
#   provision     the first pattern matches the bucket and, because the name has the same length, none of its objects
#   app           may not write to the bucket itself, for instance its CORS rules
set -eu

cat >/tmp/s3.json <<CONFIG
{ "identities": [
    { "name": "provision",
      "credentials": [ { "accessKey": "$S3_PROVISION_KEY_ID", "secretKey": "$S3_PROVISION_SECRET" } ],
      "actions": [ "Admin:${S3_BUCKET%?}?" ] },
    { "name": "app",
      "credentials": [ { "accessKey": "$S3_APP_KEY_ID", "secretKey": "$S3_APP_SECRET" } ],
      "actions": [ "Read:$S3_BUCKET", "List:$S3_BUCKET", "Write:$S3_BUCKET/*" ] }
] }
CONFIG

# The master, volume and filer servers need no password, so they listen on loopback only. A volume file has at most
# 1 GB: small ones are cheaper to compact.
exec weed -logtostderr=true server -dir=/data -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -master.volumeSizeLimitMB=1024 -volume.max=0 -volume.index=leveldb \
    -s3 -s3.ip.bind=0.0.0.0 -s3.port=9000 -s3.config=/tmp/s3.json -s3.allowedOrigins="$S3_ALLOWED_ORIGIN" \
    -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0 -s3.autoCreateBucket=false
