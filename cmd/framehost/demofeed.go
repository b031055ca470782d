package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
)

// The broadcast part of the demo: an instrument that broadcasts on loopback, and two tablets that are connected over TCP.
const (
	feedRoute  = "feed"
	feedStory  = "An instrument broadcasts lines that end with CR LF; tablets want four digits in front, over TCP. And back."
	instrument = "instrument"
	tablet     = "tablet"

	instrumentCodec = `profile: nmea0183`
	tabletCodec     = `plugin: lenprefix, options: {width: 4, format: ascii_dec}`

	heardSentence = "$HEHDT,271.9,T*22"
	sentSentence  = "$GPAPA,A,A,0.10,R,N*68"
)

// A feed is the running broadcast part of the demo.
type feed struct {
	air     *broadcasts
	tablets [2]*demoPeer
	codecs  map[string]codeccall.Codec // by the name of the instrument or tablet
}

// feedCodecs and feedRoutes are the feed's part of the configuration.
func feedCodecs() string {
	return fmt.Sprintf("  - {name: %s, %s}\n  - {name: %s, %s}\n", instrument, instrumentCodec, tablet, tabletCodec)
}

func feedRoutes(air *broadcasts) string {
	to := strconv.Quote("udp://" + air.address())
	return fmt.Sprintf("  - name: %s\n    from: {listen: %s, codec: %s}\n    to:\n"+
		"      - {listen: \"tcp://127.0.0.1:0\", codec: %s}\n      - {dial: %s, codec: %s}\n",
		feedRoute, to, instrument, tablet, to, instrument)
}

// feed sends strings between the instrument and the tablets, and shows them.
func (d *demo) feed(ctx context.Context, air *broadcasts) error {
	f := &feed{air: air, codecs: map[string]codeccall.Codec{}}
	nmea, err := d.codec(ctx, instrument)
	if err != nil {
		return err
	}
	counted, err := d.codec(ctx, tablet)
	if err != nil {
		return err
	}
	f.codecs[instrument] = nmea
	defer func() {
		for _, t := range f.tablets {
			if t != nil {
				t.close()
			}
		}
	}()
	places := d.host.Addrs(feedRoute) // the broadcast address, and where the tablets connect
	for i := range f.tablets {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", places[1].Address)
		if err != nil {
			return err
		}
		who := fmt.Sprintf("%s %d", tablet, i+1)
		f.codecs[who] = counted
		f.tablets[i] = newDemoPeer(ctx, who, conn, counted)
	}
	if err := d.joined(ctx, len(f.tablets)); err != nil {
		return err
	}
	d.showFeed(places[0].String(), places[1].String())

	said, err := f.broadcast(ctx, heardSentence)
	if err != nil {
		return err
	}
	var crossed []crossing
	for _, t := range f.tablets {
		heard, err := t.hear(ctx)
		if err != nil {
			return err
		}
		crossed = append(crossed, crossing{from: instrument, to: t.who, sent: said, received: heard})
	}
	if err := d.showCast(ctx, f, "broadcasts", crossed); err != nil {
		return err
	}

	sender, other := f.tablets[0], f.tablets[1]
	if said, err = sender.say(ctx, sentSentence); err != nil {
		return err
	}
	onAir, err := f.listen(ctx)
	if err != nil {
		return err
	}
	heard, err := other.hear(ctx)
	if err != nil {
		return err
	}
	return d.showCast(ctx, f, "sends", []crossing{
		{from: sender.who, to: instrument, sent: said, received: onAir},
		{from: sender.who, to: other.who, sent: said, received: heard},
	})
}

// joined waits until the relay has n connections in the feed, because a broadcast reaches only the connections of that moment.
func (d *demo) joined(ctx context.Context, n int) error {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		for _, r := range d.host.Status().Routes {
			connected := 0
			if r.Hub != nil {
				for i := range r.Hub.Live {
					if r.Hub.Live[i].Peer != "" {
						connected++
					}
				}
			}
			if connected == n {
				return nil
			}
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("the tablets did not join: %w", ctx.Err())
		}
	}
}

// broadcast sends one string as the instrument.
func (f *feed) broadcast(ctx context.Context, payload string) (demoFrame, error) {
	var batch payloads
	batch.add([]byte(payload))
	w := newFrameWriter(f.air, f.codecs[instrument])
	defer w.close()
	if err := w.write(ctx, &batch); err != nil {
		return demoFrame{}, fmt.Errorf("%s broadcasts %q: %w", instrument, payload, err)
	}
	return demoFrame{payload, f.air.last}, nil
}

// listen waits for the next string that the instrument receives.
func (f *feed) listen(ctx context.Context) (demoFrame, error) {
	wire, err := f.air.receive(ctx)
	if err != nil {
		return demoFrame{}, fmt.Errorf("%s: nothing arrived: %w", instrument, err)
	}
	payloads, _, err := decodeOne(ctx, f.codecs[instrument], wire)
	if err != nil {
		return demoFrame{}, fmt.Errorf("%s: %w", instrument, err)
	}
	return demoFrame{strings.Join(payloads, ""), wire}, nil
}

func (d *demo) showFeed(broadcast, listens string) {
	fmt.Fprintf(d.out, "\n%s\n%s\n", d.paint.title(fmt.Sprintf("%d. %s", len(demoRoutes)+1, feedRoute)), feedStory)
	fmt.Fprintln(d.out, d.paint.faint(fmt.Sprintf("  %-10s  {%s}, broadcasts to %s, and hears what is broadcast there",
		instrument, instrumentCodec, broadcast)))
	fmt.Fprintln(d.out, d.paint.faint(fmt.Sprintf("  %-10s  {%s}, two of them connect to %s", tablet, tabletCodec, listens)))
}

// showCast prints one string that several received.
func (d *demo) showCast(ctx context.Context, f *feed, verb string, crossed []crossing) error {
	fmt.Fprintf(d.out, "\n  %s %s %q\n", crossed[0].from, verb, crossed[0].sent.payload)
	ends, width := []wireEnd{{crossed[0].from, &crossed[0].sent}}, len(crossed[0].sent.wire)
	for i := range crossed {
		ends = append(ends, wireEnd{crossed[i].to, &crossed[i].received})
		width = max(width, len(crossed[i].received.wire))
	}
	for _, end := range ends {
		parts, err := d.parts(ctx, f.codecs[end.who], end.frame, nil)
		if err != nil {
			return err
		}
		d.showWire(end, parts, width)
	}
	for i := range crossed {
		d.showArrival(&crossed[i])
	}
	return nil
}
