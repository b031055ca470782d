package host

// writable returns nil: Windows shows only on a write whether it is allowed.
func writable(string) error { return nil }
