package clamav

import (
	"context"
	"testing"
	"time"

	"mailweir/internal/mailtest"
	"mailweir/metrics"
)

// TestLimits: what the real clamd skips by its configuration is found and said.
func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name string
		conf []string
		want []string
	}{
		{"all is looked at", []string{"AlertExceedsMax yes", "StreamMaxLength 50M", "MaxFileSize 50M", "MaxScanSize 100M"}, nil},
		{"short streams", []string{"AlertExceedsMax yes", "StreamMaxLength 3M"}, []string{"stream"}},
		{"silent", []string{"StreamMaxLength 50M"}, []string{"alert"}},
		{"shallow and silent", []string{"StreamMaxLength 50M", "MaxRecursion 4"}, []string{"recursion", "alert"}},
		{"small scans, silent", []string{"StreamMaxLength 50M", "MaxScanSize 2M", "MaxFileSize 2M"}, []string{"scan", "alert"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := mailtest.StartClamd(t, tt.conf...)
			c := newClient(t, Options{Address: "unix:" + d.Socket, MaxMessage: 8 << 20})
			list, err := c.findLimits(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range list {
				got = append(got, l.label)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("%q: %s", got, limitsText(list))
			}
			for i, label := range tt.want {
				if got[i] != label {
					t.Errorf("%q, want %q: %s", got, tt.want, limitsText(list))
				}
			}
		})
	}
}

// TestLimitsAreSaid: Run finds them, and says them in /readyz.
func TestLimitsAreSaid(t *testing.T) {
	d := mailtest.StartClamd(t, "StreamMaxLength 1M")
	c := newClient(t, Options{Address: "unix:" + d.Socket, MaxMessage: 4 << 20})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := metrics.NewReadiness()
	ran := make(chan struct{})
	go func() { c.Run(ctx, ready); close(ran) }()
	for start := time.Now(); c.limits.Load() == nil; <-time.After(20 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatal("not found")
		}
	}
	if text := *c.limits.Load(); text == "" {
		t.Error("nothing is below")
	}
	cancel()
	<-ran
}
