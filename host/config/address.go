package config

import (
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// Address is where an endpoint listens or dials.
type Address struct {
	At     Position
	Scheme string // tcp or unix
	Host   string // tcp: a name or an IP address, an IPv6 address without brackets; "" where a listener takes all addresses
	Port   int    // tcp: 0 to 65535, 0 only to listen: any free port
	Path   string // unix: absolute, or as given where the file's place is not known
}

// String returns a as a URL.
func (a *Address) String() string {
	if a.Scheme == "unix" {
		return "unix://" + a.Path
	}
	return a.Scheme + "://" + a.HostPort()
}

// HostPort returns HOST:PORT as package net takes it.
func (a *Address) HostPort() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// Network returns a as net.Dial and net.Listen take it.
func (a *Address) Network() (network, address string) {
	if a.Scheme == "unix" {
		return "unix", a.Path
	}
	return a.Scheme, a.HostPort()
}

// maxSocketPath is the longest path of a Unix socket: what Linux takes, without the NUL at its end.
const maxSocketPath = 107

const wantURL = "a URL, such as tcp://127.0.0.1:7001 or unix:///run/scale.sock"

// ParseAddress reads the URL of an endpoint: tcp://HOST:PORT or unix://PATH. A relative path is relative to dir.
// Whether it is for a listener matters to what may be left out. An error is a *Error that has what was got and wanted.
func ParseAddress(text, dir string, listen bool) (*Address, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found || scheme == "" {
		return nil, &Error{Got: quote(text), Want: wantURL}
	}
	if err := notBuiltScheme(text, scheme); err != nil {
		return nil, err
	}
	switch scheme {
	case "tcp":
		return parseTCP(text, rest, listen)
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
		want := "a URL that begins with tcp:// or unix://"
		if s := Nearest(scheme, []string{"tcp", "unix"}); s != "" {
			want += "; did you mean " + s + "://?"
		}
		return nil, &Error{Got: quote(text), Want: want}
	}
}

func parseTCP(text, rest string, listen bool) (*Address, error) {
	bad := func(want string) (*Address, error) { return nil, &Error{Got: quote(text), Want: want} }
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return bad("nothing behind the port")
	}
	if strings.Contains(rest, "@") {
		return bad("a host without a user")
	}
	const wantIPv6 = "an IPv6 address in brackets, such as tcp://[::1]:7001"
	u, err := url.Parse("tcp://" + rest)
	if err != nil {
		switch {
		case strings.HasPrefix(rest, "["):
			return bad(wantIPv6)
		case strings.Count(rest, ":") == 1:
			return bad("a port from 0 to 65535, such as tcp://127.0.0.1:7001")
		}
		return bad("HOST:PORT, such as tcp://127.0.0.1:7001")
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
		return bad("a port, such as tcp://0.0.0.0:7001")
	case port == "":
		return bad("a port, such as tcp://127.0.0.1:7002")
	}
	n, err := strconv.Atoi(port)
	switch {
	case err != nil || n > 65535:
		return bad("a port from 0 to 65535, such as tcp://127.0.0.1:7001")
	case n == 0 && !listen:
		return bad("a port from 1 to 65535 to dial")
	case host == "" && !listen:
		return bad("a host to dial, such as tcp://127.0.0.1:" + port)
	}
	return &Address{Scheme: "tcp", Host: host, Port: n}, nil
}

// under returns path relative to dir, made absolute where it can be.
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
