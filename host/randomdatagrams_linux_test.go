package host

import (
	"fmt"
	"math"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/loglimit"
)

const (
	garbageDatagrams     = 1_000_000
	garbageDatagramsRace = 40_000 // with -short, or under the race detector

	garbageWindow = 1000 // most datagrams under way to each port, except for the last tenth of the datagrams
	garbageFlows  = 4    // peers that have a flow

	// Limits for what a host may keep afterwards. It keeps buffers for later datagrams, as many as it needed at one time.
	garbageGoroutines = 5
	garbageHeap       = 8 << 20 // bytes
	garbageLines      = 100     // log lines, in addition to loglimit.Burst for each second
)

// Indexes of the routes, and of the targets. The route of streams is not a target; discovery has its index in targets.
const (
	toFramed = iota
	toPlain
	toFlows
	toStream
	toDiscovery = toStream
)

// underFire is a host with every datagram port as a target. Each also has a sender of valid datagrams.
type underFire struct {
	t       *testing.T
	h       *Host
	book    logBook
	targets [4]target
	readers []*reading // the receivers of framed, of plain, and of each flow

	down, peer *net.TCPConn // the two ends of the session of the route stream
}

const meantBegin = "a frame that was meant, "

func putUnderFire(t *testing.T) *underFire {
	t.Helper()
	up, answering, lan := listenUpstream(t), listenUpstream(t), freeLAN(t)
	u := &underFire{t: t}
	u.h = startWith(t, lanHead(lan, "")+fmt.Sprintf(`
routes:
  - {name: framed, from: {listen: "udp://127.0.0.1:0", codec: line}, to: {listen: "tcp://127.0.0.1:0", codec: long}}
  - {name: plain, from: {listen: "udp://127.0.0.1:0", codec: none}, to: {listen: "tcp://127.0.0.1:0", codec: long}}
  - {name: flows, from: {listen: "udp://127.0.0.1:0", codec: none, udp: {flows: {max: %d, idle: 1h}}}, to: {dial: "tcp://%s", codec: long}}
  - name: stream
    from: {listen: "tcp://127.0.0.1:0", codec: line, announce: {service: stream, interval: 30m, ttl: 1h}}
    to: {dial: "tcp://%s", codec: long}
`, garbageFlows, answering.Addr(), up.Addr()), Options{Logger: u.book.logger(hclog.Info)})

	for i, name := range []string{toFramed: "framed", toPlain: "plain"} {
		u.readers = append(u.readers, readLong(t, dialAt(t, u.h, name, 1), meantBegin))
		waitFor(t, u.h, func(s *control.Status) bool { return len(s.Routes[i].Hub.Live) == 2 })
		u.targets[i] = target{from: senders(t, 1, u.h.Addr(name).Address), accounted: func(s *control.Status) int64 {
			hub := s.Routes[i].Hub
			kernel := hub.Datagrams[0]
			return hub.DatagramsIn + int64(kernel.DroppedBySystem+kernel.Truncated+kernel.Elsewhere+kernel.Strangers)
		}}
	}
	// One sender more than there may be flows; it gets no flow.
	u.targets[toFlows] = target{from: senders(t, garbageFlows+1, u.h.Addr("flows").Address), accounted: func(s *control.Status) int64 {
		f := s.Routes[toFlows].Flows
		return s.Routes[toFlows].ToUpstream.FramesIn + int64(f.Refused+f.Dropped+f.Datagrams.DroppedBySystem+f.Datagrams.Truncated)
	}}
	for i := range garbageFlows {
		u.targets[toFlows].say(t, i, meantBegin+"first")
		c := answering.accept()
		_ = c.SetDeadline(time.Time{})
		u.readers = append(u.readers, readLong(t, c, meantBegin))
		u.readers[toFlows+i].expect(t, meantBegin+"first")
	}
	u.targets[toDiscovery] = target{from: senders(t, 1, fmt.Sprintf("127.0.0.1:%d", lan))}

	u.down = dialRoute(t, u.h, "stream")
	_ = u.down.SetDeadline(time.Time{})
	send(t, u.down, "first\n")
	u.peer = up.accept()
	_ = u.peer.SetDeadline(time.Time{})
	expect(t, u.peer, long("first"))
	return u
}

// works expects that every route still relays text.
func (u *underFire) works(text string) {
	u.t.Helper()
	u.targets[toFramed].say(u.t, 0, meantBegin+text+"\n")
	u.targets[toPlain].say(u.t, 0, meantBegin+text)
	for i := range garbageFlows {
		u.targets[toFlows].say(u.t, i, meantBegin+text)
	}
	for _, r := range u.readers {
		r.expect(u.t, meantBegin+text)
	}
	send(u.t, u.down, text+"\n")
	expect(u.t, u.peer, long(text))
}

// accounted waits until all but underWay of the datagrams to each target are accounted for.
func (u *underFire) accounted(underWay int64) {
	u.t.Helper()
	waitFor(u.t, u.h, func(s *control.Status) bool {
		for i := range u.targets {
			if to := &u.targets[i]; to.accounted != nil && to.accounted(s) < to.sent-underWay {
				return false
			}
		}
		return true
	})
}

// atRest waits until nothing is under way and the host uses no more than used bytes of memory.
func (u *underFire) atRest(used int64) {
	u.t.Helper()
	u.accounted(0)
	waitFor(u.t, u.h, func(s *control.Status) bool {
		for i := range s.Plugins {
			if s.Plugins[i].Outstanding > 0 {
				return false
			}
		}
		for _, i := range []int{toFramed, toPlain} {
			if slices.ContainsFunc(s.Routes[i].Hub.Live, func(m control.MemberStatus) bool { return m.QueuedFrames > 0 }) {
				return false
			}
		}
		return s.Memory.Used <= used
	})
}

// A million random datagrams, sent to all datagram ports of a host, change nothing but its counters, which account for every
// datagram.
func TestRandomDatagrams(t *testing.T) {
	count := garbageDatagrams
	if raceDetector || testing.Short() {
		count = garbageDatagramsRace
	}
	u := putUnderFire(t)
	h := u.h
	u.works("before")
	u.atRest(math.MaxInt64)
	waitFor(t, h, func(s *control.Status) bool {
		return !slices.ContainsFunc(s.Plugins, func(p control.PluginStatus) bool { return len(p.Spares) != 1 })
	})
	g := newGarbage()
	before, heapBefore, goroutines := statusTree(t, h), heap(), runtime.NumGoroutine()
	baseline := h.Status()

	began := time.Now()
	each := count / len(u.targets)
	for sent := 0; sent < each; sent += garbageWindow {
		g.send(t, u.targets[:], min(garbageWindow, each-sent))
		if sent < each*9/10 { // the rest is sent without waiting
			u.accounted(garbageWindow)
		}
	}
	u.accounted(0)
	took := time.Since(began)
	u.works("afterwards")
	u.atRest(baseline.Memory.Used)

	unchanged(t, "", before, statusTree(t, h))
	status := h.Status()
	for i := range u.targets {
		if to := &u.targets[i]; to.accounted != nil && to.accounted(status) != to.sent {
			t.Errorf("port %d: %d datagrams were sent, and %d are accounted for", i, to.sent, to.accounted(status))
		}
	}
	for _, i := range []int{toFramed, toPlain} {
		hub := status.Routes[i].Hub
		if hub.FramesIn != hub.FramesOut+hub.DroppedFrames {
			t.Errorf("route %d: %d frames came in, %d went out, and %d were dropped", i, hub.FramesIn, hub.FramesOut, hub.DroppedFrames)
		}
		waitFor(t, h, func(*control.Status) bool { return u.readers[i].frames.Load() == hub.FramesOut })
	}
	// Discovery does not know how many packets the system drops. It ignored every packet that it received, except those of the
	// host itself, and counted the reason.
	heard, ignored, own := discoveryCounts(status.Discovery)
	heardBefore, ignoredBefore, ownBefore := discoveryCounts(baseline.Discovery)
	heard, ignored, own = heard-heardBefore, ignored-ignoredBefore, own-ownBefore
	if ignored == 0 || ignored > u.targets[toDiscovery].sent || heard < ignored || heard > ignored+own {
		t.Errorf("discovery: of %d packets %d were heard and %d ignored; want all that were heard, but for %d own ones",
			u.targets[toDiscovery].sent, heard, ignored, own)
	}

	waitFor(t, h, func(*control.Status) bool { return runtime.NumGoroutine() <= goroutines+garbageGoroutines })
	if grown := heap() - heapBefore; grown > garbageHeap {
		t.Errorf("the heap has grown by %d bytes, want %d at most", grown, garbageHeap)
	}
	if lines, most := strings.Count(u.book.text(), "\n"), garbageLines+int(took.Seconds())*loglimit.Burst; lines > most {
		t.Errorf("got %d lines in the log, want %d at most", lines, most)
	}
	hubs := []*control.HubStatus{status.Routes[toFramed].Hub, status.Routes[toPlain].Hub}
	t.Logf("%d datagrams in %v; the system dropped %d, %d and %d of %d each; %d violations; discovery ignored %d",
		count, took.Round(time.Millisecond), hubs[toFramed].Datagrams[0].DroppedBySystem, hubs[toPlain].Datagrams[0].DroppedBySystem,
		status.Routes[toFlows].Flows.Datagrams.DroppedBySystem, each, hubs[toFramed].Violations, ignored)
}

func discoveryCounts(s *control.DiscoveryStatus) (heard, ignored, own int64) {
	return s.Received, s.Malformed + s.OtherVersions + s.Unsigned + s.Forged, s.Sent
}

func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // a sync.Pool frees its items after two collections
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
