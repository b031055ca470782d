package endpoint

// ConnectionsAllowed returns want: there is no limit for open sockets on Windows.
func ConnectionsAllowed(want, perConnection int) (effective int, limited bool) { return want, false }
