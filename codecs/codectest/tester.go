package codectest

import "testing"

// A tester is what the suite needs of a *testing.T. The suite's own tests stand a recorder in for it, to see that a
// broken codec fails.
type tester interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Run(name string, f func(tester))
}

type goTest struct{ *testing.T }

func (t goTest) Run(name string, f func(tester)) {
	t.T.Run(name, func(t *testing.T) { f(goTest{t}) })
}
