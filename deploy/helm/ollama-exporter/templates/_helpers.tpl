{{- define "ollama-exporter.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "ollama-exporter.fullname" -}}
{{- $name := include "ollama-exporter.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "ollama-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ollama-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ollama-exporter.labels" -}}
{{ include "ollama-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: ollama
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "ollama-exporter.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The name of the port with the metrics and health endpoints. */ -}}
{{- define "ollama-exporter.metricsPort" -}}
{{- if .Values.metrics.port }}metrics{{ else }}http{{ end -}}
{{- end -}}

{{- define "ollama-exporter.httpProbe" -}}
httpGet:
  path: /-/healthy
  port: {{ include "ollama-exporter.metricsPort" . }}
{{- end -}}

{{- /* The port of the Ollama server, as the exporter reads it from its URL. */ -}}
{{- define "ollama-exporter.ollamaPort" -}}
{{- $url := lower .Values.ollamaHost -}}
{{- $authority := regexReplaceAll "^[a-z]+://" $url "" | splitList "/" | first -}}
{{- if .Values.networkPolicy.ollamaPort -}}
{{ .Values.networkPolicy.ollamaPort }}
{{- else if regexMatch ":[0-9]+$" $authority -}}
{{ regexFind "[0-9]+$" $authority }}
{{- else if hasPrefix "https://" $url -}}
443
{{- else if hasPrefix "http://" $url -}}
80
{{- else -}}
11434
{{- end -}}
{{- end -}}
