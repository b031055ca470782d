package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// avoidFor is how long an address that failed is avoided.
const avoidFor = 10 * time.Second

// ResolverOptions say which services a Resolver picks from.
type ResolverOptions struct {
	// Service is the name to look for. It is required.
	Service string
	// Networks are the networks that the caller can dial; empty: all.
	Networks []Network
	// Ignore and Changed are as in BrowserOptions. Changed is called also for services of other networks.
	Ignore  []ID
	Changed func(Change)
}

// A Target is an address to dial, and its service.
type Target struct {
	Address netip.AddrPort
	Found   Found
}

// A Resolver picks the address to dial for a service name, from the services that its Browser has found. It picks the
// service that it has picked least often, at random among equals, so connections spread evenly. A service that appears later
// starts with the lowest count of the others, so it does not get all connections until it has caught up. An address that
// failed in the last ten seconds is picked only if there is no other. A Resolver is safe for concurrent use.
type Resolver struct {
	browser  *Browser
	service  string
	networks []Network

	mu     sync.Mutex
	picked map[ID]int                   // how often each known service was picked
	failed map[netip.AddrPort]time.Time // when an address failed; older entries than avoidFor don't count
}

// NewResolver returns a Resolver that has found no services yet.
func NewResolver(s *Station, options ResolverOptions) (*Resolver, error) {
	if options.Service == "" {
		return nil, errors.New("discover: got no service, want a name")
	}
	b, err := NewBrowser(s, BrowserOptions{Service: options.Service, Ignore: options.Ignore, Changed: options.Changed})
	if err != nil {
		return nil, err
	}
	return &Resolver{
		browser: b, service: options.Service, networks: slices.Clone(options.Networks),
		picked: map[ID]int{}, failed: map[netip.AddrPort]time.Time{},
	}, nil
}

// Run runs the Resolver's Browser until ctx is done or the Station ends. It may be called once.
func (r *Resolver) Run(ctx context.Context) { r.browser.Run(ctx) }

// Browser returns the Browser that r picks from.
func (r *Resolver) Browser() *Browser { return r.browser }

// Next returns the target to dial next. If no service is known, Next waits for one; to limit the wait, give ctx a deadline.
// The error wraps ctx's cause, or net.ErrClosed once the Station has ended.
func (r *Resolver) Next(ctx context.Context) (Target, error) {
	for {
		changed, known := r.known()
		if target, ok := r.pick(known); ok {
			return target, nil
		}
		select {
		case <-changed:
		case <-r.browser.station.done:
			return Target{}, fmt.Errorf("discover %s: %w", r.service, net.ErrClosed)
		case <-ctx.Done():
			return Target{}, fmt.Errorf("discover %s: no service has answered: %w", r.service, context.Cause(ctx))
		}
	}
}

// Failed reports that dialing target failed. For ten seconds, the Resolver prefers other addresses.
func (r *Resolver) Failed(target Target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for address, at := range r.failed {
		if now.Sub(at) >= avoidFor {
			delete(r.failed, address)
		}
	}
	r.failed[target.Address] = now
}

// known returns the services to pick from, and a channel that is closed when they may have changed.
func (r *Resolver) known() (changed <-chan struct{}, known []Found) {
	r.browser.mu.Lock()
	defer r.browser.mu.Unlock()
	known = r.browser.services()
	if len(r.networks) > 0 {
		known = slices.DeleteFunc(known, func(f Found) bool { return !slices.Contains(r.networks, f.Network) })
	}
	return r.browser.changed, known
}

// pick picks a target from known. It returns false if known is empty.
func (r *Resolver) pick(known []Found) (Target, bool) {
	if len(known) == 0 {
		return Target{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.syncPicked(known)
	rand.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	slices.SortStableFunc(known, func(x, y Found) int { return cmp.Compare(r.picked[x.ID], r.picked[y.ID]) })
	best := Target{Address: known[0].Addresses[0], Found: known[0]}
	for _, f := range known {
		for _, address := range f.Addresses {
			if r.failedAt(address).Before(r.failedAt(best.Address)) {
				best = Target{Address: address, Found: f}
			}
		}
	}
	r.picked[best.Found.ID]++
	return best, true
}

// syncPicked makes picked count exactly the known services. A new service begins with the lowest count of the others.
func (r *Resolver) syncPicked(known []Found) {
	counts, least := map[ID]int{}, -1
	for _, f := range known {
		if n, ok := r.picked[f.ID]; ok {
			counts[f.ID] = n
			if least < 0 || n < least {
				least = n
			}
		}
	}
	for _, f := range known {
		if _, ok := counts[f.ID]; !ok {
			counts[f.ID] = max(least, 0)
		}
	}
	r.picked = counts
}

// failedAt returns when address failed, or the zero time if it did not fail within avoidFor.
func (r *Resolver) failedAt(address netip.AddrPort) time.Time {
	at, ok := r.failed[address]
	if !ok || time.Since(at) >= avoidFor {
		return time.Time{}
	}
	return at
}
