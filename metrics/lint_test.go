package metrics_test

import (
	"testing"

	"mailweir/internal/metricslint"
	"mailweir/metrics"
)

func TestRegistryIsClean(t *testing.T) {
	problems, err := metricslint.Problems(metrics.NewRegistry("1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
