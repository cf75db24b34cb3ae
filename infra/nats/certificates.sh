#!/bin/sh
# Creates the certificates with which NATS servers of a cluster authenticate each other (infra/nats/cluster.conf):
#     certificates.sh FOLDER HOST…
# FOLDER/ca.pem, server.pem and server.key. All servers use the same certificate. The CA signs only this one: its key
# is deleted. Files that are valid for three more months are kept; new ones are read by the servers when they restart,
# all together, because old and new certificates do not trust each other.
set -eu

folder=$1
shift
cd "$folder"
if [ -s server.key ] && openssl x509 -checkend 7776000 -noout -in server.pem >/dev/null 2>&1; then
    exit
fi

names=
for host in "$@"; do names="${names:+$names,}DNS:$host"; done
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=chat NATS cluster CA' \
    -keyout ca.key -out ca.pem -addext 'keyUsage=critical,keyCertSign' 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=chat NATS cluster' \
    -keyout server.key.new -out server.csr 2>/dev/null
printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" >extensions
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile extensions \
    -out server.pem 2>/dev/null
# The key last: the check above looks for it.
mv server.key.new server.key
rm -f ca.key ca.srl server.csr extensions
