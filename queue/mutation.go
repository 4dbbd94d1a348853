package queue

// mutate is set by the mutation_*.go files alone, each behind a build tag of
// its own: a gateway that breaks one rule on purpose, for internal/torture to
// show that it would notice. In every other build it is nil.
var mutate func(*hooks)
