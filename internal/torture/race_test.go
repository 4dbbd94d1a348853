//go:build race

package torture

// raceDetector is in the harness, not in the gateway that it drives: little is
// done then.
const raceDetector = true
