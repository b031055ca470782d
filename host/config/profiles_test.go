package config

import (
	"slices"
	"testing"
)

// TestProfiles does not check the examples; the tests of cmd/framehost, which have the plugins, do.
func TestProfiles(t *testing.T) {
	all, errs := readProfiles(profilesData)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	names := map[string]bool{}
	for _, p := range all {
		if names[p.Name] {
			t.Errorf("%s: there are two", p.Name)
		}
		names[p.Name] = true
		if !nameText.MatchString(p.Name) || !slices.Contains(builtinPlugins, p.Plugin) {
			t.Errorf("%s: plugin %s", p.Name, p.Plugin)
		}
		if len(p.Examples) == 0 || p.Options.own == nil {
			t.Errorf("%s: %d examples, options %v", p.Name, len(p.Examples), p.Options.own)
		}
		for _, e := range p.Examples {
			if p.MaxFrame > 0 && len(e.Payload) > int(p.MaxFrame) {
				t.Errorf("%s: an example of %d bytes is longer than max_frame", p.Name, len(e.Payload))
			}
		}
		got, ok := LookupProfile(p.Name)
		if !ok || got.Name != p.Name || got.Codec("x").Plugin != p.Plugin {
			t.Errorf("%s: found %v", p.Name, got)
		}
	}
	for _, name := range []string{
		"newline", "crlf", "nul", "escaped", "slip", "kiss", "ppp", "dle-stx", "stx-etx", "telnet-eor", "mllp", "json-seq",
		"ndjson", "nmea0183", "smtp-data", "dns-tcp", "kafka", "erlang-1", "erlang-2", "erlang-4", "rtp-tcp", "iso8583-2",
		"iso8583-2-inclusive", "iso8583-ascii4", "iso8583-hex4", "iso8583-bcd", "base24", "tpkt", "diameter", "smpp", "mbap",
		"bitcoin", "git-pktline", "octet-counting", "netstring", "resp-bulk", "base64", "base64url", "base64-mime", "swapterm",
		"redis-eof",
	} {
		if !names[name] {
			t.Errorf("%s is missing", name)
		}
	}
	if _, ok := LookupProfile("none"); ok {
		t.Error("a profile none was found")
	}
	list := Profiles()
	list[0].Name = "changed"
	if Profiles()[0].Name != "newline" {
		t.Error("the caller's slice is not its own")
	}
}
