package endpoint

// stopListening does nothing: on Windows, a new child process has no copies of this process's sockets.
func stopListening(listenSocket) {}
