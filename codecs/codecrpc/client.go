package codecrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
	"github.com/framehost/framehost/codecs/codecshm"
)

// lanesPerProcess is how many streams a client opens to its process. Two let the process use two processors.
const lanesPerProcess = 2

// A Client is a host's end of one plugin process. It is safe for concurrent use.
type Client struct {
	conn    grpc.ClientConnInterface
	control codecpb.CodecClient
	timeout atomic.Int64 // nanoseconds
	shared  atomic.Pointer[codecshm.Plane]
	keeps   atomic.Bool // the process does not implement Release
	ctx     context.Context
	cancel  context.CancelCauseFunc

	opening sync.Mutex // held while lanes are opened or closed
	lanes   []*lane
	turn    int

	mu     sync.Mutex
	codecs uint32
	failed chan struct{} // closed when a lane has ended
	err    error
}

// NewClient returns the client of the process at the other end of conn. The caller closes conn, after the client.
func NewClient(conn grpc.ClientConnInterface) *Client {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Client{conn: conn, control: codecpb.NewCodecClient(conn), ctx: ctx, cancel: cancel, failed: make(chan struct{})}
}

// SetTimeout sets the time within which an answer must arrive after its call was sent completely; 0: no limit. It must be
// called before the first call.
func (c *Client) SetTimeout(d time.Duration) { c.timeout.Store(int64(d)) }

// Share makes the calls of all codecs travel over plane, for directions that are opened later. It returns when the process
// has mapped the plane's memory; ctx ends the wait. The client then owns the plane. If the process can't map the memory,
// Share returns an error that says why; calls then go on over gRPC, and the caller must close the plane. Call Share only
// if the process declared that it supports shared memory (see Description.DataPlanes): any other process never answers.
func (c *Client) Share(ctx context.Context, plane *codecshm.Plane) error {
	if err := plane.Begin(ctx, time.Duration(c.timeout.Load()), c.setError); err != nil {
		return err
	}
	c.shared.Store(plane)
	return nil
}

// Lend returns memory to receive into that the process can read, or nil if there is none; see codeccall.Lender.
func (c *Client) Lend(size int) codeccall.Loan {
	if plane := c.shared.Load(); plane != nil {
		return plane.Lend(size)
	}
	return nil
}

// Description is a plugin process's description of itself.
type Description struct {
	Info       codecs.Info
	Schema     json.RawMessage // JSON Schema of the options
	DataPlanes []string        // supported in addition to gRPC
}

// Describe asks which codec the process serves. It checks only that the name, version and description have a reasonable
// length and that the schema is JSON; trust no more than that.
func (c *Client) Describe(ctx context.Context) (*Description, error) {
	r, err := c.control.Describe(ctx, &codecpb.DescribeRequest{})
	if err != nil {
		return nil, fmt.Errorf("describe: %w", err)
	}
	switch {
	case r.Name == "" || len(r.Name) > 100 || len(r.Version) > 100 || len(r.Description) > 1000:
		return nil, codeccall.Misbehaved("describe: name %.100q, version %.100q", r.Name, r.Version)
	case !json.Valid(r.OptionsSchema):
		return nil, codeccall.Misbehaved("describe: the schema of the options is not JSON")
	}
	return &Description{
		Info:       codecs.Info{Name: r.Name, Version: r.Version, Description: r.Description, StateVersion: r.StateVersion},
		Schema:     r.OptionsSchema,
		DataPlanes: r.DataPlanes,
	}, nil
}

// Configure configures a codec in the process; see [codecs.Codec]. Empty options mean {}. info becomes part of the codec's
// properties. Calls of the codec fail with codeccall.ErrGone, codeccall.ErrOverdue or codeccall.ErrMisbehaved, after which
// the process must be killed and the call may be repeated in another; or with codeccall.ErrCodecFailed. The process keeps
// the codec until Release or until the process ends.
func (c *Client) Configure(ctx context.Context, info codecs.Info, options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
	if maxFrame < 1 || maxFrame > codecs.MaxFrame {
		return nil, fmt.Errorf("max_frame: got %d bytes, want 1 to %d", maxFrame, codecs.MaxFrame)
	}
	if len(options) == 0 {
		options = json.RawMessage("{}") // PROTOCOL.md promises an object
	}
	c.mu.Lock()
	c.codecs++
	number := c.codecs
	c.mu.Unlock()
	r, err := c.control.Configure(ctx, &codecpb.ConfigureRequest{Codec: number, Options: options, MaxFrame: uint32(maxFrame)})
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	if len(r.Errors) > 0 {
		var errs []error
		for _, e := range r.Errors {
			errs = append(errs, &codecs.OptionError{Option: e.Option, Got: e.Got, Want: e.Want})
		}
		return nil, errors.Join(errs...)
	}
	if r.MaxWire < 1 || r.MaxWire > codecs.MaxWire || !json.Valid(r.Options) {
		return nil, codeccall.Misbehaved("configure: max_wire of %d bytes, options in force %.100q", r.MaxWire, r.Options)
	}
	return &remote{client: c, number: number, properties: codeccall.Properties{
		Info: info, Options: r.Options, MaxFrame: maxFrame, MaxWire: int(r.MaxWire), UsesState: r.UsesState,
	}}, nil
}

// Release makes the process drop codec, which Configure returned. All calls of codec must have ended, and no more may be
// made. If the process does not implement Release, Release returns false and no error, and does not ask the process again:
// the process then keeps the codec, which can still be called.
func (c *Client) Release(ctx context.Context, codec codeccall.Codec) (released bool, err error) {
	r, ok := codec.(*remote)
	if !ok || r.client != c {
		return false, fmt.Errorf("release: got a codec of type %T that this process did not configure", codec)
	}
	if c.keeps.Load() {
		return false, nil
	}
	_, err = c.control.Release(ctx, &codecpb.ReleaseRequest{Codec: r.number})
	switch {
	case status.Code(err) == codes.Unimplemented:
		c.keeps.Store(true)
		return false, nil
	case err != nil:
		return false, fmt.Errorf("release: %w", err)
	}
	return true, nil
}

// Failed returns a channel that is closed when the connection to the process has failed; Err then returns the reason. It is
// closed before the first call fails with codeccall.ErrGone or codeccall.ErrOverdue. The process may still be alive, and
// must be killed.
func (c *Client) Failed() <-chan struct{} { return c.failed }

// Err returns the reason why the client failed, or nil if it has not failed.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close closes the client. Calls that are under way fail with codeccall.ErrGone.
func (c *Client) Close() {
	c.cancel(codeccall.ErrGone)
	c.opening.Lock()
	defer c.opening.Unlock()
	for _, l := range c.lanes {
		<-l.ended
	}
	if plane := c.shared.Load(); plane != nil {
		plane.Close()
	}
}

// lane returns the client's lanes in turn, and opens them on first use.
func (c *Client) lane() (*lane, error) {
	c.opening.Lock()
	defer c.opening.Unlock()
	if c.ctx.Err() != nil || c.Err() != nil {
		return nil, errGoneBefore
	}
	c.turn++
	if len(c.lanes) == lanesPerProcess {
		return c.lanes[c.turn%lanesPerProcess], nil
	}
	l, err := openLane(c.ctx, c.conn, time.Duration(c.timeout.Load()), c.setError)
	if err != nil {
		c.setError(err)
		if errors.Is(err, codeccall.ErrOverdue) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errGoneBefore, err)
	}
	c.lanes = append(c.lanes, l)
	return l, nil
}

func (c *Client) setError(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.failed)
	}
}

// A remote is a configured codec in a plugin process.
type remote struct {
	client     *Client
	number     uint32
	properties codeccall.Properties
}

func (r *remote) Properties() codeccall.Properties { return r.properties }

func (r *remote) Open() codeccall.Direction {
	if plane := r.client.shared.Load(); plane != nil {
		return plane.Open(r.number, r.properties)
	}
	return &direction{remote: r}
}

// Lend implements codeccall.Lender.
func (r *remote) Lend(size int) codeccall.Loan { return r.client.Lend(size) }

// A direction makes the calls of one flow, all on one lane. Its first call chooses the lane.
type direction struct {
	*remote
	decoder, encoder *call

	mu     sync.Mutex // guards lane: the first decode and the first encode may be concurrent
	lane   *lane
	stream uint64

	decode codeccall.Decode // the call under way, limited to what one call may carry
	encode codeccall.Encode // likewise
	left   int              // bytes that the last decode left unconsumed
	kept   int              // how many of those bytes the last decode had shown to the process, if the process may have kept them; else 0
	keptBy uint64           // id of that decode
}

// keepFrom is the least number of unconsumed bytes that a process keeps for the next call. Fewer are sent again.
const keepFrom = 64 << 10

func (d *direction) Decode(ctx context.Context, all *codeccall.Decode, out *codeccall.Decoded) error {
	l, err := d.open(ctx)
	if err != nil {
		return err
	}
	if d.decoder == nil {
		d.decoder = &call{done: make(chan error, 1)}
	}
	out.Return() // borrowed memory is that of another process, and read-only: the answer must not be built in it
	limited, partly := limitDecode(all, &d.properties)
	d.decode = limited
	in := &d.decode
	c := d.decoder
	c.head = callHead{
		kind: kindDecode, codec: d.number, eof: in.EOF, state: in.State, room: uint32(in.Room),
		examined: uint32(in.Examined), stream: d.stream, skips: uint32(min(in.Skips, codeccall.MaxSkips)),
	}
	c.decoded = out
	if d.kept > 0 && in.Left == d.left {
		c.head.kept, c.head.keptOf = uint32(d.kept), d.keptBy
	}
	for {
		c.wire = in.Wire[c.head.kept:]
		c.head.dataSize = uint32(len(c.wire))
		if err = l.do(c); err != nil || !c.answer.resend {
			break
		}
		c.head.kept, c.head.keptOf = 0, 0
	}
	c.wire, c.decoded, c.head.state, d.left, d.kept = nil, nil, nil, 0, 0
	defer func() { d.decode = codeccall.Decode{} }()
	if err = c.verdict(err); err != nil {
		return err
	}
	if err := in.Check(&d.properties, out); err != nil {
		return err
	}
	if left := len(in.Wire) - out.Consumed; left >= keepFrom && !in.EOF && out.Fault == nil {
		d.left, d.kept, d.keptBy = len(all.Wire)-out.Consumed, left, c.id
	}
	out.More = out.More || partly && out.Fault == nil
	return nil
}

func (d *direction) Encode(ctx context.Context, all *codeccall.Encode, out *codeccall.Encoded) error {
	l, err := d.open(ctx)
	if err != nil {
		return err
	}
	if d.encoder == nil {
		d.encoder = &call{done: make(chan error, 1)}
	}
	out.Return() // as in Decode
	limited, partly := limitEncode(all, &d.properties)
	if partly && len(limited.Refs) == 0 {
		longerThanAnyCall(all, &d.properties, out)
		return nil
	}
	d.encode = limited
	in := &d.encode
	c := d.encoder
	c.head = callHead{
		kind: kindEncode, codec: d.number, eof: in.EOF, state: in.State, room: uint32(in.Room),
		dataSize: uint32(in.PayloadBytes()), payloads: uint32(len(in.Refs)),
	}
	c.batch, c.encoded, c.payloads = in, out, newGatherer(in)
	err = c.verdict(l.do(c))
	c.batch, c.encoded, c.payloads, c.head.state = nil, nil, gatherer{}, nil
	defer func() { d.encode = codeccall.Encode{} }()
	if err != nil {
		return err
	}
	if err := in.Check(&d.properties, out); err != nil {
		return err
	}
	out.More = out.More || partly && out.Fault == nil
	return nil
}

// verdict returns the error of a call: err, or the error in its answer.
func (c *call) verdict(err error) error {
	if err == nil && len(c.answer.err) > 0 {
		return fmt.Errorf("%w: %s", codeccall.ErrCodecFailed, c.answer.err)
	}
	return err
}

// open returns the lane of the direction, and chooses it in the first call.
func (d *direction) open(ctx context.Context) (*lane, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lane == nil {
		l, err := d.client.lane()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		l.lastStream++
		d.stream = l.lastStream
		l.mu.Unlock()
		d.lane = l
	}
	return d.lane, nil
}

func (d *direction) Close() {}
