package netif

import (
	"sync"
)

// A Network follows the network interfaces of this machine for several users, from the first call of Interfaces until Close.
// The zero value is ready to use; a Network is safe for concurrent use.
type Network struct {
	mu     sync.Mutex
	follow *Interfaces
}

// Interfaces returns the interfaces of this machine, which are followed until Close. It must not be called after Close.
func (n *Network) Interfaces() (*Interfaces, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.follow == nil {
		follow, err := Watch()
		if err != nil {
			return nil, err
		}
		n.follow = follow
	}
	return n.follow, nil
}

// Close stops following the interfaces.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.follow != nil {
		n.follow.Close()
	}
}
