package configs_test

import (
	"os"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	grafana "github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// TestDashboardSchema reads the dashboard by the types that Grafana publishes:
// every panel, query and transformation is one that it knows, with all that it
// requires, and without a key that it does not know. There is no Grafana among
// the systems that the tests start.
func TestDashboardSchema(t *testing.T) {
	data, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	plugins.RegisterDefaultPlugins()
	//lint:ignore SA1019 what people import is this format; the next one is for dashboards kept as Kubernetes objects
	var d grafana.Dashboard
	// An empty list of faults comes as an error that is not nil.
	if err := d.UnmarshalJSONStrict(data); err != nil && err.Error() != "" {
		t.Error(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	if len(d.Panels) != len(loadDashboard(t).Panels) {
		t.Errorf("Grafana reads %d panels", len(d.Panels))
	}
}
