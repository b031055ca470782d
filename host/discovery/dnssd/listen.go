package dnssd

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"

	"github.com/hashicorp/mdns"
)

// A server is an mdns.Server with the method Close.
type server struct{ *mdns.Server }

// Close shuts the server down.
func (s server) Close() error { return s.Shutdown() }

// serve starts a server that answers queries received on the interface.
func serve(on *net.Interface, z *zone, log *log.Logger) (io.Closer, error) {
	s, err := mdns.NewServer(&mdns.Config{Zone: z, Iface: on, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("listen for multicast DNS on %s: %w", on.Name, errors.Join(err, why(on)))
	}
	return server{s}, nil
}

// why returns the reason why the library could not listen, which it does not report.
func why(on *net.Interface) error {
	c4, err4 := net.ListenMulticastUDP("udp4", on, group4)
	if err4 == nil {
		_ = c4.Close()
	}
	c6, err6 := net.ListenMulticastUDP("udp6", on, group6)
	if err6 == nil {
		_ = c6.Close()
	}
	return errors.Join(err4, err6)
}

// maxReason is the maximum length of a reason passed to Ignored, in bytes. The library prints the whole packet.
const maxReason = 200

// logger returns a logger for the library that calls ignored for each line. The library prints one for each packet that it
// does not understand.
func logger(ignored func(string)) *log.Logger {
	return log.New(reasons(ignored), "", 0)
}

type reasons func(string)

// Write calls r with one line that the library prints, shortened to maxReason.
func (r reasons) Write(line []byte) (int, error) {
	text := strings.TrimPrefix(strings.Join(strings.Fields(string(line)), " "), "[ERR] mdns: ")
	r(text[:min(len(text), maxReason)])
	return len(line), nil
}
