package pluginproc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/codecs/codecrpc"
)

// The test binary is also every program that the tests start: a built-in plugin, faulty plugins, and a host that is killed.
func TestMain(m *testing.M) {
	ServeIfAsked(func(name string) (codecs.Codec, bool) { return numberedCodec("1.0.0"), name == "numbered" })
	if len(os.Args) == 3 && os.Args[1] == programCommand {
		programs[os.Args[2]]()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// programCommand is the first argument that makes the test binary run one of programs. The second argument is the program's name.
const programCommand = "test-program"

// program returns the spec of the plugin called name in programs.
func program(t *testing.T, name string) Spec {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := programs[name]; !ok {
		t.Fatalf("no test program is called %q", name)
	}
	return Spec{Name: name, Path: path, Args: []string{programCommand, name}}
}

// A numbered framing puts a number, counted from the start of the stream, before each payload and LF after it: "hi" "ho" becomes
// "0:hi\n1:ho\n". If a frame is lost or duplicated, the next frame is a violation. Some payloads make the decoder misbehave; see mischief.
type numbered struct{}

// numberedCodec returns the codec of numbered framings. It refuses its only option unless that is empty.
func numberedCodec(version string) codecs.Codec {
	type options struct {
		Refuse string `json:"refuse" jsonschema_description:"what to say against these options"`
	}
	return codecs.New(codecs.Info{Name: "numbered", Version: version, Description: "numbered lines"}, options{},
		func(o *options, _ int) (codecs.Framing, error) {
			if o.Refuse != "" {
				return nil, &codecs.OptionError{Option: "refuse", Got: o.Refuse, Want: "nothing"}
			}
			held.Add(1)
			f := &heldFraming{}
			runtime.AddCleanup(f, func(n *atomic.Int64) { n.Add(-1) }, &held)
			return f, nil
		})
}

// A heldFraming is a numbered framing that is counted until it is garbage collected.
type heldFraming struct {
	numbered
	_ [32]byte // makes it too large to share an allocation
}

var held atomic.Int64

// awaitHeld returns when the process holds that many codecs.
func awaitHeld(count string) {
	for deadline := time.Now().Add(bound / 2); strconv.FormatInt(held.Load(), 10) != count; runtime.GC() {
		if time.Now().After(deadline) {
			panic(fmt.Sprintf("the process holds %d codecs, want %s", held.Load(), count))
		}
	}
}

func (numbered) MaxWire(maxFrame int) int { return maxFrame + 22 }
func (numbered) UsesState() bool          { return true }

func number(state []byte) uint64 {
	if len(state) == 0 {
		return 0
	}
	return binary.BigEndian.Uint64(state)
}

func (numbered) Decode(out *codecs.Payloads, in codecs.Wire) (int, error) {
	n, begin := number(in.State), 0
	defer func() { out.SetState(binary.BigEndian.AppendUint64(nil, n)) }()
	for {
		end := bytes.IndexByte(in.Bytes[begin:], '\n')
		if end < 0 {
			if in.EOF && begin < len(in.Bytes) {
				return begin, &codecs.Fault{Offset: begin, At: len(in.Bytes), Err: codecs.ErrTruncated, Want: "LF", Resume: len(in.Bytes)}
			}
			return begin, nil
		}
		end += begin
		prefix := fmt.Sprintf("%d:", n)
		if !strings.HasPrefix(string(in.Bytes[begin:end]), prefix) {
			return begin, &codecs.Fault{Offset: begin, At: begin, Err: codecs.ErrMalformed, Want: prefix, Resume: codecs.Never}
		}
		mischief(string(in.Bytes[begin+len(prefix) : end]))
		if err := out.Refer(begin+len(prefix), end); err != nil {
			return begin, err
		}
		begin, n = end+1, n+1
	}
}

func (numbered) Encode(out *codecs.Frames, in codecs.Batch) (int, error) {
	n := number(in.State)
	defer func() { out.SetState(binary.BigEndian.AppendUint64(nil, n)) }()
	for i := range in.Len() {
		b, err := out.Grow(len(in.At(i)) + 22)
		if err != nil {
			return i, err
		}
		b = append(append(strconv.AppendUint(b, n, 10), ':'), in.At(i)...)
		if err := out.Commit(append(b, '\n')); err != nil {
			return i, err
		}
		n++
	}
	return in.Len(), nil
}

// mischief executes a payload that begins with an exclamation mark as a command.
func mischief(payload string) {
	what, argument, _ := strings.Cut(payload, " ")
	switch what {
	case "!exit": // always
		os.Exit(3)
	case "!exit-once": // unless the file exists; it creates the file
		if f, err := os.OpenFile(argument, os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			f.Close()
			os.Exit(3)
		}
	case "!stop-once": // unless the file exists; it creates the file
		if f, err := os.OpenFile(argument, os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			f.Close()
			stopMyself()
			select {} // it may run on for a while
		}
	case "!wait": // until the other end closes the connection
		if conn, err := net.Dial("tcp", argument); err == nil {
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	case "!held": // until the process holds that many codecs
		awaitHeld(argument)
	case "!hang":
		select {}
	case "!panic-elsewhere": // in a goroutine in which no code recovers the panic
		go panic("gone mad")
		select {}
	case "!print":
		fmt.Fprintln(os.Stderr, argument)
	}
}

func serveNumbered() { codecrpc.Serve(numberedCodec("1.0.0")) }
