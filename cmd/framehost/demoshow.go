package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
)

var errDiffers = errors.New("strings arrived that are not what was sent")

// showProcesses prints the processes that were started, and returns the plugin processes of the relay.
func (d *demo) showProcesses() (processes int) {
	var names []string
	for _, p := range d.host.Status().Plugins {
		names = append(names, fmt.Sprintf("%s (%d)", p.Name, p.PID))
	}
	fmt.Fprintf(d.out, "A relay runs, and its codecs in processes of their own: %s.\n", strings.Join(names, ", "))
	fmt.Fprintf(d.out, "Below, each string that is sent, its bytes on the wire of either side, and what arrived.%s\n",
		d.legend())
	return len(names)
}

// legend explains the colours, if there are any.
func (d *demo) legend() string {
	if !d.paint.on {
		return ""
	}
	return fmt.Sprintf(" %s; %s.", d.paint.part(framing, "Framing"), d.paint.part(standsFor, "what stands for other bytes"))
}

// show prints the strings that crossed a route. by are the codecs of its two sides.
func (d *demo) show(ctx context.Context, index int, listens, upstream string, by [2]codeccall.Codec, crossed []crossing) error {
	r := &demoRoutes[index]
	fmt.Fprintf(d.out, "\n%s\n%s\n", d.paint.title(fmt.Sprintf("%d. %s", index+1, r.name)), r.story)
	fmt.Fprintln(d.out, d.paint.faint(fmt.Sprintf("  %-10s  {%s}, connects to %s", r.from.who, r.from.codec, listens)))
	fmt.Fprintln(d.out, d.paint.faint(fmt.Sprintf("  %-10s  {%s}, is reached at tcp://%s", r.to.who, r.to.codec, upstream)))
	codecOf := map[string]codeccall.Codec{r.from.who: by[0], r.to.who: by[1]}
	for i := range crossed {
		c := &crossed[i]
		verb := "sends"
		if c.from == r.to.who {
			verb = "answers"
		}
		fmt.Fprintf(d.out, "\n  %s %s %q\n", c.from, verb, c.sent.payload)
		width := max(len(c.sent.wire), len(c.received.wire))
		for _, end := range []wireEnd{{c.from, &c.sent}, {c.to, &c.received}} {
			parts, err := d.parts(ctx, codecOf[end.who], end.frame, wiresOf(end.who, crossed, end.frame))
			if err != nil {
				return err
			}
			d.showWire(end, parts, width)
		}
		d.showArrival(c)
	}
	return nil
}

// A wireEnd is a frame on the wire of one side.
type wireEnd struct {
	who   string
	frame *demoFrame
}

// showWire prints a frame as hex, in a column for width bytes, and as text.
func (d *demo) showWire(end wireEnd, parts []part, width int) {
	hex, text := "", ""
	for _, p := range parts {
		hex += d.paint.part(p.kind, fmt.Sprintf("% X ", p.wire))
		text += d.paint.part(p.kind, pictures(p.wire))
	}
	pad := strings.Repeat(" ", 3*(width-len(end.frame.wire)))
	fmt.Fprintf(d.out, "    %-19s %s%s  %s\n", "wire of "+end.who, hex, pad, text)
}

func (d *demo) showArrival(c *crossing) {
	verdict := d.paint.good("✓ the same")
	if c.same() {
		d.same++
	} else {
		d.other++
		verdict = d.paint.bad("✗ not what was sent")
	}
	fmt.Fprintf(d.out, "    %-19s %q  %s, %s\n", c.to+" got", c.received.payload, verdict, count(len(c.received.payload), "byte"))
}

// wiresOf returns the frames on one side's wire, except one.
func wiresOf(who string, crossed []crossing, but *demoFrame) (wires [][]byte) {
	for i := range crossed {
		c := &crossed[i]
		frame := &c.received
		if c.from == who {
			frame = &c.sent
		}
		if frame != but {
			wires = append(wires, frame.wire)
		}
	}
	return wires
}

// parts splits a frame into payload and framing, for colours. others are frames of the same codec.
func (d *demo) parts(ctx context.Context, codec codeccall.Codec, frame *demoFrame, others [][]byte) ([]part, error) {
	if !d.paint.on {
		return []part{{plain, frame.wire, nil}}, nil
	}
	_, at, err := decodeOne(ctx, codec, frame.wire)
	if err != nil {
		return nil, err
	}
	return align([]byte(frame.payload), frame.wire, at, others), nil
}

// pictures returns each byte as one column. For control characters it uses the pictures that Unicode has of them.
func pictures(wire []byte) string {
	var b strings.Builder
	for _, c := range wire {
		switch {
		case c < ' ':
			b.WriteRune('␀' + rune(c))
		case c == 0x7f:
			b.WriteRune('␡')
		case c > 0x7f:
			b.WriteRune('·')
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// showEnd prints the result of the demo.
func (d *demo) showEnd(routes, processes int) error {
	took := time.Since(d.begun).Round(10 * time.Millisecond)
	if d.other > 0 {
		return fmt.Errorf("%w: %d of %d", errDiffers, d.other, d.same+d.other)
	}
	_, err := fmt.Fprintf(d.out, "\n%s %s crossed %s byte for byte, in %s; the relay and its %s have ended.\n",
		d.paint.good("✓"), count(d.same, "string"), count(routes, "route"), took, count(processes, "plugin"))
	return err
}
