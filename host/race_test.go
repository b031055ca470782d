//go:build race

package host

// raceDetector says that the tests run under the race detector, which makes everything about ten times as slow.
const raceDetector = true
