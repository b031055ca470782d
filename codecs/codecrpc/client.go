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

// lanesPerProcess is how many streams a client opens to its process. Two processors have use for two.
const lanesPerProcess = 2

// A Client is a host's end of one plugin process. It is safe for concurrent use.
type Client struct {
	conn    grpc.ClientConnInterface
	control codecpb.CodecClient
	timeout atomic.Int64 // nanoseconds
	shared  atomic.Pointer[codecshm.Plane]
	keeps   atomic.Bool // the process does not know Release
	ctx     context.Context
	cancel  context.CancelCauseFunc

	opening sync.Mutex // held while lanes are opened, or closed
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

// SetTimeout sets how long an answer may take, from when a call was sent whole; 0 means for ever. It is set before the
// first call.
func (c *Client) SetTimeout(d time.Duration) { c.timeout.Store(int64(d)) }

// Share makes the calls of all codecs travel by plane from now on, for directions that are opened later. It returns when
// the process has mapped the plane's memory; ctx ends the wait. The client owns the plane then. An error says why the
// process can't have it: calls then go on by gRPC, and the plane is the caller's to close. The process must have said that
// it can (see Description.DataPlanes); one that can't would never answer.
func (c *Client) Share(ctx context.Context, plane *codecshm.Plane) error {
	if err := plane.Begin(ctx, time.Duration(c.timeout.Load()), c.setError); err != nil {
		return err
	}
	c.shared.Store(plane)
	return nil
}

// Lend returns memory to receive into that the process can read, or nil if there is none to be had; see codeccall.Lender.
func (c *Client) Lend(size int) codeccall.Loan {
	if plane := c.shared.Load(); plane != nil {
		return plane.Lend(size)
	}
	return nil
}

// Description is what a plugin process says about itself.
type Description struct {
	Info       codecs.Info
	Schema     json.RawMessage // JSON Schema of the options
	DataPlanes []string        // beside grpc
}

// Describe asks which codec the process serves. What it says is not trusted further than it is checked here: a name
// and version of reasonable length, and a schema that is JSON.
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

// Configure puts options in force; see [codecs.Codec]; none are as {}. info goes into the properties of the codec. Calls
// of the codec fail with codeccall.ErrGone, codeccall.ErrOverdue or codeccall.ErrMisbehaved, after which the process has
// to be killed and the call may be made again on another; or with codeccall.ErrCodecFailed. The process keeps the codec until
// Release, or its end.
func (c *Client) Configure(ctx context.Context, info codecs.Info, options json.RawMessage, maxFrame int) (codeccall.Codec, error) {
	if maxFrame < 1 || maxFrame > codecs.MaxFrame {
		return nil, fmt.Errorf("max_frame: got %d bytes, want 1 to %d", maxFrame, codecs.MaxFrame)
	}
	if len(options) == 0 {
		options = json.RawMessage("{}") // plugins in other languages are promised an object
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

// Release has the process drop codec, which Configure returned: its calls have ended, and no other is made. released is false,
// without an error, if the process does not know how: it then keeps the codec, which can still be called, and is not asked again.
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

// Failed is closed when the connection to the process no longer serves, of which Err then tells the reason. That is so
// before the first call fails with codeccall.ErrGone or codeccall.ErrOverdue. The process may still live, and has to be killed.
func (c *Client) Failed() <-chan struct{} { return c.failed }

// Err returns why the client failed, nil as long as it has not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the client. Calls that are under way fail with codeccall.ErrGone.
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

// lane returns a lane, by turns.
func (c *Client) lane() (*lane, error) {
	c.opening.Lock()
	defer c.opening.Unlock()
	if c.ctx.Err() != nil || c.Err() != nil {
		return nil, codeccall.ErrGone
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
		return nil, fmt.Errorf("%w: %w", codeccall.ErrGone, err)
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

// A direction makes the calls of one flow, all on one lane, which it takes with its first call.
type direction struct {
	*remote
	decoder, encoder *call

	mu     sync.Mutex // guards lane, which a decode and an encode may both be first to need
	lane   *lane
	stream uint64

	decode codeccall.Decode // the one under way, as far as one call may go
	encode codeccall.Encode // likewise
	left   int              // bytes that the last decode left unconsumed
	kept   int              // how many of them it was shown, where the process was asked to keep those; else 0
	keptBy uint64           // its id
}

// keepFrom is the number of unconsumed bytes from which a process is asked to keep them: fewer are simply sent again.
const keepFrom = 64 << 10

func (d *direction) Decode(ctx context.Context, all *codeccall.Decode, out *codeccall.Decoded) error {
	l, err := d.open(ctx)
	if err != nil {
		return err
	}
	if d.decoder == nil {
		d.decoder = &call{done: make(chan error, 1)}
	}
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

// verdict returns why a call that ended with err, or was answered, was not served.
func (c *call) verdict(err error) error {
	if err == nil && len(c.answer.err) > 0 {
		return fmt.Errorf("%w: %s", codeccall.ErrCodecFailed, c.answer.err)
	}
	return err
}

// open returns the lane of the direction.
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
