package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/host/discovery"
)

// A port is a flag that has the number of a port.
type port uint16

func (p *port) String() string { return strconv.Itoa(int(*p)) }
func (p *port) Type() string   { return "PORT" }

func (p *port) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return errors.New("want 1 to 65535")
	}
	*p = port(n)
	return nil
}

// A search is `framehost discover` with its flags.
type search struct {
	service    string // "": any
	asJSON     bool
	watch      bool
	timeout    time.Duration
	keyFile    string
	port       uint16
	interfaces []string
}

func newDiscover() *cobra.Command {
	var s search
	cmd := &cobra.Command{
		Use:   "discover [SERVICE]",
		Short: "Ask the LAN which services there are",
		Long: `Ask the LAN by broadcast for the services that framehosts announce (announce: in a configuration), or for those named
SERVICE, and print each one as it answers. The command waits for the whole of --timeout, since any number may answer; with
--watch it goes on until it is interrupted, and prints which services appear, change and go.

With --json each service is a JSON object on a line of its own. If the framehosts of the LAN have a key
(discovery.key_file), name the same file with --key-file: then only services whose announcements are signed with the key
are shown. Without --key-file every announced service is shown; but a framehost with a key does not answer, so its
services appear only when it next announces them by itself.

The exit code is 1 if no service answered.`,
		Example: `  framehost discover
  framehost discover scales --json
  framehost discover --watch --interface eth0 --key-file lan.key`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if s.service = args[0]; s.service == "" {
					return fmt.Errorf("discover: got an empty SERVICE, want a name, or none for any\n%s", seeHelp(cmd))
				}
			}
			if s.timeout <= 0 {
				return fmt.Errorf("discover: --timeout: got %s, want more than 0s\n%s", s.timeout, seeHelp(cmd))
			}
			return s.run(cmd)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&s.asJSON, "json", false, "as JSON, an object a line")
	f.BoolVar(&s.watch, "watch", false, "go on, and print what changes, until interrupted")
	f.DurationVar(&s.timeout, "timeout", 3*time.Second, "wait this long for answers")
	f.StringVar(&s.keyFile, "key-file", "", "the `FILE` with the key of the LAN")
	s.port = discovery.DefaultPort
	f.Var((*port)(&s.port), "port", "the UDP port of the LAN's announcements")
	f.StringArrayVar(&s.interfaces, "interface", nil, "ask on this interface alone, a `NAME` or an address of it; may be repeated")
	cmd.MarkFlagsMutuallyExclusive("watch", "timeout")
	return cmd
}

// run sends queries until the time is over or, with watch, until the command is interrupted.
func (s *search) run(cmd *cobra.Command) error {
	ctx, stop := context.WithCancelCause(cmd.Context())
	defer stop(nil)
	troubles := troubles{out: cmd.ErrOrStderr(), print: s.watch}
	station, err := s.station(ctx, &troubles)
	if err != nil {
		return err
	}
	show := newServiceList(cmd.OutOrStdout(), s.asJSON, s.watch)
	browser, err := discovery.NewBrowser(station, discovery.BrowserOptions{
		Service: s.service,
		Changed: func(change discovery.Change) {
			if err := show.change(change, time.Now()); err != nil {
				stop(failed(err))
			}
		},
	})
	if err != nil {
		stop(nil)
		return errors.Join(err, station.Run(ctx)) // which closes the socket
	}
	if !s.watch {
		timer := time.AfterFunc(s.timeout, func() { stop(errTimeOver) })
		defer timer.Stop()
	}
	var browsing sync.WaitGroup
	browsing.Go(func() { browser.Run(ctx) })
	err = station.Run(ctx)
	stop(err)
	browsing.Wait()
	switch cause := context.Cause(ctx); {
	case cause == errTimeOver && show.shown == 0:
		return failed(s.nothing(station.Stats(), troubles.last))
	case cause == errTimeOver, s.watch && cmd.Context().Err() != nil:
		return nil
	default:
		return failed(cause)
	}
}

// errTimeOver ends a search whose --timeout is over.
var errTimeOver = errors.New("the time is over")

// station opens the socket.
func (s *search) station(ctx context.Context, troubles *troubles) (*discovery.Station, error) {
	var key []byte
	if s.keyFile != "" {
		var err error
		if key, err = discovery.ReadKey(ctx, s.keyFile); err != nil {
			return nil, err
		}
	}
	for _, one := range s.interfaces {
		if err := discovery.CheckInterface(one); err != nil {
			return nil, fmt.Errorf("discover: --interface: %w", err)
		}
	}
	socket, err := discovery.ListenUDP(ctx, discovery.UDPOptions{Port: s.port, Interfaces: s.interfaces})
	if err != nil {
		return nil, failed(err)
	}
	station, err := discovery.NewStation(socket, discovery.StationOptions{Key: key, Failed: troubles.add})
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return station, nil
}

// nothing returns the error of a search that got no answer, with possible reasons.
func (s *search) nothing(stats discovery.StationStats, trouble error) error {
	what := "no service"
	if s.service != "" {
		what = "no service " + s.service
	}
	text := fmt.Sprintf("%s answered within %s", what, s.timeout)
	if s.keyFile == "" {
		text += "; framehosts with a key answer only with --key-file"
	}
	if stats.Unsigned+stats.Forged > 0 {
		text += fmt.Sprintf("; ignored %s that %s not signed with this key",
			count(int(stats.Unsigned+stats.Forged), "packet"), wasWere(stats.Unsigned+stats.Forged))
	}
	if trouble != nil {
		return fmt.Errorf("%s: %w", text, trouble)
	}
	return errors.New(text)
}

func wasWere(n int64) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// troubles collects the errors of the socket. They may be temporary, since the search tries the socket again.
type troubles struct {
	out   interface{ Write([]byte) (int, error) }
	print bool

	mu   sync.Mutex
	last error
}

// add keeps err as the last error. If t.print is true, add prints err, unless it is the same as the last error. add is safe for
// concurrent use.
func (t *troubles) add(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.print && (t.last == nil || t.last.Error() != err.Error()) {
		fmt.Fprintf(t.out, "framehost: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	t.last = err
}
