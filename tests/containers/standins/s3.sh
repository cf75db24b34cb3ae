#!/bin/sh
# SeaweedFS in place of MinIO: takes MinIO's command (`server /data`) and variables.
set -eu
data=$2
cat >/tmp/s3.json <<CONFIG
{ "identities": [ {
    "name": "root",
    "credentials": [ { "accessKey": "$MINIO_ROOT_USER", "secretKey": "$MINIO_ROOT_PASSWORD" } ],
    "actions": [ "Admin", "Read", "List", "Tagging", "Write" ]
} ] }
CONFIG
exec weed -logtostderr=true server -dir="$data" -ip=127.0.0.1 -ip.bind=0.0.0.0 -master.volumeSizeLimitMB=64 \
    -volume.max=100 -s3 -s3.port=9000 -s3.config=/tmp/s3.json \
    -s3.allowedOrigins="${MINIO_API_CORS_ALLOW_ORIGIN:-*}"
