#!/bin/sh
# `mc ready local`: exit code 0 if the S3 server answers.
exec busybox wget -q -O /dev/null http://127.0.0.1:9000/healthz
