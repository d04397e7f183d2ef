{{/* The name of the objects: printer-relay-operator where the release is called printer-relay. */}}
{{- define "printer-relay.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- printf "%s-operator" (.Release.Name | trunc 40 | trimSuffix "-") -}}
{{- else -}}
{{- printf "%s-printer-relay-operator" (.Release.Name | trunc 26 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* The name is not that of the relays' Pods, so that no Service of a PrinterRelay finds the operator. */}}
{{- define "printer-relay.selectorLabels" -}}
app.kubernetes.io/name: printer-relay-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels of Pods: nothing that another version of the chart changes, which would roll them. */}}
{{- define "printer-relay.podLabels" -}}
{{ include "printer-relay.selectorLabels" . }}
app.kubernetes.io/part-of: printer-relay
{{- end -}}

{{- define "printer-relay.labels" -}}
{{ include "printer-relay.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "printer-relay.serviceAccountName" -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create: false needs serviceAccount.name, the account that is there already" -}}
{{- end -}}
{{- .Values.serviceAccount.name | default (include "printer-relay.fullname" .) -}}
{{- end -}}

{{- define "printer-relay.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The rules of files/rbac/role.yaml, of the document whose kind is given: dict "root" $ "kind" "Role". */}}
{{- define "printer-relay.rules" -}}
{{- $rules := list -}}
{{- range splitList "\n---\n" (.root.Files.Get "files/rbac/role.yaml") -}}
{{- $document := fromYaml . -}}
{{- if eq $document.kind $.kind -}}
{{- $rules = $document.rules -}}
{{- end -}}
{{- end -}}
{{- /* Tokens are of the operator's own ServiceAccount only. */ -}}
{{- $own := include "printer-relay.serviceAccountName" .root -}}
{{- range $rules -}}
{{- if has "serviceaccounts/token" .resources -}}
{{- $_ := set . "resourceNames" (list $own) -}}
{{- end -}}
{{- end -}}
{{- toYaml (required (printf "files/rbac/role.yaml holds no %s: run make generate" .kind) $rules) -}}
{{- end -}}

{{- define "printer-relay.subjects" -}}
- kind: ServiceAccount
  name: {{ include "printer-relay.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* The user's labels or annotations and ours, which win: dict "theirs" MAP "ours" TEXT. */}}
{{- define "printer-relay.merge" -}}
{{- toYaml (merge (fromYaml .ours) .theirs) -}}
{{- end -}}

{{- /* Secrets of the console, which only TokenReview has. */ -}}
{{- define "printer-relay.consoleMounts" -}}
{{- $c := .Values.console -}}
{{- if and $c.enabled (eq $c.authentication "TokenReview") (or $c.certificateSecret $c.proxyCASecret) -}}
volumeMounts:
{{- if $c.certificateSecret }}
- name: console
  mountPath: /etc/printer-relay/console
  readOnly: true
{{- end }}
{{- if $c.proxyCASecret }}
- name: console-proxy
  mountPath: /etc/printer-relay/console-proxy
  readOnly: true
{{- end }}
{{- end -}}
{{- end -}}

{{- define "printer-relay.consoleVolumes" -}}
{{- $c := .Values.console -}}
{{- if and $c.enabled (eq $c.authentication "TokenReview") (or $c.certificateSecret $c.proxyCASecret) -}}
volumes:
{{- with $c.certificateSecret }}
- name: console
  secret:
    secretName: {{ . }}
{{- end }}
{{- with $c.proxyCASecret }}
- name: console-proxy
  secret:
    secretName: {{ . }}
{{- end }}
{{- end -}}
{{- end -}}
