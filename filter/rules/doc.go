// Package rules weighs what the checks reported.
//
// A rules file (TOML, documented in docs/rules.md) gives weights to the symbols
// of checks, names text patterns, and adds symbols of its own whose condition
// is an expression over the facts. Rules look at facts and nothing else, so
// that the facts which are kept with a verdict are enough to replay it on other
// rules.
//
// A Rules is immutable: a reload makes another one, and a file that is wrong
// makes none, with all its faults named at once.
package rules
