//go:build race

package mime

const raceDetector = true
