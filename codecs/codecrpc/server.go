package codecrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"google.golang.org/grpc"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecrpc/codecpb"
	"github.com/framehost/framehost/codecs/codecshm"
)

// A server is the end of the protocol in a plugin process: it serves one codec to one host.
type server struct {
	codecpb.UnimplementedCodecServer
	codec codecs.Codec

	mu         sync.RWMutex
	configured map[uint32]*codecshm.Configured // by the number that calls refer to
}

func newServer(codec codecs.Codec) *server {
	return &server{codec: codec, configured: map[uint32]*codecshm.Configured{}}
}

// Describe implements codecpb.CodecServer.
func (s *server) Describe(context.Context, *codecpb.DescribeRequest) (*codecpb.DescribeResponse, error) {
	info := s.codec.Info()
	return &codecpb.DescribeResponse{
		Name: info.Name, Version: info.Version, Description: info.Description, StateVersion: info.StateVersion,
		OptionsSchema: s.codec.Schema(), DataPlanes: dataPlanes(),
	}, nil
}

// Configure implements codecpb.CodecServer.
func (s *server) Configure(_ context.Context, in *codecpb.ConfigureRequest) (*codecpb.ConfigureResponse, error) {
	framing, inForce, err := s.codec.Configure(in.Options, int(in.MaxFrame))
	if err != nil {
		return &codecpb.ConfigureResponse{Errors: optionErrors(err)}, nil
	}
	c := &codecshm.Configured{Framing: framing, MaxFrame: int(in.MaxFrame), MaxWire: codecs.MaxWireOf(framing, int(in.MaxFrame))}
	s.mu.Lock()
	s.configured[in.Codec] = c
	s.mu.Unlock()
	return &codecpb.ConfigureResponse{MaxWire: uint32(c.MaxWire), UsesState: codecs.UsesState(framing), Options: inForce}, nil
}

// Release implements codecpb.CodecServer. Calls under way keep the codec that they have looked up.
func (s *server) Release(_ context.Context, in *codecpb.ReleaseRequest) (*codecpb.ReleaseResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.configured, in.Codec)
	return &codecpb.ReleaseResponse{}, nil
}

// optionErrors returns the option errors joined in err. Any other error becomes one about the options as a whole.
func optionErrors(err error) []*codecpb.OptionError {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*codecpb.OptionError
		for _, err := range many.Unwrap() {
			all = append(all, optionErrors(err)...)
		}
		return all
	}
	if e := (*codecs.OptionError)(nil); errors.As(err, &e) {
		return []*codecpb.OptionError{{Option: e.Option, Got: e.Got, Want: e.Want}}
	}
	return []*codecpb.OptionError{{Option: "options", Want: err.Error()}}
}

// lookup returns the codec that was configured under number, or nil.
func (s *server) lookup(number uint32) *codecshm.Configured {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.configured[number]
}

// SharedMemory is the name of the data plane of package codecshm.
const SharedMemory = "shm"

// dataPlanes returns the data planes that this program supports in addition to gRPC.
func dataPlanes() []string {
	if codecshm.Supported() != nil {
		return nil
	}
	return []string{SharedMemory}
}

// serveShared answers the calls that arrive over shared memory, if the host offers it. It writes errors to log.
func (s *server) serveShared(log io.Writer) {
	err := codecshm.Serve(s.lookup)
	if err != nil {
		fmt.Fprintf(log, "shared memory: %v\n", err)
	}
	if errors.Is(err, codecshm.ErrBroken) {
		os.Exit(1)
	}
}

// Lane implements codecpb.CodecServer.
func (s *server) Lane(stream grpc.BidiStreamingServer[codecpb.Call, codecpb.Answer]) error {
	l := &serverLane{server: s, stream: stream, kept: newKeeper(keptBytes), assembling: map[uint64]*served{}}
	return l.serve()
}
