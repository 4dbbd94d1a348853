package main

import (
	"fmt"
	"slices"
	"time"
)

// latencies are times from the final dot to its reply.
type latencies []time.Duration

// quantiles sums them up, in milliseconds.
type quantiles struct {
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// quantiles sorts l. Without any the result is zero.
func (l latencies) quantiles() quantiles {
	if len(l) == 0 {
		return quantiles{}
	}
	slices.Sort(l)
	at := func(p float64) float64 {
		k := min(len(l)-1, int(p*float64(len(l))))
		return float64(l[k].Microseconds()) / 1000
	}
	return quantiles{P50: at(0.50), P90: at(0.90), P99: at(0.99), Max: at(1)}
}

func (q quantiles) String() string {
	return fmt.Sprintf("p50 %.2f ms, p90 %.2f, p99 %.2f, max %.2f", q.P50, q.P90, q.P99, q.Max)
}

// spread is a figure over the repetitions of a run.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Sorted(slices.Values(values))
	return spread{Median: (v[(len(v)-1)/2] + v[len(v)/2]) / 2, Min: v[0], Max: v[len(v)-1]}
}

// format prints "median (min-max)" with that many decimals.
func (s spread) format(decimals int) string {
	return fmt.Sprintf("%.*f (%.*f-%.*f)", decimals, s.Median, decimals, s.Min, decimals, s.Max)
}
