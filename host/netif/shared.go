package netif

import "sync"

// A Shared makes one Watcher for several users, when the first one asks for it. The zero value is ready to use; a Shared is safe for
// concurrent use.
type Shared struct {
	mu      sync.Mutex
	watcher *Watcher
}

// Watcher returns the Watcher. It must not be called after Close.
func (s *Shared) Watcher() (*Watcher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watcher == nil {
		w, err := Watch()
		if err != nil {
			return nil, err
		}
		s.watcher = w
	}
	return s.watcher, nil
}

// Close closes the Watcher.
func (s *Shared) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watcher != nil {
		s.watcher.Close()
	}
}
