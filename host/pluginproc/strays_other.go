//go:build !linux

package pluginproc

// killStrays does nothing: processes that a plugin started in groups of their own end when their pipes end.
func killStrays(string) {}
