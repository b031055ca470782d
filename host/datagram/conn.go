package datagram

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A Conn receives and sends datagrams in batches. [Listen] makes one that receives and can answer;
// [Dial] makes one that sends and can receive answers. Both can broadcast, without root privileges. A Conn
// is safe for concurrent use; calls of ReadBatch wait for each other, and so do calls of WriteBatch.
//
//	listen on             receives
//	"", "*"               all that is sent to the port: unicast, broadcast, IPv4, IPv6; with Groups, their family only
//	0.0.0.0, [::]         the same, of one family
//	127.255.255.255       only broadcasts to that address; not on every system
//	239.1.2.3, [ff02::5]  only datagrams sent to this group
//	an address, a name    only datagrams sent to this address; no broadcasts, on most systems
//
//	dial                  sends
//	"*", 255.255.255.255  from each chosen interface, a copy to the broadcast address of each of its IPv4 networks
//	239.1.2.3, [ff02::5]  from each chosen interface, a copy to the group
//	192.168.1.255         one datagram; the routing table decides which way
//	an address, a name    the same
//
// # Broadcast
//
// A system sends a datagram to 255.255.255.255 from one interface only, of its own choice. A Conn therefore sends a
// copy from each interface, to the (directed) broadcast address of that interface. A machine with addresses in two networks
// on one cable receives both copies. Unless interfaces are chosen, broadcasts are sent from all interfaces that are up and
// report that they support broadcast, except loopback, and likewise for multicast.
//
// # Interfaces that come and go
//
// Copies are sent from the interfaces and addresses that exist at the moment, and groups are joined on interfaces that
// appear: at once on Linux, within seconds on other systems. The socket stays the same, since each copy carries the
// interface and address to send it from. A listener on one address receives nothing while the machine does not have the
// address, and goes on once it is back.
//
// # Loops
//
// Datagram.Own marks datagrams that this process sent. A route that accepts its own broadcasts or multicasts as input makes
// a loop. A unicast datagram that is Own went from one endpoint to another on purpose.
type Conn struct {
	socket   *socket
	options  Options
	choices  []choice
	receives receiving
	dialed   destination
	view     atomic.Pointer[view]

	readMu sync.Mutex
	reader *batchReader

	writeMu     sync.Mutex
	writer      *batchWriter
	copies      []outgoing
	unreachable bool // the last datagram found no interface to send from; see reachable

	stats   counts
	follows *following
	end     sync.Once
	endErr  error
}

// receiving says which multicast groups a listener receives.
type receiving struct {
	groups []netip.Addr // to join
	only   netip.Addr   // unless zero, receive only datagrams sent to this group
}

// outgoing is one copy of a datagram that is to be sent.
type outgoing struct {
	payload []byte
	to      netip.AddrPort
	scope   int        // number of the zone of to
	from    netip.Addr // zero: the system chooses
	index   int        // interface to send from; 0: the system chooses
	err     error      // why the copy was not sent

	datagram *Datagram // the original
	target   *target   // nil if the datagram had a Remote
}

func newConn(s *socket, options Options, receives receiving, dialed destination) (*Conn, error) {
	c := &Conn{socket: s, options: options, receives: receives, dialed: dialed,
		reader: newBatchReader(s), writer: newBatchWriter(s), copies: make([]outgoing, 0, maxBatch)}
	if c.options.Origins == nil {
		c.options.Origins = &processOrigins
	}
	choices, err := parseChoices(options.Interfaces)
	if err == nil {
		c.choices = choices
		err = c.follow()
	}
	if err != nil {
		_ = s.conn.Close()
		return nil, err
	}
	return c, nil
}

// Addr returns the address that c is bound to. A listener on a multicast group is bound to the wildcard address.
func (c *Conn) Addr() netip.AddrPort { return c.socket.local }

// ReceiveBuffer returns how many bytes of unread datagrams the system buffers.
func (c *Conn) ReceiveBuffer() int { return c.socket.receiveBuffer }

// Uses returns how c uses interfaces now, sorted.
func (c *Conn) Uses() []Use {
	c.follows.mu.Lock()
	defer c.follows.mu.Unlock()
	return slices.SortedFunc(maps.Keys(c.follows.uses), func(a, b Use) int {
		return strings.Compare(a.Interface+" "+a.String(), b.Interface+" "+b.String())
	})
}

// ReadBatch waits for datagrams and fills in the first n elements of datagrams. n is at least 1; ReadBatch does not wait
// for more datagrams than have arrived. Each element's Payload provides the memory for one datagram. ReadBatch may reorder
// the elements, but each one that is not filled in still has memory of its own. The error of a closed c is net.ErrClosed;
// after any other error, c may still work.
func (c *Conn) ReadBatch(datagrams []Datagram) (n int, err error) {
	if len(datagrams) == 0 {
		return 0, errors.New("read udp: got no datagrams, want memory for one at least")
	}
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for {
		view := c.view.Load()
		n, err := c.reader.read(datagrams, view)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return 0, net.ErrClosed
			}
			return 0, fmt.Errorf("read udp: %w", inner(err))
		}
		if n = c.keep(datagrams[:n], view); n > 0 {
			c.stats.received.Add(uint64(n))
			c.stats.own.Add(c.options.Origins.mark(datagrams[:n]))
			return n, nil
		}
	}
}

// keep moves the datagrams that ReadBatch returns to the front and returns their number. It counts the others.
func (c *Conn) keep(datagrams []Datagram, view *view) int {
	n := 0
	for i := range datagrams {
		d := &datagrams[i]
		d.Cast = view.cast(d.Local)
		switch {
		case !view.wants(d) || c.receives.only.IsValid() && d.Local.IsValid() && d.Local != c.receives.only:
			c.stats.elsewhere.Add(1)
		case c.stranger(d, view):
			c.stats.strangers.Add(1)
		case d.size != len(d.Payload):
			c.stats.truncated.Add(1)
			if c.options.Truncated != nil {
				c.options.Truncated(d.Remote, max(d.size, 0), cap(d.Payload))
			}
		default:
			datagrams[n], datagrams[i] = datagrams[i], datagrams[n]
			n++
		}
	}
	return n
}

// stranger reports whether one unicast address was dialed and d came from another.
func (c *Conn) stranger(d *Datagram, view *view) bool {
	to := c.dialed.to
	if !to.IsValid() || view.cast(to.Addr()) != Unicast {
		return false
	}
	return d.Remote.Port() != to.Port() || d.Remote.Addr().WithZone("") != to.Addr().WithZone("")
}

// WriteBatch sends each of datagrams to its Remote or, without one, a copy of it to each target that was dialed. It waits
// while the system's send buffer is full. The only error is net.ErrClosed: since datagrams may get lost anyway, a datagram
// that can't be sent is not an error of WriteBatch. Datagram.Err and Options.SendFailed report it.
func (c *Conn) WriteBatch(datagrams []Datagram) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	view := c.view.Load()
	for i := range datagrams {
		d := &datagrams[i]
		d.Err, d.sent = nil, false
		if d.Remote.IsValid() {
			o := outgoing{payload: d.Payload, to: d.Remote, scope: view.scope(d.Remote.Addr()), from: d.Local,
				index: d.Interface, datagram: d}
			if err := c.send(o); err != nil {
				return err
			}
			continue
		}
		if d.Err = c.reachable(view); d.Err != nil {
			c.stats.unsent.Add(1)
			continue
		}
		for _, t := range view.targets {
			o := outgoing{payload: d.Payload, to: t.use.To, scope: view.scope(t.use.To.Addr()), from: t.use.From,
				index: t.index, datagram: d, target: t}
			if t.use.To.Addr().IsMulticast() {
				o.scope = t.index
			}
			if err := c.send(o); err != nil {
				return err
			}
		}
	}
	return c.flush()
}

// reachable returns ErrNoInterface if view has no target, otherwise nil. It calls SendFailed when the result changes.
func (c *Conn) reachable(view *view) error {
	unreachable := len(view.targets) == 0
	if unreachable != c.unreachable && c.options.SendFailed != nil {
		var err error
		if unreachable {
			err = ErrNoInterface
		}
		c.options.SendFailed(netip.AddrPort{}, err)
	}
	c.unreachable = unreachable
	if unreachable {
		return ErrNoInterface
	}
	return nil
}

// send queues a copy. If that fills the queue, send flushes it.
func (c *Conn) send(o outgoing) error {
	if !c.socket.reaches(o.to.Addr()) {
		o.datagram.Err = fmt.Errorf("got address %s, want one of the family of %s", o.to, c.socket.local)
		c.stats.unsent.Add(1)
		return nil
	}
	c.copies = append(c.copies, o)
	if len(c.copies) == maxBatch {
		return c.flush()
	}
	return nil
}

// flush sends the queued copies.
func (c *Conn) flush() error {
	if len(c.copies) == 0 {
		return nil
	}
	err := c.writer.write(c.copies)
	for i := range c.copies {
		if err == nil {
			c.countSent(&c.copies[i])
		}
		c.copies[i] = outgoing{}
	}
	c.copies = c.copies[:0]
	if err != nil {
		return net.ErrClosed // write returns no other error
	}
	return nil
}

// countSent counts a copy that was sent or failed, sets Err of its datagram, and calls SendFailed when its target begins to
// fail, fails for another reason, or works again.
func (c *Conn) countSent(o *outgoing) {
	d := o.datagram
	if o.err == nil {
		c.stats.sent.Add(1)
		d.Err, d.sent = nil, true
	} else {
		c.stats.unsent.Add(1)
		if !d.sent {
			d.Err = o.err
		}
	}
	if o.target == nil || sameError(o.err, o.target.fails) {
		return
	}
	o.target.fails = o.err
	if c.options.SendFailed != nil {
		c.options.SendFailed(o.to, o.err)
	}
}

func sameError(a, b error) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Error() == b.Error()
}

// Close ends c: ReadBatch and WriteBatch return net.ErrClosed. Further calls do nothing and return the result of the first
// call.
func (c *Conn) Close() error {
	c.end.Do(func() {
		c.follows.end()
		c.endErr = inner(c.socket.conn.Close())
	})
	return c.endErr
}
