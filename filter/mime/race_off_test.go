//go:build !race

package mime

const raceDetector = false
