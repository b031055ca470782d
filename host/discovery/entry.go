package discovery

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// An entry is a service that is known. Only its times change, and the last three fields: what it announces does not,
// since an announcement of anything else makes a new entry.
type entry struct {
	found   Found // without Expires
	record  string
	expires time.Time
	refresh time.Time // when to ask whether it is still there; zero if we did
	history
	confirmed uint64 // the latest sequence that came from found.Origin
}

func (b *Browser) entry(m *message, from Origin, addresses []netip.AddrPort) *entry {
	return &entry{
		found:  Found{Service: m.describe(), ID: m.id, Addresses: addresses, Origin: from, Signed: b.station.key != nil},
		record: string(m.raw),
	}
}

// heard begins the service's time to live anew.
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

// same says whether two packets came from the same place. The port that they were sent from does not matter.
func (o Origin) same(other Origin) bool {
	return o.Address.Addr() == other.Address.Addr() && o.Interface == other.Interface
}

// view returns what is known of the service, as a copy.
func (e *entry) view() Found {
	f := e.found
	f.Expires = e.expires
	f.Addresses = slices.Clone(f.Addresses)
	f.Labels = maps.Clone(f.Labels)
	return f
}
