package host

import (
	"sync"

	"github.com/framehost/framehost/host/endpoint"
)

// A network follows the network interfaces of this machine for all routes, from the first call of interfaces until close.
// The zero value is ready to use; a network is safe for concurrent use.
type network struct {
	mu     sync.Mutex
	follow *endpoint.Interfaces
}

// interfaces returns the interfaces of this machine, which are followed until close.
func (n *network) interfaces() (*endpoint.Interfaces, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.follow == nil {
		follow, err := endpoint.WatchInterfaces()
		if err != nil {
			return nil, err
		}
		n.follow = follow
	}
	return n.follow, nil
}

func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.follow != nil {
		n.follow.Close()
	}
}
