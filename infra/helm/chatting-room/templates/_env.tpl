{{- /* A variable from a Secret: dict "name", "secret" and optionally "key". */ -}}
{{- define "chat.env.secret" -}}
- name: {{ .name }}
  valueFrom: { secretKeyRef: { name: {{ .secret }}, key: {{ default .name .key }} } }
{{- end }}

{{- /* NATS in the role of the process: dict "root" and "role". */ -}}
{{- define "chat.env.nats" -}}
- { name: NATS_URL, value: {{ .root.Values.nats.url | quote }} }
- { name: NATS_USER, value: {{ .role }} }
{{ include "chat.env.secret" (dict "name" "NATS_PASSWORD" "secret" .root.Values.nats.existingSecret
    "key" (printf "NATS_%s_PASSWORD" (upper .role))) }}
{{- end }}

{{- /* The database by the URL in a Secret, whose name is the argument. */ -}}
{{- define "chat.env.database" -}}
{{ include "chat.env.secret" (dict "name" "DATABASE_URL" "secret" .) }}
{{- end }}

{{- define "chat.env.signingKey" -}}
{{ include "chat.env.secret" (dict "name" "SIGNING_KEY" "secret" .Values.signingKey.existingSecret) }}
# Public keys of the previous and the next signing key, while it is replaced.
- name: VERIFICATION_KEYS
  valueFrom: { secretKeyRef: { name: {{ .Values.signingKey.existingSecret }}, key: VERIFICATION_KEYS, optional: true } }
{{- end }}

{{- /* The S3 storage: dict "root" and "secret", the name of the Secret with the keys, or empty. */ -}}
{{- define "chat.env.storage" -}}
{{- with .root.Values.storage -}}
- { name: S3_ENDPOINT, value: {{ .endpoint | quote }} }
- { name: S3_PUBLIC_ENDPOINT, value: {{ default .endpoint .publicEndpoint | quote }} }
- { name: S3_BUCKET, value: {{ .bucket | quote }} }
- { name: AWS_REGION, value: {{ .region | quote }} }
{{- end }}
{{- with .secret }}
{{ include "chat.env.secret" (dict "name" "AWS_ACCESS_KEY_ID" "secret" .) }}
{{ include "chat.env.secret" (dict "name" "AWS_SECRET_ACCESS_KEY" "secret" .) }}
{{- end }}
{{- end }}

{{- define "chat.env.public" -}}
{{- $url := include "chat.publicUrl" . -}}
- { name: PUBLIC_URL, value: {{ $url | quote }} }
- { name: GATEWAY_URL, value: {{ default $url .Values.public.gatewayUrl | quote }} }
- { name: ALLOWED_ORIGINS, value: {{ default (list $url) .Values.public.allowedOrigins | join "," | quote }} }
{{- end }}

{{- define "chat.env.proxies" -}}
# The ingress controller, and load balancers in front of it.
- { name: TRUSTED_PROXY_HOPS, value: {{ .Values.public.trustedProxyHops | quote }} }
{{- end }}

{{- define "chat.env.metrics" -}}
- { name: METRICS_LISTEN, value: "0.0.0.0:9090" }
{{- end }}

{{- /* For sslrootcert=/etc/chat/database-ca/ca.crt in DATABASE_URL. */ -}}
{{- define "chat.databaseCa.volume" -}}
- name: database-ca
  secret:
    secretName: {{ .Values.database.caExistingSecret }}
    optional: true
    items: [{ key: ca.crt, path: ca.crt }]
{{- end }}

{{- define "chat.databaseCa.mount" -}}
- { name: database-ca, mountPath: /etc/chat/database-ca, readOnly: true }
{{- end }}
