//go:build race

package queue

// raceDetector makes everything ten times slower: the harnesses do less.
const raceDetector = true
