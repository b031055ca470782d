//go:build race

package codecshm_test

func init() { raceDetector = true }
