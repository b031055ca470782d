package intruder

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/framehost/framehost/codecs/codecshm"
)

// Intercept puts itself between the host and the SDK of this plugin process. Call it before codecrpc.Serve, in a process that was offered
// shared memory. Intercept calls take with each file that the host passes, which take must close, and with nil when there will be no
// more. It passes the same files, and all messages, on to the SDK.
func Intercept(take func(*os.File)) error {
	host, err := strconv.Atoi(os.Getenv(codecshm.Variable))
	if err != nil {
		return fmt.Errorf("%s: %w", codecshm.Variable, err)
	}
	unix.CloseOnExec(host)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, sdk := pair[0], pair[1]
	if err := os.Setenv(codecshm.Variable, strconv.Itoa(sdk)); err != nil {
		return err
	}
	go func() {
		_ = passOn(host, ours, func(fd int) {
			if own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
				take(os.NewFile(uintptr(own), "of the host"))
			}
		})
		take(nil)
		_ = unix.Shutdown(ours, unix.SHUT_RDWR)
	}()
	go func() {
		_ = passOn(ours, host, func(int) {})
		_ = unix.Shutdown(host, unix.SHUT_RDWR)
	}()
	return nil
}

var errEnd = errors.New("end")

// passOn copies messages from from to to until there are no more. It calls show with each descriptor in a message before passing it on.
func passOn(from, to int, show func(fd int)) error {
	message, rights := make([]byte, 4<<10), make([]byte, unix.CmsgSpace(64*4))
	for {
		n, rn, _, _, err := unix.Recvmsg(from, message, rights, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return errEnd
		}
		fds, err := descriptors(rights[:rn])
		if err != nil {
			return err
		}
		for _, fd := range fds {
			show(fd)
		}
		err = unix.Sendmsg(to, message[:n], unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		if err != nil {
			return err
		}
	}
}

func descriptors(rights []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		some, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, err
		}
		fds = append(fds, some...)
	}
	return fds, nil
}
