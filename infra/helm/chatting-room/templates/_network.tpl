{{- /* An egress rule for the cluster's DNS. */ -}}
{{- define "chat.network.dns" -}}
- to:
    - namespaceSelector:
        matchLabels: { kubernetes.io/metadata.name: kube-system }
      podSelector:
        matchLabels: { k8s-app: kube-dns }
  ports:
    - { protocol: UDP, port: 53 }
    - { protocol: TCP, port: 53 }
{{- end }}

{{- /* The pods of `helm test`, as a peer. */ -}}
{{- define "chat.network.test" -}}
{{- if .Values.tests -}}
- podSelector:
    matchLabels: {{- include "chat.selector" . | nindent 6 }}
      app.kubernetes.io/component: test
{{- end }}
{{- end }}
