package datagram

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/framehost/framehost/host/netif"
)

// following is the state with which a Conn follows the interfaces.
type following struct {
	mu      sync.Mutex
	uses    map[Use]struct{}
	joined  map[membership]string // the interface's name
	refused map[membership]error  // why joining failed

	ending []func() // undo the steps of follow; called in reverse order
}

// A membership is a group on an interface.
type membership struct {
	index int
	group netip.Addr
}

// change holds the arguments of one call of Options.Changed.
type change struct {
	use  Use
	gone bool
	err  error
}

// follow begins to use the current interfaces and to follow changes.
func (c *Conn) follow() error {
	f := &following{uses: map[Use]struct{}{}, joined: map[membership]string{}, refused: map[membership]error{}}
	c.follows = f
	if c.dialed.to.IsValid() {
		f.ending = append(f.ending, c.options.Origins.open(c.socket.local.Port(), c.socket.p4 != nil))
	}
	watch := c.options.Watch
	if watch == nil {
		own, err := netif.Watch()
		if err != nil {
			f.end()
			return err
		}
		watch = own
		f.ending = append(f.ending, own.Close)
	}
	begun := false
	f.ending = append(f.ending, watch.Follow(func(list []netif.Interface) {
		changes := c.update(list)
		if begun && c.options.Changed != nil {
			for _, change := range changes {
				c.options.Changed(change.use, change.gone, change.err)
			}
		}
		begun = true
	}))
	if err := f.refusal(); err != nil {
		f.end()
		return err
	}
	return nil
}

// refusal returns an error if joining a group was tried and failed on all interfaces.
func (f *following) refusal() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	joined := map[netip.Addr]bool{}
	for m := range f.joined {
		joined[m.group] = true
	}
	for m, err := range f.refused {
		if !joined[m.group] {
			return fmt.Errorf("join %s: %w", m.group, err)
		}
	}
	return nil
}

// end stops following. It does not leave groups: closing the socket does.
func (f *following) end() {
	for i := len(f.ending) - 1; i >= 0; i-- {
		f.ending[i]()
	}
}

// update makes c use the interfaces of list, and returns what changed.
func (c *Conn) update(list []netif.Interface) []change {
	c.options.Origins.note(list)
	f := c.follows
	f.mu.Lock()
	defer f.mu.Unlock()
	view := newView(list, c.choices)
	uses := map[Use]struct{}{}
	var changes []change
	if c.dialed.to.IsValid() {
		view.targets = c.retarget(list)
		for _, t := range view.targets {
			if t.use.Interface != "" {
				uses[t.use] = struct{}{}
			}
		}
	} else {
		interfaces := choose(list, c.choices)
		changes = c.rejoin(interfaces)
		for m, name := range f.joined {
			uses[Use{Interface: name, Group: m.group}] = struct{}{}
		}
		for _, i := range interfaces {
			if !c.receives.only.IsValid() {
				uses[Use{Interface: i.Name}] = struct{}{}
			}
		}
	}
	c.view.Store(view)
	for use := range f.uses {
		if _, ok := uses[use]; !ok {
			changes = append(changes, change{use: use, gone: true})
		}
	}
	for use := range uses {
		if _, ok := f.uses[use]; !ok {
			changes = append(changes, change{use: use})
		}
	}
	f.uses = uses
	return changes
}

// retarget returns the targets of copies. It reuses old targets that stay, since they know whether sending fails.
func (c *Conn) retarget(list []netif.Interface) []*target {
	targets := c.dialed.targets(list, c.choices)
	old := c.view.Load()
	if old == nil {
		return targets
	}
	for i, t := range targets {
		for _, o := range old.targets {
			if o.use == t.use && o.index == t.index {
				targets[i] = o
			}
		}
	}
	return targets
}

// rejoin joins the groups on those of interfaces where they are not joined yet, and leaves them on all others. It returns
// failures to join that are new. An interface that was removed and created again is another interface, with no groups
// joined.
func (c *Conn) rejoin(interfaces []chosen) (failed []change) {
	f := c.follows
	there := map[int]bool{}
	for _, i := range interfaces {
		there[i.Index] = true
	}
	for m := range f.joined {
		if !there[m.index] {
			// Leave even if the interface is gone: until then the membership counts towards the socket's small maximum.
			_ = c.socket.leave(m.index, m.group)
			delete(f.joined, m)
		}
	}
	for m := range f.refused {
		if !there[m.index] {
			delete(f.refused, m)
		}
	}
	for _, i := range interfaces {
		if !i.named && !i.Multicast && !i.Loopback {
			continue
		}
		for _, g := range c.receives.groups {
			m := membership{i.Index, g}
			if _, ok := f.joined[m]; !ok {
				if err := c.socket.join(i.Index, g); err != nil {
					if !sameError(err, f.refused[m]) {
						failed = append(failed, change{use: Use{Interface: i.Name, Group: g}, err: err})
					}
					f.refused[m] = err
					continue
				}
				delete(f.refused, m)
			}
			f.joined[m] = i.Name
		}
	}
	return failed
}
