package main

import (
	"fmt"
	"strings"
)

// A demoRoute is a route with its two sides and the strings that they exchange.
type demoRoute struct {
	name     string
	story    string
	from, to demoSide
	talk     []demoTalk
}

// A demoSide is one side of a route, and the codec that it has in the configuration.
type demoSide struct{ who, codec string }

// demoTalk is a string that from sends, and the string with which to answers.
type demoTalk struct{ request, reply string }

// demoRoutes use each of the four codecs on both sides.
var demoRoutes = []demoRoute{
	{
		name:  "scales",
		story: "A scale ends its strings with LF, and escapes LF inside them; the mainframe wants four digits in front.",
		from:  demoSide{"scale", `plugin: escape, options: {terminator: LF, escape: '\'}`},
		to:    demoSide{"mainframe", `plugin: lenprefix, options: {width: 4, format: ascii_dec}, max_frame: 9999B`},
		talk:  []demoTalk{{"12.5 kg", "ok"}, {"tare\n0.2 kg", "stored:\n2 lines"}, {"", ""}},
	},
	{
		name:  "valves",
		story: "A web form can send text only, so it speaks base64; the controller wants DLE STX ... DLE ETX.",
		from:  demoSide{"form", `plugin: base64, options: {terminator: LF}`},
		to:    demoSide{"controller", `profile: dle-stx`},
		talk:  []demoTalk{{"open 3", "\x06"}, {"\x00\x10\x03\xff\n", "\x10\x02\r\n"}, {"", "\x15"}},
	},
	{
		name:  "notes",
		story: "A terminal ends notes with LF, and declares another end where LF is inside; the archive takes base64.",
		from:  demoSide{"terminal", `plugin: swapterm, options: {terminator: LF, marker: ESC}`},
		to:    demoSide{"archive", `profile: base64`},
		talk:  []demoTalk{{"hello", "hi"}, {"two\nlines", "kept\nboth"}, {"\x1b\x00\n\xfe", "\x1b[1m\n"}},
	},
	{
		name:  "alarms",
		story: "A syslog sender counts octets; the collector reads lines, or to the end that a message declares.",
		from:  demoSide{"sender", `profile: octet-counting`},
		to:    demoSide{"collector", `plugin: swapterm`},
		talk:  []demoTalk{{"<13>disk full", "noted"}, {"<11>panic:\n at 7f", "noted:\n2 lines"}},
	},
}

// demoConfig returns the configuration of routes and, unless air is nil, of the feed. The upstream of routes[i] listens on upstreams[i].
func demoConfig(routes []demoRoute, upstreams []string, air *broadcasts) string {
	var b strings.Builder
	b.WriteString("codecs:\n")
	for _, r := range routes {
		for _, side := range []demoSide{r.from, r.to} {
			fmt.Fprintf(&b, "  - {name: %s, %s}\n", side.who, side.codec)
		}
	}
	if air != nil {
		b.WriteString(feedCodecs())
	}
	b.WriteString("routes:\n")
	for i, r := range routes {
		fmt.Fprintf(&b, "  - name: %s\n", r.name)
		fmt.Fprintf(&b, "    from: {listen: \"tcp://127.0.0.1:0\", codec: %s}\n", r.from.who)
		fmt.Fprintf(&b, "    to:   {dial: \"tcp://%s\", codec: %s}\n", upstreams[i], r.to.who)
	}
	if air != nil {
		b.WriteString(feedRoutes(air))
	}
	return b.String()
}
