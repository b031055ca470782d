package discovery

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// An entry is a service that a Browser has found. found and record never change: if the service announces something else,
// it gets a new entry.
type entry struct {
	found   Found // without Expires
	record  string
	expires time.Time
	refresh time.Time // when to query whether the service is still there; zero if that was done
	history
	confirmed uint64 // the latest sequence number that came from found.Origin
}

func (b *Browser) entry(m *message, from Origin, addresses []netip.AddrPort) *entry {
	return &entry{
		found:  Found{Service: m.describe(), ID: m.id, Addresses: addresses, Origin: from, Signed: b.station.key != nil},
		record: string(m.raw),
	}
}

// heard restarts the service's time to live.
func (e *entry) heard(m *message, from Origin, now time.Time) {
	if from.same(e.found.Origin) {
		e.confirmed = m.sequence
	}
	e.expires = now.Add(m.lives())
	e.refresh = now.Add(m.lives() / 5 * 4)
}

func (e *entry) same(other *entry) bool {
	return e.record == other.record && e.found.Origin.same(other.found.Origin)
}

// same reports whether o and other have the same address and interface. Ports are not compared.
func (o Origin) same(other Origin) bool {
	return o.Address.Addr() == other.Address.Addr() && o.Interface == other.Interface
}

// view returns a copy of the service, with Expires.
func (e *entry) view() Found {
	f := e.found
	f.Expires = e.expires
	f.Addresses = slices.Clone(f.Addresses)
	f.Labels = maps.Clone(f.Labels)
	return f
}
