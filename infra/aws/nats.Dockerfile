# The NATS servers of infra/aws/nats.yaml: the official image with our configuration.
#     docker buildx build --platform linux/arm64 -f infra/aws/nats.Dockerfile -t NatsImageUri .
FROM nats:2.14.5-alpine
COPY infra/nats/nats.conf /etc/nats/nats.conf
USER 10002:10002
# Lame duck mode: the server asks its clients to move to the other servers, then exits.
STOPSIGNAL SIGUSR2
