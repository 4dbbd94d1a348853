package metrics

import (
	"slices"
	"strings"
	"sync"
)

// State is how well a part does its work.
type State string

// The states of a part.
const (
	OK       State = "ok"
	Degraded State = "degraded" // mail is taken, but something is missing
	Failed   State = "failed"   // mail cannot be taken
)

// Problem is one part that is not OK.
type Problem struct {
	Part   string `json:"part"`
	State  State  `json:"state"`
	Detail string `json:"detail"`
}

// Readiness collects what the parts say about themselves. A nil *Readiness
// ignores everything, so that a part runs without one.
type Readiness struct {
	mu    sync.Mutex
	parts map[string]Problem
}

// NewReadiness is a Readiness of which no part has spoken yet: ready.
func NewReadiness() *Readiness {
	return &Readiness{parts: make(map[string]Problem)}
}

// Set replaces what is known of a part. Detail is for people and goes out on
// /readyz: no secrets, no client data.
func (r *Readiness) Set(part string, state State, detail string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if state == OK {
		delete(r.parts, part)
		return
	}
	r.parts[part] = Problem{part, state, detail}
}

// Problems are the parts that are not OK, by name.
func (r *Readiness) Problems() []Problem {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	problems := make([]Problem, 0, len(r.parts))
	for _, p := range r.parts {
		problems = append(problems, p)
	}
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Part, b.Part) })
	return problems
}

// anyFailed reports whether one of the problems means that mail cannot be taken.
func anyFailed(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.State == Failed })
}
