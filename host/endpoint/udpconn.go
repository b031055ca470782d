package endpoint

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

// A DatagramConn receives and sends datagrams in batches. [ListenDatagram] makes one that receives and can answer, and
// [DialDatagram] one that sends and can be answered. Both know broadcast, and need not be root for it. It is safe for
// concurrent use; calls of ReadBatch wait for each other, and so do calls of WriteBatch.
//
//	listen on             receives
//	"", "*"               whatever is sent to the port: unicast, broadcast, IPv4, IPv6; with Groups, their family
//	0.0.0.0, [::]         the same of one family
//	127.255.255.255       broadcasts to that address alone; not on every system
//	239.1.2.3, [ff02::5]  what is sent to this group
//	an address, a name    what is sent to it: no broadcasts, on most systems
//
//	dial                  sends
//	"*", 255.255.255.255  a copy from each interface chosen to the broadcast address of each of its IPv4 networks
//	239.1.2.3, [ff02::5]  a copy from each interface chosen to the group
//	192.168.1.255         one datagram; the routing table knows where to
//	an address, a name    the same
//
// # Broadcast
//
// What is sent to 255.255.255.255 leaves by one interface that the system picks. So each interface gets a copy to its own
// (directed) broadcast address instead; a machine with addresses in two networks on one cable hears both copies. Unless
// interfaces are chosen, broadcast leaves by all that are up and say they know it, and multicast likewise; loopback is
// left out then.
//
// # Interfaces that come and go
//
// Copies follow the interfaces and their addresses as they are at the moment, and groups are joined where they are not yet,
// at once on Linux and within seconds elsewhere. A socket is not made anew for that: copies carry the interface they
// leave by, and the address they are from. A listener on one address hears nothing while the machine has lost it, and
// goes on when it is back.
//
// # Loops
//
// Datagram.Own tells what was sent by this process: a route that takes broadcast or multicast of its own for input makes
// a loop. Unicast that is Own is one endpoint talking to another on purpose.
type DatagramConn struct {
	socket   *udpSocket
	options  DatagramOptions
	choices  []choice
	receives receiving
	dialed   destination
	view     atomic.Pointer[datagramView]

	readMu sync.Mutex
	reader *batchReader

	writeMu sync.Mutex
	writer  *batchWriter
	copies  []outgoing
	nowhere bool // SendFailed was told that there is no interface

	stats   datagramCounts
	follows *following
	end     sync.Once
	endErr  error
}

// receiving is which multicast groups a listener wants.
type receiving struct {
	groups []netip.Addr // to join
	only   netip.Addr   // unless zero, receive what is sent there alone
}

// outgoing is one copy of a datagram on its way.
type outgoing struct {
	payload []byte
	to      netip.AddrPort
	scope   int        // number of the zone of to
	from    netip.Addr // zero: the system chooses
	index   int        // 0: the system chooses
	err     error      // why it was not sent

	datagram *Datagram // that it is a copy of
	target   *target   // nil: a Remote that was given
}

func newDatagramConn(s *udpSocket, options DatagramOptions, receives receiving, dialed destination) (*DatagramConn, error) {
	c := &DatagramConn{socket: s, options: options, receives: receives, dialed: dialed,
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

// Addr returns the address that c is bound to: the wildcard address also where only a group's datagrams are received.
func (c *DatagramConn) Addr() netip.AddrPort { return c.socket.local }

// ReceiveBuffer returns how many bytes the system keeps of what was not read yet.
func (c *DatagramConn) ReceiveBuffer() int { return c.socket.receiveBuffer }

// Uses returns what c does with interfaces now, sorted.
func (c *DatagramConn) Uses() []DatagramUse {
	c.follows.mu.Lock()
	defer c.follows.mu.Unlock()
	return slices.SortedFunc(maps.Keys(c.follows.uses), func(a, b DatagramUse) int {
		return strings.Compare(a.Interface+" "+a.String(), b.Interface+" "+b.String())
	})
}

// ReadBatch waits for datagrams and returns how many of those given, at least one, it has filled in, from the first on.
// It does not wait for more than there are. The Payload of each says where to; the others keep theirs, though they may
// change places. The error of a closed c is net.ErrClosed; after another one, c may still work.
func (c *DatagramConn) ReadBatch(datagrams []Datagram) (n int, err error) {
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
			return 0, fmt.Errorf("read udp: %w", bare(err))
		}
		if n = c.keep(datagrams[:n], view); n > 0 {
			c.stats.received.Add(uint64(n))
			c.stats.own.Add(c.options.Origins.mark(datagrams[:n]))
			return n, nil
		}
	}
}

// keep moves those that are to be handed over to the front, and returns how many there are.
func (c *DatagramConn) keep(datagrams []Datagram, view *datagramView) int {
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

// stranger reports whether d came from another one than the one that was dialed.
func (c *DatagramConn) stranger(d *Datagram, view *datagramView) bool {
	to := c.dialed.to
	if !to.IsValid() || view.cast(to.Addr()) != Unicast {
		return false
	}
	return d.Remote.Port() != to.Port() || d.Remote.Addr().WithZone("") != to.Addr().WithZone("")
}

// WriteBatch sends each of datagrams to its Remote, or a copy of it to each place that was dialed. It waits while the
// system's buffer for sending is full. Datagrams may get lost, so that one which could not be sent is no error of
// WriteBatch: see Datagram.Err, and DatagramOptions.SendFailed. The only error is net.ErrClosed.
func (c *DatagramConn) WriteBatch(datagrams []Datagram) error {
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

// reachable returns nil or ErrNoInterface, and tells SendFailed when that changes.
func (c *DatagramConn) reachable(view *datagramView) error {
	nowhere := len(view.targets) == 0
	if nowhere != c.nowhere && c.options.SendFailed != nil {
		var err error
		if nowhere {
			err = ErrNoInterface
		}
		c.options.SendFailed(netip.AddrPort{}, err)
	}
	c.nowhere = nowhere
	if nowhere {
		return ErrNoInterface
	}
	return nil
}

// send queues a copy, after the others went if there is no room for it.
func (c *DatagramConn) send(o outgoing) error {
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

// flush sends the copies that are queued.
func (c *DatagramConn) flush() error {
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
		return net.ErrClosed // the only way in which waiting for a socket fails
	}
	return nil
}

// countSent counts a copy, and sets in its datagram what became of it.
func (c *DatagramConn) countSent(o *outgoing) {
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

// Close ends c: ReadBatch and WriteBatch return net.ErrClosed. To do it again does nothing and returns what the first
// call did.
func (c *DatagramConn) Close() error {
	c.end.Do(func() {
		c.follows.end()
		c.endErr = bare(c.socket.conn.Close())
	})
	return c.endErr
}
