// Decodes PodMonitors and ServiceMonitors in YAML from standard input with the types of the Prometheus operator, and
// fails on members that these do not have. Other kinds are not decoded.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

func decode(document []byte) (string, error) {
	var head struct {
		Kind string `json:"kind"`
	}
	if err := strict.Unmarshal(document, &head); err != nil {
		return "", err
	}
	switch head.Kind {
	case "PodMonitor":
		return head.Kind, strict.UnmarshalStrict(document, &monitoring.PodMonitor{})
	case "ServiceMonitor":
		return head.Kind, strict.UnmarshalStrict(document, &monitoring.ServiceMonitor{})
	}
	return head.Kind, nil
}

func main() {
	failed := false
	documents := yaml.NewDocumentDecoder(os.Stdin)
	for {
		// A document is at most 1 MiB.
		buffer := make([]byte, 1<<20)
		length, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			break
		}
		kind := ""
		if err == nil {
			kind, err = decode(buffer[:length])
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", kind, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}
