package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/host"
	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/plugins"
)

// demoPatience is how long the whole demo may take on a slow machine.
const demoPatience = 30 * time.Second

func newDemo() *cobra.Command {
	var noColor bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Relay real traffic between all four codecs, and show every byte",
		Long: `Start a relay with four routes on free loopback ports, with each codec on either side; connect to it, send strings
both ways, and show what each side sent and received, byte for byte. The codecs run as plugin processes, as they
do in earnest. On Linux a fifth route has broadcasts on loopback reach two clients over TCP, and what a client
sends leave as a broadcast. Nothing is left behind, and no network is needed.

The exit code is 0 only if every string arrived as it was sent.`,
		Example: `  framehost demo
  framehost demo --no-color | less`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), demoPatience, fmt.Errorf("not done after %s", demoPatience))
			defer cancel()
			out := cmd.OutOrStdout()
			d := demo{out: out, paint: paletteFor(out, noColor), begun: time.Now()}
			err := d.run(ctx)
			if err != nil && cmd.Context().Err() == nil && ctx.Err() != nil {
				err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
			}
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&noColor, "no-color", false, "no colours, as with the variable NO_COLOR; without a terminal there are none")
	return cmd
}

// A demo is `framehost demo` under way.
type demo struct {
	out   io.Writer
	paint palette
	begun time.Time
	host  *host.Host
	// codecs are the codecs of the configuration, opened a second time for the clients and servers of the demo.
	codecs *plugins.Set
	config *config.Config
	same   int // number of strings that arrived as they were sent
	other  int // number of strings that did not
}

func (d *demo) run(ctx context.Context) (err error) {
	servers, upstreams, err := listenAll(ctx, len(demoRoutes))
	defer func() {
		for _, server := range servers {
			_ = server.Close()
		}
	}()
	if err != nil {
		return err
	}
	air, err := openBroadcasts(ctx)
	if err != nil {
		return err
	}
	if air != nil {
		defer func() { _ = air.close() }() // by then the received strings have been compared
	}
	text := demoConfig(demoRoutes, upstreams, air)
	d.config, err = config.Parse("demo", "yaml", []byte(text), config.LoadOptions{Builtin: builtinNames()})
	if err != nil {
		return err
	}
	if d.host, err = host.Start(ctx, d.config, host.Options{}); err != nil {
		return err
	}
	d.codecs = plugins.Open(d.config, nil)
	processes := d.showProcesses()
	for i := range demoRoutes {
		if err = d.route(ctx, i, servers[i]); err != nil {
			err = fmt.Errorf("route %s: %w", demoRoutes[i].name, err)
			break
		}
	}
	routes := len(demoRoutes)
	if air == nil {
		fmt.Fprintln(d.out, "\nWhere loopback can broadcast, as on Linux, there is one more route.")
	}
	if err == nil && air != nil {
		routes++
		if err = d.feed(ctx, air); err != nil {
			err = fmt.Errorf("route %s: %w", feedRoute, err)
		}
	}
	if err = errors.Join(err, d.host.Shutdown(ctx), d.codecs.Close()); err != nil {
		return err
	}
	return d.showEnd(routes, processes)
}

// listenAll opens n listeners on free ports. The caller closes them, even after an error.
func listenAll(ctx context.Context, n int) (listeners []net.Listener, addresses []string, err error) {
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return listeners, nil, err
		}
		listeners = append(listeners, l)
		addresses = append(addresses, l.Addr().String())
	}
	return listeners, addresses, nil
}

// route sends strings between the two ends of a route, and shows them.
func (d *demo) route(ctx context.Context, index int, server net.Listener) error {
	r := &demoRoutes[index]
	from, err := d.codec(ctx, r.from.who)
	if err != nil {
		return err
	}
	to, err := d.codec(ctx, r.to.who)
	if err != nil {
		return err
	}
	listens := d.host.Addr(r.name)
	downstream, upstream, err := connect(ctx, listens.Address, server)
	if err != nil {
		return err
	}
	client := newDemoPeer(ctx, r.from.who, downstream, from)
	defer client.close()
	answerer := newDemoPeer(ctx, r.to.who, upstream, to)
	defer answerer.close()
	var crossed []crossing
	for _, talk := range r.talk {
		there, err := cross(ctx, client, answerer, talk.request)
		if err != nil {
			return err
		}
		back, err := cross(ctx, answerer, client, talk.reply)
		if err != nil {
			return err
		}
		crossed = append(crossed, there, back)
	}
	err = errors.Join(client.hang(ctx), answerer.end(ctx), answerer.hang(ctx), client.end(ctx))
	if err != nil {
		return err
	}
	return d.show(ctx, index, listens.String(), server.Addr().String(), [2]codeccall.Codec{from, to}, crossed)
}

func (d *demo) codec(ctx context.Context, name string) (codeccall.Codec, error) {
	limits := config.Route{Limits: d.config.Limits}
	return d.codecs.Codec(ctx, name, limits.MaxFrame(d.config.Codec(name)))
}

// connect dials the relay, and accepts the connection that the relay makes.
func connect(ctx context.Context, relay string, server net.Listener) (downstream, upstream net.Conn, err error) {
	downstream, err = new(net.Dialer).DialContext(ctx, "tcp", relay)
	if err != nil {
		return nil, nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if upstream, err = server.Accept(); err != nil {
		_ = downstream.Close()
	}
	return downstream, upstream, err
}

// A crossing is one string on its way through the relay.
type crossing struct {
	from, to       string
	sent, received demoFrame
}

func (c *crossing) same() bool { return c.sent.payload == c.received.payload }

func cross(ctx context.Context, from, to *demoPeer, payload string) (c crossing, err error) {
	c = crossing{from: from.who, to: to.who}
	if c.sent, err = from.say(ctx, payload); err != nil {
		return c, err
	}
	c.received, err = to.hear(ctx)
	return c, err
}
