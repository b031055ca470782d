//go:build !linux

package pluginproc

// killStrays does nothing: what a plugin started in a group of its own ends when its pipes do.
func killStrays(string) {}
