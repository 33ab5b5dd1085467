// Checks dashboards against Grafana's schema: every field is known, required ones are there, and types and values fit.
// Panels and queries are checked by the schema of their type. Prints one problem per line.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// check returns the problems of a dashboard, one per line.
func check(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	var board dashboard.Dashboard
	// Version 0.0.22 returns an error without text where there is none.
	if err := board.UnmarshalJSONStrict(text); err != nil && err.Error() != "" {
		return err.Error()
	}
	if err := board.Validate(); err != nil {
		return err.Error()
	}
	return ""
}

func main() {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(heatmap.VariantConfig())
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(table.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	code := 0
	for _, path := range os.Args[1:] {
		if problems := check(path); problems != "" {
			fmt.Println(problems)
			code = 1
		}
	}
	os.Exit(code)
}
