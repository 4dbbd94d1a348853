package metrics_test

import (
	"testing"

	"mailweir/metrics"
	"mailweir/metrics/metricslint"
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
