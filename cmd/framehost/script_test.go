package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/framehost/framehost/host/pluginproc"
)

// TestMain makes the test binary four programs: a built-in plugin, which a host launches by running its own executable; framehost and
// oddplugin, if it is called by these names; and the tests.
func TestMain(m *testing.M) {
	pluginproc.ServeIfAsked(builtinCodec)
	_ = os.Setenv("GORACE", quickExit) // for processes that tests start
	testscript.Main(m, map[string]func(){"framehost": main, "oddplugin": serveOdd})
}

// quickExit keeps the race detector from waiting a second at the end of each process.
const quickExit = "atexit_sleep_ms=0"

// TestScripts runs the scripts in testdata with the real program. UPDATE_SCRIPTS=1 writes the actual output into the files with which
// scripts compare it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			// Sockets need short paths, and each script needs a control socket of its own.
			dir, err := os.MkdirTemp("", "fh")
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(dir) })
			root, err := filepath.Abs(filepath.Join("..", ".."))
			if err != nil {
				return err
			}
			env.Vars = append(env.Vars, "XDG_RUNTIME_DIR="+dir, "ROOT="+root, "GORACE="+quickExit)
			return nil
		},
	})
}
