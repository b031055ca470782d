package codecrpc

import (
	"container/list"
	"sync"
)

// keptBytes bounds what a lane keeps of unfinished frames.
const keptBytes = 64 << 20

// A keeper keeps what calls left unconsumed, so that the next call of a stream need not bring it again. What does not
// fit is forgotten, the longest unused first: the host is then asked to send it again. It is safe for concurrent use.
type keeper struct {
	most int

	mu      sync.Mutex
	bytes   int                      // of memory
	streams map[uint64]*list.Element // of *kept
	order   list.List                // the longest unused in front
}

type kept struct {
	stream uint64
	by     uint64 // the call that left it
	bytes  []byte
}

func newKeeper(most int) *keeper { return &keeper{most: most, streams: map[uint64]*list.Element{}} }

// keep keeps b, which call by of a stream left unconsumed, and the memory under it. It reports false where b is too
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

// claim returns the bytes that are kept of a stream if call by left them and there are n of them; otherwise nil. They are kept no
// longer in either case.
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
