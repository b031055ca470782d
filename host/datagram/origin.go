package datagram

import (
	"net/netip"
	"sync"
	"time"

	"github.com/framehost/framehost/host/netif"
)

// Origins recognizes datagrams that its sockets sent, by their source: an address of this machine, and a port that one of
// the sockets has exclusively. It recognizes them for another 10 seconds after the socket was closed, or after the machine
// lost the address, since they may still wait to be read.
//
// Origins does not recognize datagrams of other processes, or datagrams whose source was translated on the way (NAT).
//
// The zero value is ready to use. Origins is safe for concurrent use.
type Origins struct {
	mu        sync.RWMutex
	ports     map[originPort]*originPortUse
	addresses map[netip.Addr]time.Time // addresses of this machine, and when it lost them; the zero Time: it still has them
}

// An originPort is a port of one family: IPv4 and IPv6 have separate ports.
type originPort struct {
	v4   bool
	port uint16
}

type originPortUse struct {
	sockets int
	closed  time.Time // when a socket was last closed
}

// originLinger is how long a source is recognized after its socket was closed or its address lost. Datagrams wait in a
// socket's buffer while its reader is blocked.
const originLinger = 10 * time.Second

// processOrigins is shared by all Conns that don't set Options.Origins.
var processOrigins Origins

// open records that a socket sends from port, until closed is called.
func (o *Origins) open(port uint16, v4 bool) (closed func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ports == nil {
		o.ports = map[originPort]*originPortUse{}
	}
	for p, use := range o.ports {
		if use.sockets == 0 && time.Since(use.closed) > originLinger {
			delete(o.ports, p)
		}
	}
	p := originPort{v4, port}
	use := o.ports[p]
	if use == nil {
		use = &originPortUse{}
		o.ports[p] = use
	}
	use.sockets++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		use.sockets--
		use.closed = time.Now()
	}
}

// note records the addresses of this machine, and when it loses one.
func (o *Origins) note(list []netif.Interface) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.addresses == nil {
		o.addresses = map[netip.Addr]time.Time{}
	}
	now := time.Now()
	current := map[netip.Addr]struct{}{}
	for _, i := range list {
		for _, a := range i.Addresses {
			current[a.Prefix.Addr()] = struct{}{}
			o.addresses[a.Prefix.Addr()] = time.Time{}
		}
	}
	for a, since := range o.addresses {
		if _, ok := current[a]; ok {
			continue
		}
		if since.IsZero() {
			o.addresses[a] = now
		} else if now.Sub(since) > originLinger {
			delete(o.addresses, a)
		}
	}
}

// mark sets Own of received datagrams, and returns how many are Own.
func (o *Origins) mark(datagrams []Datagram) (own uint64) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for i := range datagrams {
		d := &datagrams[i]
		if d.Own = o.sent(d.Remote); d.Own {
			own++
		}
	}
	return own
}

func (o *Origins) sent(from netip.AddrPort) bool {
	use := o.ports[originPort{from.Addr().Is4(), from.Port()}]
	if use == nil || use.sockets == 0 && time.Since(use.closed) > originLinger {
		return false
	}
	since, ok := o.addresses[from.Addr().WithZone("")]
	return ok && (since.IsZero() || time.Since(since) <= originLinger)
}
