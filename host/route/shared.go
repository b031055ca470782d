package route

import (
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/datagram"
	"github.com/framehost/framehost/host/endpoint"
	"github.com/framehost/framehost/host/lan"
	"github.com/framehost/framehost/host/netif"
	"github.com/framehost/framehost/host/quarantine"
	"github.com/framehost/framehost/host/relay"
)

// Shared is what the routes of a host use together. Its owner sets the exported fields before it makes a route, except Quarantine and
// LAN, which it sets before it calls Listen of a route that needs them.
type Shared struct {
	Log          hclog.Logger
	Memory       *relay.Memory // each route has a share of it
	MemoryLimit  int64         // of Memory, in bytes; 0: no limit
	Connections  *endpoint.Connections
	PayloadBytes int // how many bytes of a payload are logged at level trace
	WireBytes    int // how many bytes of a violation are shown
	Interfaces   netif.Shared
	// ReceiverPatience is how long a sender of a hub waits for a full receiver; see relay.Hub.Patience.
	ReceiverPatience time.Duration

	Quarantine atomic.Pointer[quarantine.Store] // nil: no route has had that policy
	LAN        atomic.Pointer[lan.LAN]          // nil: no route has needed it

	sessions atomic.Uint64    // the last ID of a session or a member
	origins  datagram.Origins // of the datagrams that this host sent
}
