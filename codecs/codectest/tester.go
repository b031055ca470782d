package codectest

import "testing"

// A tester has the methods of *testing.T that the suite uses. The suite's own tests replace it by a recorder, to see that
// a broken codec fails.
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
