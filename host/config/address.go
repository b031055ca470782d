package config

import (
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Address is where an endpoint listens or dials.
type Address struct {
	At     Position
	Scheme string // tcp, unix, udp, or discover, which is only dialed
	// Host is for tcp and udp: a name or an IP address (an IPv6 address without brackets), or "" to listen on all addresses. For udp it
	// can also be a broadcast address or a multicast group, or "*".
	Host    string
	Port    int    // tcp and udp: 1 to 65535; to listen also 0, which means any free port
	Path    string // unix: absolute, or relative if the working directory is not known
	Service string // discover: the name by which the service is announced
}

// String returns a as a URL.
func (a *Address) String() string {
	switch a.Scheme {
	case "unix":
		return "unix://" + a.Path
	case "discover":
		return "discover://" + a.Service
	}
	return a.Scheme + "://" + a.HostPort()
}

// HostPort returns HOST:PORT as package net accepts it.
func (a *Address) HostPort() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// Network returns the arguments of net.Dial and net.Listen for a. The scheme must not be discover.
func (a *Address) Network() (network, address string) {
	if a.Scheme == "unix" {
		return "unix", a.Path
	}
	return a.Scheme, a.HostPort()
}

// maxSocketPath is the longest path of a Unix socket that Linux accepts, in bytes, without the NUL at its end.
const maxSocketPath = 107

// serviceText matches the service names that host/discovery accepts.
var serviceText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

const wantService = "1 to 63 letters, digits, dots, hyphens and underscores, a letter or digit first"

const wantURL = "a URL, such as tcp://127.0.0.1:7001 or unix:///run/scale.sock"

var schemes = []string{"tcp", "udp", "unix", "discover"}

// ParseAddress parses the URL of an endpoint: tcp://HOST:PORT, udp://HOST:PORT, unix://PATH or discover://SERVICE. A relative path is
// relative to dir. listen says whether the URL is for a listener or a dialer: only a listener may omit the host or have port 0, and only
// a dialer may have discover://SERVICE. Every error is a *Error, with Got and Want and without a position.
func ParseAddress(text, dir string, listen bool) (*Address, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found || scheme == "" {
		return nil, &Error{Got: quote(text), Want: wantURL}
	}
	if err := notBuiltScheme(text, scheme); err != nil {
		return nil, err
	}
	switch scheme {
	case "tcp", "udp":
		return parseHostPort(text, scheme, rest, listen)
	case "discover":
		switch {
		case listen:
			return nil, &Error{Got: quote(text), Want: "an address to listen at; discover:// is only for dial"}
		case !serviceText.MatchString(rest):
			return nil, &Error{Got: quote(text), Want: "discover://SERVICE, where SERVICE is " + wantService}
		}
		return &Address{Scheme: "discover", Service: rest}, nil
	case "unix":
		path := under(dir, rest)
		switch {
		case rest == "" || strings.HasSuffix(rest, "/"):
			return nil, &Error{Got: quote(text), Want: "a path, such as unix:///run/scale.sock"}
		case strings.ContainsRune(rest, 0):
			return nil, &Error{Got: quote(text), Want: "a path without NUL"}
		case len(path) > maxSocketPath:
			return nil, &Error{Got: "a path of " + strconv.Itoa(len(path)) + " bytes", Want: "at most " + strconv.Itoa(maxSocketPath)}
		}
		return &Address{Scheme: "unix", Path: path}, nil
	default:
		want := "a URL that begins with tcp://, udp:// or unix://"
		if !listen {
			want = "a URL that begins with tcp://, udp://, unix:// or discover://"
		}
		if s := Nearest(scheme, schemes); s != "" {
			want += "; did you mean " + s + "://?"
		}
		return nil, &Error{Got: quote(text), Want: want}
	}
}

func parseHostPort(text, scheme, rest string, listen bool) (*Address, error) {
	bad := func(want string) (*Address, error) { return nil, &Error{Got: quote(text), Want: want} }
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return bad("nothing after the port")
	}
	if strings.Contains(rest, "@") {
		return bad("a host without a user")
	}
	wantIPv6 := "an IPv6 address in brackets, such as " + scheme + "://[::1]:7001"
	wantPort := "a port from 0 to 65535, such as " + scheme + "://127.0.0.1:7001"
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil {
		switch {
		case strings.HasPrefix(rest, "["):
			return bad(wantIPv6)
		case strings.Count(rest, ":") == 1:
			return bad(wantPort)
		}
		return bad("HOST:PORT, such as " + scheme + "://127.0.0.1:7001")
	}
	host, port := u.Hostname(), u.Port()
	switch {
	case strings.Count(host, ":") > 0 && !strings.HasPrefix(rest, "["):
		return bad(wantIPv6)
	case strings.HasPrefix(rest, "[") && net.ParseIP(strings.SplitN(host, "%", 2)[0]) == nil:
		return bad(wantIPv6)
	case strings.ContainsAny(host, " \t\r\n\x00"):
		return bad("a host without spaces")
	case port == "" && listen:
		return bad("a port, such as " + scheme + "://0.0.0.0:7001")
	case port == "":
		return bad("a port, such as " + scheme + "://127.0.0.1:7002")
	}
	n, err := strconv.Atoi(port)
	switch {
	case err != nil || n > 65535:
		return bad(wantPort)
	case n == 0 && !listen:
		return bad("a port from 1 to 65535 to dial")
	case host == "" && !listen:
		return bad("a host to dial, such as " + scheme + "://127.0.0.1:" + port)
	}
	return &Address{Scheme: scheme, Host: host, Port: n}, nil
}

// under joins dir and path, unless path is absolute or "", and makes the result absolute if the working directory is known.
func under(dir, path string) string {
	switch {
	case path == "":
		return ""
	case filepath.IsAbs(path):
		return filepath.Clean(path)
	}
	path = filepath.Join(dir, path)
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
