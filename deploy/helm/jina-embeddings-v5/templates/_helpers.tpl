{{- define "jina.facts" -}}
{{- index (.Files.Get "files/models.yaml" | fromYaml).models .Values.model | toYaml }}
{{- end }}

{{- define "jina.file" -}}
{{- $files := (include "jina.facts" . | fromYaml).files }}
{{- if not (hasKey $files .Values.quantisation) }}
{{- fail (printf "quantisation: %s has no %s, only %s" .Values.model .Values.quantisation (keys $files | sortAlpha | join ", ")) }}
{{- end }}
{{- index $files .Values.quantisation | toYaml }}
{{- end }}

{{- define "jina.fileName" -}}
{{- .Values.weights.file | default (include "jina.file" . | fromYaml).name }}
{{- end }}

{{/*
What the vectors depend on, as a label. It is part of the Service's selector and of the Deployment's
name: pods with other vectors are another Deployment's, and never behind the same Service.
*/}}
{{- define "jina.vectors" -}}
{{- $file := include "jina.file" . | fromYaml }}
{{- $revision := (include "jina.facts" . | fromYaml).revision }}
{{- $is := .Values.weights.file | default ($file.sha256 | default $revision) }}
{{- if eq .Values.weights.source "image" }}
{{- $is = printf "%s %s" $is .Values.weights.image.reference }}
{{- end }}
{{- range list "JINA_DIMENSIONS" "JINA_TASK" }}
{{- with index $.Values.settings . }}
{{- $is = printf "%s %v" $is . }}
{{- end }}
{{- end }}
{{- printf "%s-%s-%s" .Values.model .Values.quantisation (sha256sum $is | trunc 8) }}
{{- end }}

{{- define "jina.deployment" -}}
{{- printf "%s-%s" .Release.Name (include "jina.vectors" . | lower | replace "_" "-") }}
{{- end }}

{{- define "jina.common" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "jina.selector" -}}
{{ include "jina.common" . }}
app.kubernetes.io/component: server
vectors: {{ include "jina.vectors" . }}
{{- end }}

{{- define "jina.labels" -}}
{{ include "jina.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "jina.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default (ternary "cuda" "cpu" .Values.gpu.enabled)) }}
{{- end }}
{{- end }}

{{- define "jina.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "jina.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "jina.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where the API begins: the server itself takes the prefix, so that no proxy rewrites a path. */}}
{{- define "jina.prefix" -}}
{{- if .Values.ingress.enabled }}
{{- trimSuffix "/" .Values.ingress.path }}
{{- end }}
{{- end }}

{{/* Seconds from the pod's end to SIGKILL; the last 5 are compose's, too. */}}
{{- define "jina.graceSeconds" -}}
{{- add .Values.preStopSeconds .Values.drainSeconds 5 }}
{{- end }}

{{/* The variables of compose/compose.yaml, and on a GPU those of compose/cuda.yaml. */}}
{{- define "jina.environment" -}}
{{- $facts := include "jina.facts" . | fromYaml }}
{{- $prefixes := (.Files.Get "files/models.yaml" | fromYaml).prefixes }}
{{- $set := dict
  "LLAMA_ARG_ENDPOINT_METRICS" 1
  "LLAMA_ARG_KV_UNIFIED" 1
  "LLAMA_ARG_N_PARALLEL" $facts.parallel
  "LLAMA_ARG_MODEL" (printf "/models/%s" (include "jina.fileName" .))
  "LLAMA_ARG_ALIAS" (.Values.servedName | default $facts.name)
  "LLAMA_ARG_CTX_SIZE" $facts.ctx_size
  "LLAMA_ARG_BATCH" $facts.batch
  "LLAMA_ARG_UBATCH" $facts.ubatch
  "JINA_QUERY_PREFIX" $prefixes.query
  "JINA_DOCUMENT_PREFIX" $prefixes.document
  "JINA_MATRYOSHKA" $facts.matryoshka
  "JINA_DRAIN_SECONDS" .Values.drainSeconds
}}
{{- if .Values.gpu.enabled }}
{{- $set = merge $set (dict "LLAMA_ARG_N_GPU_LAYERS" 999 "JINA_REQUIRE_GPU" 1) }}
{{- end }}
{{- if .Values.apiKeys.secretName }}
{{- $_ := set $set "LLAMA_ARG_API_KEY_FILE" "/keys/keys" }}
{{- end }}
{{- with include "jina.prefix" . }}
{{- $_ := set $set "LLAMA_ARG_API_PREFIX" . }}
{{- end }}
{{- range $name, $value := mergeOverwrite $set .Values.settings }}
- name: {{ $name }}
  value: {{ ternary $value (int64 $value) (kindIs "string" $value) | quote }}
{{- end }}
{{- end }}

{{/* Of Prometheus' samples, those of this release: the operator adds both labels. */}}
{{- define "jina.samples" -}}
{{- printf "namespace=%q,service=%q" .Release.Namespace .Release.Name }}
{{- end }}
