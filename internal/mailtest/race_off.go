//go:build !race

package mailtest

// RaceDetector makes everything ten times slower: harnesses do less with it, and
// what something costs says nothing.
const RaceDetector = false
