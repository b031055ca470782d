package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func mustParse(t *testing.T, text string, opts LoadOptions) *Config {
	t.Helper()
	c, err := Parse("test.yaml", "yaml", []byte(text), opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustLoad(t *testing.T, path string) *Config {
	t.Helper()
	c, err := Load(t.Context(), path, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sameButPlaces compares configurations without their positions. It compares options as JSON.
var sameButPlaces = cmp.Options{
	cmpopts.IgnoreTypes(Position{}), cmpopts.IgnoreFields(Config{}, "File", "Warnings"), cmpopts.IgnoreUnexported(Config{}, Route{}),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b Options) bool {
		return optionsText(a) == optionsText(b)
	}),
}

const anyOptions = `{"type": "object", "properties": {
	"Keep.Case": {"type": "object", "additionalProperties": {"type": "string"}},
	"list": {"type": "array", "items": {"type": "string"}}}}`

func optionsText(o Options) string {
	c := Codec{Options: o}
	out, err := c.OptionsJSON(json.RawMessage(anyOptions))
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// The configuration in the design, without the parts that are not built yet.
func TestDesignConfiguration(t *testing.T) {
	got := mustLoad(t, "testdata/good/design.yaml")
	want := Default()
	dir, err := filepath.Abs("testdata/good")
	if err != nil {
		t.Fatal(err)
	}
	want.Plugins = []Plugin{{
		Name: "cobs", Path: filepath.Join(dir, "framehost-codec-cobs"), DataPlane: DataPlaneAuto,
		SHA256: "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		Args:   []string{"-v", "12"}, Env: map[string]string{"A": "1", "B": "", "c": "yes"},
	}}
	timeouts := want.Timeouts
	timeouts.Idle = 10 * time.Minute
	endpoint := func(e Endpoint) Endpoint {
		d := defaultEndpoint()
		d.Listen, d.Dial, d.Codec, d.Select = e.Listen, e.Dial, e.Codec, e.Select
		return d
	}
	want.Routes = []Route{{
		Name: "scales",
		From: endpoint(Endpoint{
			Listen: &Address{Scheme: "tcp", Host: "127.0.0.1", Port: 7001}, Codec: "scale",
			Select: []Rule{
				{Address: netip.MustParsePrefix("10.1.0.0/16"), Codec: "mainframe"}, {StartsWith: "\x0b", Codec: "hl7"},
			},
		}),
		To:          endpoint(Endpoint{Dial: &Address{Scheme: "tcp", Host: "localhost", Port: 7002}, Codec: "mainframe"}),
		OnViolation: ViolationClose, Limits: want.Limits, Timeouts: timeouts,
	}, {
		Name:        "nmea",
		From:        endpoint(Endpoint{Listen: &Address{Scheme: "udp", Host: "0.0.0.0", Port: 10110}, Codec: "nmea"}),
		To:          endpoint(Endpoint{Listen: &Address{Scheme: "tcp", Host: "0.0.0.0", Port: 10110}, Codec: "nmea"}),
		OnViolation: ViolationClose, Limits: want.Limits, Timeouts: want.Timeouts,
	}}
	want.Routes[1].From.Direction = Receive
	ignoreCodecs := cmpopts.IgnoreFields(Config{}, "Codecs")
	if diff := cmp.Diff(want, got, sameButPlaces, ignoreCodecs, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	wants := []struct {
		name, plugin, options string
		maxFrame              Size
	}{
		{"scale", "escape", `{"escape":"\\","terminator":"LF"}`, 0},
		{"mainframe", "lenprefix", `{"format":"ascii_dec","width":4}`, 9999},
		{"hl7", "escape", `{"start":11,"style":"none","terminator":7181}`, 0}, // no schema here: 0x0B is a number
		{"nmea", "escape", `{"also_accept":["LF"],"style":"none","terminator":"CRLF"}`, KiB},
		{"packed", "cobs", `{}`, 0},
	}
	for _, w := range wants {
		c := got.Codec(w.name)
		if c.Plugin != w.plugin || c.MaxFrame != w.maxFrame {
			t.Errorf("codec %s: got plugin %s and max_frame %s, want %s and %s", w.name, c.Plugin, c.MaxFrame, w.plugin, w.maxFrame)
		}
		options, err := c.OptionsJSON(json.RawMessage(`{"type": "object"}`))
		if err != nil || string(options) != w.options {
			t.Errorf("codec %s: got options %s, %v, want %s", w.name, options, err, w.options)
		}
	}
	if len(got.Warnings) > 0 {
		t.Errorf("got warnings %v, want none", got.Warnings)
	}
}

func TestFormatsAgree(t *testing.T) {
	want := mustLoad(t, "testdata/good/all.yaml")
	if want.Codec("b").MaxFrame != 1000 || len(want.Routes) != 3 {
		t.Fatalf("got %+v", want)
	}
	for _, file := range []string{"testdata/good/all.toml", "testdata/good/all.json"} {
		if diff := cmp.Diff(want, mustLoad(t, file), sameButPlaces); diff != "" {
			t.Errorf("%s (-all.yaml +got):\n%s", file, diff)
		}
	}
	options, err := want.Codec("b").OptionsJSON(json.RawMessage(anyOptions))
	if want := `{"Keep.Case":{"0x0A":"0012"},"list":["LF","0x0D"],"on":true,"width":4}`; err != nil || string(options) != want {
		t.Errorf("got options %s, %v, want %s: case and dots are kept", options, err, want)
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	c := mustLoad(t, "testdata/good/anchors.yaml")
	first, second := c.Routes[0], c.Routes[1]
	if first.Timeouts.Idle != 2*time.Hour || first.Timeouts.Frame != 10*time.Minute || second.Timeouts.Idle != time.Hour {
		t.Errorf("got timeouts %+v and %+v", first.Timeouts, second.Timeouts)
	}
	if second.From.Listen.Port != 7003 || second.To.Dial.Port != 7002 || c.Codecs[1].Name != "b" || c.Codecs[1].Plugin != "escape" {
		t.Errorf("got %+v and %+v", second, c.Codecs[1])
	}
}

func TestEmbeddedFiles(t *testing.T) {
	c, err := Parse(DefaultFile, "yaml", DefaultYAML, LoadOptions{})
	if err != nil || len(c.Warnings) > 0 {
		t.Fatal(err, c)
	}
	r := c.Routes[0]
	if r.From.Listen.String() != "tcp://127.0.0.1:7001" || r.To.Dial.String() != "tcp://127.0.0.1:7002" {
		t.Errorf("got %s to %s", r.From.Listen, r.To.Dial)
	}
	if got := r.MaxFrame(c.Codec(r.To.Codec)); got != 9999 {
		t.Errorf("got max_frame %d, want 9999: the profile's", got)
	}
	if c, err = Parse("starter.yaml", "yaml", StarterYAML, LoadOptions{}); err != nil || len(c.Warnings) > 0 {
		t.Fatal(err, c)
	}
	if diff := cmp.Diff(Default(), c, sameButPlaces, cmpopts.IgnoreFields(Config{}, "Routes", "Codecs")); diff != "" {
		t.Errorf("what the starter says are the defaults is not (-want +got):\n%s", diff)
	}
}

func TestAnEmptyFileHasTheDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "{}", "---\n", "\ufeff{}", "codecs: []\nroutes: []\n"} {
		c := mustParse(t, text, LoadOptions{})
		if diff := cmp.Diff(Default(), c, sameButPlaces, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestMaxFrame(t *testing.T) {
	tests := []struct {
		name, limits, routeLimits, codec string
		want                             int
	}{
		{"the default", "{}", "{}", "{}", 1 << 20},
		{"no limit is the greatest there is", "{max_frame: 0}", "{}", "{}", 1 << 30},
		{"no limit in a route", "{}", "{max_frame: 0B}", "{}", 1 << 30},
		{"a route's goes before that of all", "{max_frame: 1kB}", "{max_frame: 2kB}", "{}", 2000},
		{"a codec's goes before that of all", "{max_frame: 1kB}", "{}", "2kB", 2000},
		{"a route's is a ceiling for a codec's", "{}", "{max_frame: 1kB}", "2kB", 1000},
		{"a codec's below a route's", "{}", "{max_frame: 3kB}", "2kB", 2000},
	}
	for _, test := range tests {
		codec := "{name: a, profile: newline}"
		if test.codec != "{}" {
			codec = "{name: a, profile: newline, max_frame: " + test.codec + "}"
		}
		c := mustParse(t, "limits: "+test.limits+"\ncodecs: ["+codec+"]\nroutes: [{name: r, limits: "+test.routeLimits+
			", from: {listen: 'tcp://:1', codec: a}, to: {dial: 'tcp://a:1', codec: a}}]", LoadOptions{})
		if got := c.Routes[0].MaxFrame(c.Codec("a")); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
}

// Values of parts that are not built yet are accepted if they change nothing, so that files written for all of framehost work.
func TestUnbuiltPartsWithTheirDefaults(t *testing.T) {
	mustParse(t, `
metrics: {listen: ""}
discovery: {port: 7331, interfaces: [], key_file: ""}
codecs: [{name: a, profile: newline}]
routes: [{name: r, from: {listen: 'tcp://:1', codec: a, proxy_protocol: off}, to: {dial: 'tcp://a:1', codec: a}}]
`, LoadOptions{})
}

func TestPluginsHaveTheirOwnDataPlaneOrThatOfAll(t *testing.T) {
	const plugins = "plugins: [{name: a, path: a}, {name: b, path: b, data_plane: grpc}, {name: c, path: c, data_plane: auto}]\n"
	tests := []struct {
		name, yaml, env string
		set             []string
		want            []DataPlane // of all, a, b and c
	}{
		{"nothing is said", plugins, "", nil, []DataPlane{"auto", "auto", "grpc", "auto"}},
		{"the file says shm", "data_plane: shm\n" + plugins, "", nil, []DataPlane{"shm", "shm", "grpc", "auto"}},
		{"after the plugins", plugins + "data_plane: shm\n", "", nil, []DataPlane{"shm", "shm", "grpc", "auto"}},
		{"a variable says grpc", "data_plane: shm\n" + plugins, "grpc", nil, []DataPlane{"grpc", "grpc", "grpc", "auto"}},
		{"a flag says shm", plugins, "grpc", []string{"data_plane=shm"}, []DataPlane{"shm", "shm", "grpc", "auto"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("FRAMEHOST_DATA_PLANE", test.env)
			c := mustParse(t, test.yaml, LoadOptions{Env: true, Set: test.set})
			got := []DataPlane{c.DataPlane}
			for _, p := range c.Plugins {
				got = append(got, p.DataPlane)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "relay.yaml")
	text := `
control: {socket: c.sock}
quarantine: {dir: ../q}
plugins: [{name: x, path: x}]
codecs: [{name: a, plugin: x}]
routes: [{name: r, from: {listen: 'unix://in/a.sock', codec: a}, to: {dial: 'unix:///b.sock', codec: a}}]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, file)
	r := c.Routes[0]
	got := []string{c.Control.Socket, c.Quarantine.Dir, c.Plugins[0].Path, r.From.Listen.Path, r.To.Dial.Path}
	want := []string{filepath.Join(dir, "c.sock"), filepath.Join(filepath.Dir(dir), "q"), filepath.Join(dir, "x"),
		filepath.Join(dir, "in/a.sock"), "/b.sock"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if r.From.Mode != 0o660 {
		t.Errorf("got mode %o, want the default 660", r.From.Mode)
	}
}

func TestLoadOfWhatIsNotThere(t *testing.T) {
	if _, err := Load(t.Context(), filepath.Join(t.TempDir(), "none.yaml"), LoadOptions{}); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("got %v, want an error that names the file", err)
	}
	if _, err := Load(t.Context(), t.TempDir(), LoadOptions{}); err == nil {
		t.Error("a directory was read")
	}
	long := filepath.Join(t.TempDir(), "long.yaml")
	if err := os.WriteFile(long, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), long, LoadOptions{}); err == nil {
		t.Error("an endless file was read")
	}
}

func TestWhere(t *testing.T) {
	c := mustLoad(t, "testdata/good/design.yaml")
	file := "testdata/good/design.yaml"
	tests := []struct{ key, want string }{
		{"routes[0].from.listen", file + ":24:15: routes[0].from.listen"},
		{"routes[0].from.select[1].starts_with", file + ":28:25: routes[0].from.select[1].starts_with"},
		{"routes[0].to.direction", file + ":29:9: routes[0].to.direction"},
		{"nothing", file + ": nothing"},
	}
	for _, test := range tests {
		if got := c.Where(test.key).String(); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
	if got := c.Routes[0].From.Select[1].At.Line; got != 28 {
		t.Errorf("got a rule at line %d, want 28", got)
	}
}

// Which routes are hubs, and which are paired.
func TestIsHub(t *testing.T) {
	tests := []struct {
		from, to string
		want     bool
	}{
		{"{listen: 'tcp://:1'}", "{dial: 'tcp://a:1'}", false},
		{"{dial: 'tcp://a:1'}", "{dial: 'tcp://a:2'}", false},
		{"{listen: 'tcp://:1'}", "{dial: 'discover://a'}", false},
		{"{listen: 'tcp://:1'}", "{listen: 'tcp://:2'}", true},
		{"{dial: 'tcp://a:1'}", "{listen: 'tcp://:2'}", true},
		{"{listen: 'tcp://:1'}", "[{dial: 'tcp://a:1'}]", true},
		{"{listen: 'tcp://:1'}", "[{dial: 'tcp://a:1'}, {dial: 'tcp://a:2'}]", true},
		{"{listen: 'tcp://:1'}", "{dial: 'udp://a:1'}", true},
		{"{listen: 'tcp://:1'}", "{listen: 'udp://:1'}", true},
		{"{dial: 'udp://a:1'}", "{dial: 'tcp://a:1'}", true},
		{"{listen: 'udp://:1'}", "{dial: 'tcp://a:1'}", true},
		{"{listen: 'udp://:1'}", "{dial: 'udp://a:1'}", true},
		{"{listen: 'udp://:1', udp: {flows: {}}}", "{dial: 'tcp://a:1'}", false},
		{"{listen: 'udp://:1', udp: {flows: {max: 1}}}", "{dial: 'udp://a:1'}", false},
	}
	for _, test := range tests {
		route := strings.NewReplacer("{listen", "{codec: a, listen", "{dial", "{codec: a, dial").
			Replace("{name: r, from: " + test.from + ", to: " + test.to + "}")
		c := mustParse(t, "codecs: [{name: a, profile: newline}]\nroutes: ["+route+"]", LoadOptions{})
		if got := c.Routes[0].IsHub(); got != test.want {
			t.Errorf("from %s to %s: got %t, want %t", test.from, test.to, got, test.want)
		}
	}
}

func TestBroadcastConfiguration(t *testing.T) {
	c := mustLoad(t, "testdata/good/broadcast.yaml")
	route := func(name string) *Route {
		return &c.Routes[slices.IndexFunc(c.Routes, func(r Route) bool { return r.Name == name })]
	}
	dir, err := filepath.Abs("testdata/good")
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, want, got any) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("discovery", Discovery{
		Port: 7332, Interfaces: []string{"eth0", "192.168.1.5", "10.0.0.0/8"}, KeyFile: filepath.Join(dir, "lan.key"),
	}, c.Discovery)

	feed := route("feed")
	check("a listener's udp", UDP{Interfaces: []string{"eth0", "10.0.0.0/8", "fe80::1"}, TTL: 1, ReceiveBuffer: 8 * MiB}, feed.From.UDP)
	check("a queue", Queue{Frames: 16, Bytes: 64 * KiB, Policy: Disconnect}, feed.To.Queue)
	check("the default of a queue", Queue{Frames: 1024, Bytes: MiB, Policy: DropOldest}, feed.From.Queue)
	check("echo", []bool{false, true}, []bool{feed.From.Echo, feed.To.Echo})
	check("announce", &Announce{Service: "nmea", Interval: 20 * time.Second, TTL: time.Minute,
		Labels: map[string]string{"ship": "Zoë", "mmsi": "211234560"}, DNSSD: "_nmea-0183._tcp"}, feed.To.Announce)
	check("announce with a ttl", &Announce{Service: "answers", Interval: time.Second, TTL: 2 * time.Second}, route("answers").From.Announce)

	out := route("out")
	var sides []string
	for i, e := range out.Sides() {
		sides = append(sides, e.Address().String()+" "+string(e.Direction)+" "+string(e.Queue.Policy))
		if want := "routes[1]" + out.sideKey(i); e.At.Key != want {
			t.Errorf("got side %d at %s, want %s", i, e.At.Key, want)
		}
	}
	check("the sides of a hub", []string{
		"tcp://127.0.0.1:10111 both drop_oldest", "udp://255.255.255.255:10110 both block", "udp://239.192.0.1:60001 send drop_oldest",
		"udp://:10110 receive drop_oldest", "discover://chart-plotter both drop_oldest",
	}, sides)
	check("ttl", []int{1, 4}, []int{out.To.UDP.TTL, out.More[0].UDP.TTL})
	check("groups", []netip.Addr{netip.MustParseAddr("239.192.0.1"), netip.MustParseAddr("239.192.0.2")}, out.More[1].UDP.Groups)
	check("a service", "chart-plotter", out.More[2].Dial.Service)
	if out.Sides()[1] != &out.To || out.Sides()[4] != &out.More[2] {
		t.Error("Sides returns copies")
	}

	check("flows", &Flows{Max: 64, Idle: 10 * time.Second}, route("answers").From.UDP.Flows)
	check("the default of flows", &Flows{Max: 1024, Idle: time.Minute}, route("forward").From.UDP.Flows)
	check("directions with flows", []Direction{Both, Both}, []Direction{route("answers").From.Direction, route("forward").From.Direction})
	check("an address with a zone", "udp [fe80::2%eth0]:60002", strings.Join(networkOf(route("forward").To.Dial), " "))
}

func networkOf(a *Address) []string {
	network, address := a.Network()
	return []string{network, address}
}

// The default TTL of an announcement is three intervals, within its limits.
func TestAnnounceTTL(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"":                          30 * time.Second,
		", interval: 1s":            30 * time.Second,
		", interval: 11s":           33 * time.Second,
		", interval: 30m":           time.Hour,
		", interval: 1s, ttl: 2s":   2 * time.Second,
		", interval: 30m, ttl: 60m": time.Hour,
		", ttl: 20s":                20 * time.Second,
	} {
		c := mustParse(t, "codecs: [{name: a, profile: newline}]\nroutes: [{name: r, from: {listen: 'tcp://:1', codec: a, "+
			"announce: {service: s"+text+"}}, to: {dial: 'tcp://a:1', codec: a}}]", LoadOptions{})
		if got := c.Routes[0].From.Announce.TTL; got != want {
			t.Errorf("service: s%s: got ttl %s, want %s", text, got, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	c := mustParse(t, `
codecs:
  - {name: s, profile: swapterm}
  - {name: s2, plugin: swapterm, options: {length: 2}, max_frame: 100B}
  - {name: s3, plugin: swapterm, options: {length: 3}, max_frame: 16MiB}
  - {name: eof, profile: redis-eof}
routes:
  - name: r
    limits: {max_connections: 20000}
    from:
      listen: tcp://127.0.0.1:7001
      codec: s
      select:
        - {address: 10.0.0.0/8, codec: s}
        - {starts_with: ab, codec: s}
        - {address: 10.1.0.0/16, codec: s}
        - {starts_with: abc, codec: s}
        - {starts_with: a, codec: s}
    to: {dial: "tcp://127.0.0.1:7001", codec: s, reconnect: {max: 1m}}
  - name: hub
    from: {listen: "tcp://localhost:7002", codec: eof, announce: {service: a}}
    to:
      - {dial: "tcp://localhost:7003", codec: eof, reconnect: {max: 1m}}
      - {dial: "tcp://localhost:7002", codec: eof}
`, LoadOptions{})
	var got []string
	for _, w := range c.Warnings {
		got = append(got, w.String())
	}
	want := []string{
		"test.yaml:3:5: codecs[0]: there are 256 terminators of length 1, and a payload of max_frame 1MiB can hold them all: it would be refused",
		"test.yaml:5:5: codecs[2]: there are 16777216 terminators of length 3, and a payload of max_frame 16MiB can hold them all: it would be refused",
		"test.yaml:9:31: routes[0].limits.max_connections: 20000 is more than the 10000 of all routes together",
		"test.yaml:16:11: routes[0].from.select[2]: never matches: routes[0].from.select[0] takes everything that it would",
		"test.yaml:17:11: routes[0].from.select[3]: never matches: routes[0].from.select[1] takes everything that it would",
		"test.yaml:19:16: routes[0].to.dial: this route dials itself",
		"test.yaml:19:61: routes[0].to.reconnect: has no effect where from listens: a connection that can't be made ends its session",
		"test.yaml:21:66: routes[1].from.announce: tcp://localhost:7002 is reached from this machine alone",
		"test.yaml:24:16: routes[1].to[1].dial: this route dials itself",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if c := mustParse(t, "", LoadOptions{}); len(c.Warnings) != 1 {
		t.Errorf("got %v, want a warning that there is no route", c.Warnings)
	}
}

func TestGoodConfigurations(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if c := mustLoad(t, file); len(c.Warnings) > 0 {
			t.Errorf("%s: got warnings %v", file, c.Warnings)
		}
	}
}

func TestPlacesCountCharacters(t *testing.T) {
	for format, text := range map[string]string{
		"yaml": "log: {format: \"ü\", level: ä b  }\nlimits:\n  memory: x  y   \n",
		"json": "{\"log\": {\"x\": \"üü\", \"level\": 1},\r\n \"limits\": {\"memory\": \"x\"}}",
		"toml": "log = {\"ü\" = \"üü\", level = 'loud'}\nlimits.memory = 'x'\n",
	} {
		_, err := Parse("f", format, []byte(text), LoadOptions{})
		want := map[string]string{
			"yaml": "f:1:15: log.format, f:1:27: log.level, f:3:11: limits.memory",
			"json": "f:1:10: log.x, f:1:30: log.level, f:2:23: limits.memory",
			"toml": "f:1:8: log.ü, f:1:28: log.level, f:2:17: limits.memory",
		}[format]
		var errs Errors
		errors.As(err, &errs)
		var got []string
		for _, e := range errs {
			got = append(got, e.position().String())
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: got %s, want %s", format, strings.Join(got, ", "), want)
		}
	}
}

// Whether one payload can hold all terminators of a swapterm codec depends on the limits of the routes that use the codec.
func TestTerminatorsAndTheLimitOfARoute(t *testing.T) {
	for _, tt := range []struct {
		limit string
		warns bool
	}{{"255B", false}, {"256B", true}} {
		c := mustParse(t, `
codecs: [{name: s, plugin: swapterm, options: {mode: declared, length: 1}}]
routes: [{name: r, from: {listen: "tcp://:1", codec: s}, to: {dial: "tcp://a:1", codec: s}, limits: {max_frame: `+tt.limit+`}}]
`, LoadOptions{Builtin: []string{"swapterm"}})
		warns := slices.ContainsFunc(c.Warnings, func(w Warning) bool { return strings.Contains(w.Text, "there are 256 terminators") })
		if warns != tt.warns {
			t.Errorf("limits.max_frame %s: got %v, want a warning: %v", tt.limit, c.Warnings, tt.warns)
		}
	}
}

// Merge keys can't make many times the memory of the file.
func TestMergeKeysAreBounded(t *testing.T) {
	var text strings.Builder
	text.WriteString("a: &a {")
	for i := range 1000 {
		fmt.Fprintf(&text, "k%d: 1, ", i)
	}
	text.WriteString("z: 1}\nb:\n" + strings.Repeat("- <<: *a\n", 20_000))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Parse("test.yaml", "yaml", []byte(text.String()), LoadOptions{})
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "values, with aliases written out") {
		t.Errorf("got %v, want an error about the number of values", err)
	}
	if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 300 {
		t.Errorf("it took %d MiB", used)
	}
}
