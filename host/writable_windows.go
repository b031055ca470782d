package host

// writable says nothing: what may be written is known there when it is tried.
func writable(string) error { return nil }
