//go:build !linux

package netif

import (
	"net"
	"net/netip"
	"time"
)

const pollInterfaces = 3 * time.Second

// watch calls refresh every pollInterfaces.
func (w *Watcher) watch() (stop func(), err error) {
	ending, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(pollInterfaces)
		defer tick.Stop()
		for {
			select {
			case <-ending:
				return
			case <-tick.C:
				_ = w.refresh() // if it fails, the next tick tries again
			}
		}
	}()
	return func() {
		close(ending)
		<-ended
	}, nil
}

func listInterfaces() ([]Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	list := make([]Interface, 0, len(all))
	for _, n := range all {
		i := Interface{
			Name:      n.Name,
			Index:     n.Index,
			Up:        n.Flags&net.FlagUp != 0,
			Loopback:  n.Flags&net.FlagLoopback != 0,
			Broadcast: n.Flags&net.FlagBroadcast != 0,
			Multicast: n.Flags&net.FlagMulticast != 0,
		}
		addresses, err := n.Addrs()
		if err != nil {
			continue // the interface was removed meanwhile
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					ip = ip.Unmap()
					bits, _ := n.Mask.Size()
					p := netip.PrefixFrom(ip, bits)
					i.Addresses = append(i.Addresses, Address{Prefix: p, Broadcast: DirectedBroadcast(p)})
				}
			}
		}
		list = append(list, i)
	}
	return list, nil
}
