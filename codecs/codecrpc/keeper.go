package codecrpc

import (
	"container/list"
	"sync"
)

// keptBytes limits the memory in which a lane keeps unfinished frames, in bytes.
const keptBytes = 64 << 20

// A keeper keeps the bytes that calls left unconsumed, so that the next call of a stream need not send them again. If
// memory runs out, it drops the least recently used; the host is then asked to send them again. It is safe for concurrent use.
type keeper struct {
	most int

	mu      sync.Mutex
	bytes   int                      // of memory
	streams map[uint64]*list.Element // of *kept
	order   list.List                // the least recently used at the front
}

type kept struct {
	stream uint64
	by     uint64 // the call that left it
	bytes  []byte
}

func newKeeper(most int) *keeper { return &keeper{most: most, streams: map[uint64]*list.Element{}} }

// keep keeps b, which call by of a stream left unconsumed. It then owns the memory of b. It reports false if b is too
// large to be kept.
func (k *keeper) keep(stream, by uint64, b []byte) bool {
	if cap(b) > k.most {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.bytes+cap(b) > k.most {
		k.forget(k.order.Front())
	}
	k.bytes += cap(b)
	k.streams[stream] = k.order.PushBack(&kept{stream, by, b})
	return true
}

// claim returns the kept bytes of a stream if call by left them and there are n of them; otherwise nil. In both cases the
// keeper no longer keeps them.
func (k *keeper) claim(stream, by uint64, n int) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.streams[stream]
	if e == nil {
		return nil
	}
	k.forget(e)
	if v := e.Value.(*kept); v.by == by && len(v.bytes) == n {
		return v.bytes
	}
	return nil
}

func (k *keeper) forget(e *list.Element) {
	v := k.order.Remove(e).(*kept)
	k.bytes -= cap(v.bytes)
	delete(k.streams, v.stream)
}
