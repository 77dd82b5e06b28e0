{{- define "reloadlet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 35 | trimSuffix "-" }}
{{- end }}

{{/*
So short that Kubernetes cuts no pod's name that it makes of it: of its own pod's the controller takes its Deployment's.
*/}}
{{- define "reloadlet.fullname" -}}
{{- $name := include "reloadlet.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 35 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 35 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 35 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "reloadlet.account" -}}
{{- default (include "reloadlet.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "reloadlet.controller.fullname" -}}
{{- include "reloadlet.fullname" . }}-controller
{{- end }}

{{- define "reloadlet.controller.account" -}}
{{- default (include "reloadlet.controller.fullname" .) .Values.controller.serviceAccount.name }}
{{- end }}

{{/* By which the agents' pods are selected. It can never be changed. */}}
{{- define "reloadlet.selector" -}}
app.kubernetes.io/name: {{ include "reloadlet.name" . | quote }}
{{- end }}

{{/* Not the agents' own, by which their DaemonSet selects. */}}
{{- define "reloadlet.controller.selector" -}}
app.kubernetes.io/name: {{ printf "%s-controller" (include "reloadlet.name" .) | quote }}
{{- end }}

{{/* Which pods have metrics: the agents' and, where it is, the controller's. */}}
{{- define "reloadlet.selectBoth" -}}
matchExpressions:
  - key: app.kubernetes.io/name
    operator: In
    values:
      - {{ include "reloadlet.name" . | quote }}
      - {{ printf "%s-controller" (include "reloadlet.name" .) | quote }}
{{- end }}

{{/*
The metadata of an object. In: root; name; cluster, where it is in no namespace; namespace, where that isn't the release's;
labels and annotations of its own.
*/}}
{{- define "reloadlet.metadata" -}}
{{- $root := .root }}
{{- $labels := dict
      "app.kubernetes.io/name" (include "reloadlet.name" $root)
      "app.kubernetes.io/instance" $root.Release.Name
      "app.kubernetes.io/part-of" "reloadlet"
      "app.kubernetes.io/managed-by" $root.Release.Service
      "app.kubernetes.io/version" $root.Chart.AppVersion
      "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
name: {{ .name | quote }}
{{- if not .cluster }}
namespace: {{ default $root.Release.Namespace .namespace | quote }}
{{- end }}
labels:
  {{- merge $labels (default dict .labels) $root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge dict (default dict .annotations) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "reloadlet.image" -}}
{{- $image := .Values.image }}
{{- if not (and $image.registry $image.repository) }}
{{- fail "Set image.registry and image.repository to where your image of reloadlet is: there is no published one (README, Install)." }}
{{- end }}
{{- $name := printf "%s/%s" $image.registry $image.repository }}
{{- if $image.tag }}
{{- $name = printf "%s:%s" $name $image.tag }}
{{- else if not $image.digest }}
{{- $name = printf "%s:%s" $name .Chart.AppVersion }}
{{- end }}
{{- if $image.digest }}
{{- $name = printf "%s@%s" $name $image.digest }}
{{- end }}
{{- $name }}
{{- end }}

{{/* What logs are asked for, the same for agents and controller. */}}
{{- define "reloadlet.logArgs" -}}
- --log-format={{ .Values.log.format }}
{{- if ne .Values.log.level "info" }}
- --log-level={{ .Values.log.level }}
{{- end }}
{{- end }}

{{/* The annotations of pods. In: root; own, those of the chart; more, those of the values. */}}
{{- define "reloadlet.podAnnotations" -}}
{{- $scrape := dict }}
{{- if and .root.Values.scrapeAnnotations (not .root.Values.podMonitor.enabled) }}
{{- $scrape = dict "prometheus.io/scrape" "true" "prometheus.io/port" "9847" "prometheus.io/path" "/metrics" }}
{{- end }}
{{- with merge dict .own .more $scrape -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* An affinity of the values, with what the chart asks of nodes added to each of its terms. In: affinity; expressions. */}}
{{- define "reloadlet.affinity" -}}
{{- $affinity := deepCopy .affinity }}
{{- $node := default dict $affinity.nodeAffinity }}
{{- $required := default dict $node.requiredDuringSchedulingIgnoredDuringExecution }}
{{- $terms := list }}
{{- range default (list dict) $required.nodeSelectorTerms }}
{{- $terms = append $terms (merge (dict "matchExpressions" (concat $.expressions (default list .matchExpressions))) .) }}
{{- end }}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) }}
{{- toYaml (set $affinity "nodeAffinity" $node) }}
{{- end }}

{{/*
Admission policies and their bindings, of a file that is deploy/components' own. What names an object or the account in it is
the only text that is changed. In: root; file; prefix, with which the file's names begin; name, which takes its place; account.
*/}}
{{- define "reloadlet.fence" -}}
{{- $in := . }}
{{- range splitList "\n---\n" (.root.Files.Get .file) }}
{{- $object := fromYaml . }}
{{- $name := printf "%s%s" $in.name (trimPrefix $in.prefix $object.metadata.name) }}
---
apiVersion: {{ $object.apiVersion }}
kind: {{ $object.kind }}
metadata:
  {{- include "reloadlet.metadata" (dict "root" $in.root "name" $name "cluster" true) | nindent 2 }}
spec:
  {{- if eq $object.kind "ValidatingAdmissionPolicyBinding" }}
  {{- $_ := set $object.spec "policyName" (printf "%s%s" $in.name (trimPrefix $in.prefix $object.spec.policyName)) }}
  {{- $_ := set $object.spec.paramRef "name" $in.account }}
  {{- $_ := set $object.spec.paramRef "namespace" $in.root.Release.Namespace }}
  {{- end }}
  {{- toYaml $object.spec | nindent 2 }}
{{- end }}
{{- end }}
