package endpoint

import (
	"net/netip"
	"sync"
	"time"
)

// Origins knows the datagrams that its sockets sent: by their source, which is an address of this machine and a port
// that one of the sockets has for itself alone. What a socket sent is known for some seconds more after it was closed,
// since it may still wait to be read; and so is what was sent from an address that the machine has lost meanwhile.
//
// It can't know what another process sent, nor what was translated on its way (NAT).
//
// The zero value is ready. It is safe for concurrent use.
type Origins struct {
	mu        sync.RWMutex
	ports     map[originPort]*originPortUse
	addresses map[netip.Addr]time.Time // of this machine, and since when no more; the zero Time: it still is
}

// Each family has its own ports.
type originPort struct {
	v4   bool
	port uint16
}

type originPortUse struct {
	sockets int
	closed  time.Time // when the last one was
}

// How long a source stays known. Datagrams wait in a socket's buffer for as long as its reader is held up.
const originLinger = 10 * time.Second

// processOrigins is what endpoints share unless told otherwise.
var processOrigins Origins

// open remembers that a socket sends from port, until close is called.
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

// note remembers the addresses of this machine.
func (o *Origins) note(list []Interface) {
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

// mark sets Own of datagrams received, and returns how many are.
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
