//go:build race

package host

// raceDetector is true if the tests run under the race detector, which makes everything about ten times slower.
const raceDetector = true
