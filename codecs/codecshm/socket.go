//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package codecshm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Variable is the environment variable that gives a plugin process the number of the descriptor that it inherited for
// this plane.
const Variable = "FRAMEHOST_CODEC_SHM"

// version is the version of the shared layout. A plugin with another version refuses the plane, and is served over gRPC.
const version = 3

// magic also shows whether both processes have the same byte order.
const magic = 0x66686d31

// The kinds of messages on the socket. Each message is one packet; descriptors travel with it.
const (
	opBegin = 1 // from the host: the first two segments, then for each lane the bell and the signal
	opReady = 2 // from the plugin: they are mapped
	opAdd   = 3 // from the host: a new segment
	opDrop  = 4 // from the host: a segment is no longer used
)

type message struct {
	op, id   uint32
	size     uint64
	readOnly bool
	refusal  string // of opReady: why the plugin can't map the segments; empty: it has mapped them
	files    []int
}

const (
	messageSize = 32
	maxRefusal  = 200
	maxFiles    = 2 + 2*laneCount
)

// sendTimeout is how long the socket may be full. A plugin that stops reading it must be killed.
const sendTimeout = 2 * time.Second

// A socket carries the few messages that set up memory. It is one end of a pair of packet sockets; the plugin inherits the
// other.
type socket struct {
	conn    *net.UnixConn
	sending sync.Mutex // held for one message at a time, so that each has the full sendTimeout
}

func newSocketPair() (*socket, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "plugin")
	ours, err := newSocket(fds[0])
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// newSocket takes ownership of fd.
func newSocket(fd int) (*socket, error) {
	file := os.NewFile(uintptr(fd), "host")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	c, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("descriptor %d is no Unix socket", fd)
	}
	return &socket{conn: c}, nil
}

func (s *socket) close() { _ = s.conn.Close() }

func (s *socket) send(m message) error {
	b := make([]byte, messageSize, messageSize+maxRefusal)
	binary.NativeEndian.PutUint32(b[0:], magic)
	binary.NativeEndian.PutUint32(b[4:], version)
	binary.NativeEndian.PutUint32(b[8:], m.op)
	binary.NativeEndian.PutUint32(b[12:], m.id)
	binary.NativeEndian.PutUint64(b[16:], m.size)
	if m.readOnly {
		b[24] = 1
	}
	b = append(b, m.refusal[:min(len(m.refusal), maxRefusal)]...)
	var rights []byte
	if len(m.files) > 0 {
		rights = unix.UnixRights(m.files...)
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, _, err := s.conn.WriteMsgUnix(b, rights, nil)
	return err
}

var errVersion = fmt.Errorf("want version %d of the layout, in this machine's byte order", version)

// receive waits for a message. The descriptors that come with it belong to the caller; most is the greatest number wanted.
// If most is 0, the kernel discards all descriptors, so that descriptors of an untrusted sender are not even opened.
func (s *socket) receive(most int) (m message, err error) {
	b := make([]byte, messageSize+maxRefusal)
	var rights []byte
	if most > 0 {
		rights = make([]byte, unix.CmsgSpace(most*4))
	}
	n, rn, _, _, err := s.conn.ReadMsgUnix(b, rights)
	if err != nil {
		return m, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	if err != nil {
		return m, err
	}
	for i := range messages {
		files, err := unix.ParseUnixRights(&messages[i])
		if err == nil {
			m.files = append(m.files, files...)
		}
	}
	for _, fd := range m.files {
		unix.CloseOnExec(fd)
	}
	if n < messageSize {
		return m, errors.New("message too short")
	}
	if binary.NativeEndian.Uint32(b[0:]) != magic || binary.NativeEndian.Uint32(b[4:]) != version {
		return m, errVersion
	}
	m.op, m.id = binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:])
	m.size, m.readOnly = binary.NativeEndian.Uint64(b[16:]), b[24] == 1
	m.refusal = string(b[messageSize:n])
	return m, nil
}

func closeAll(files []int) {
	for _, fd := range files {
		_ = unix.Close(fd)
	}
}
