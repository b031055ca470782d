package discovery

import (
	"cmp"
	"maps"
	"slices"
)

// A Change is one change of a service.
type Change struct {
	Kind  ChangeKind
	Found Found // the service as it is now; if Kind is Left or Expired, as it was last reported
}

// A ChangeKind says what happened to a service.
type ChangeKind int

// The kinds of changes.
const (
	Appeared ChangeKind = iota
	Updated             // the service announces something else, or has another Origin
	Left                // the service said goodbye, or its name is no longer the one that is looked for
	Expired             // the service's time to live has passed
)

// String returns the kind in lower case.
func (k ChangeKind) String() string {
	return [...]string{"appeared", "updated", "left", "expired"}[k]
}

// touch records that a service may have changed.
func (b *Browser) touch(id ID) {
	delete(b.gone, id)
	b.touches++
	b.touched[id] = b.touches
	close(b.changed)
	b.changed = make(chan struct{})
	b.signal()
}

func (b *Browser) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// reportChanges calls Changed for all changes since the last call.
func (b *Browser) reportChanges() {
	for _, change := range b.changes() {
		if b.options.Changed != nil {
			b.options.Changed(change)
		}
	}
}

func (b *Browser) changes() []Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	var changes []Change
	order := func(x, y ID) int { return cmp.Compare(b.touched[x], b.touched[y]) }
	for _, id := range slices.SortedFunc(maps.Keys(b.touched), order) {
		is, was := b.live[id], b.reported[id]
		switch {
		case is != nil && was == nil:
			changes = append(changes, Change{Appeared, is.view()})
		case is != nil && !is.same(was):
			changes = append(changes, Change{Updated, is.view()})
		case is == nil && was != nil:
			changes = append(changes, Change{b.gone[id], was.view()})
		}
		if is != nil {
			b.reported[id] = is
		} else {
			delete(b.reported, id)
		}
	}
	clear(b.touched)
	clear(b.gone)
	return changes
}
