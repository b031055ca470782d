package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/control"
	"github.com/framehost/framehost/host/endpoint"
)

// checkPlaces reports whether c could run on this machine: whether its sockets and directories can be made. It makes none.
// An address in use is only a warning, because a framehost that already runs c may be using it; a missing interface is only
// a warning, because it may appear later. If running is not nil, it is the framehost that is to reload c: see [CheckReload].
func checkPlaces(ctx context.Context, c *config.Config, running *control.Running) ([]config.Warning, error) {
	p := placeCheck{config: c, reloads: running}
	if running != nil {
		p.status = running.Status
	} else {
		p.running(ctx)
		p.control(ctx) // only here: a reload can't change the control socket
	}
	p.quarantine()
	for i := range c.Routes {
		for _, e := range c.Routes[i].Sides() {
			if e.Listen != nil {
				p.listens(ctx, e.Listen, !e.Datagrams() || e.UDP.Flows != nil)
			}
			at := e.Listen
			if at == nil {
				at = e.Dial
			}
			p.interfaces(strings.TrimSuffix(strings.TrimSuffix(at.At.Key, ".listen"), ".dial")+".udp.interfaces", e.UDP.Interfaces)
		}
	}
	p.interfaces("discovery.interfaces", c.Discovery.Interfaces)
	if len(p.errs) > 0 {
		return p.warnings, p.errs
	}
	return p.warnings, nil
}

type placeCheck struct {
	config   *config.Config
	reloads  *control.Running // the framehost that is to reload config; nil: config is to be started
	status   *control.Status  // of the framehost that serves the control socket; nil: there is none
	warnings []config.Warning
	errs     config.Errors
}

func (p *placeCheck) warn(at config.Position, format string, args ...any) {
	p.warnings = append(p.warnings, config.Warning{Position: at, Text: fmt.Sprintf(format, args...)})
}

func (p *placeCheck) addError(at config.Position, err error) {
	p.errs = append(p.errs, at.Error(err.Error(), ""))
}

// running sets p.status to that of the framehost that serves the control socket, if there is one.
func (p *placeCheck) running(ctx context.Context) {
	p.status = control.Find(ctx, p.config.Control.Socket)
}

func (p *placeCheck) control(ctx context.Context) {
	path := p.config.Control.Socket
	if path == "" {
		return
	}
	at := p.config.Where("control.socket")
	if p.status != nil {
		p.warn(at, "in use by %s", p.status.Process())
		return
	}
	if _, err := os.Lstat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		if err := creatable(filepath.Dir(path)); err != nil { // `framehost run` makes the directory
			p.addError(at, err)
		}
		return
	}
	p.probe(ctx, at, endpoint.Address{Network: "unix", Address: path}, "", false)
}

func (p *placeCheck) quarantine() {
	uses := func(r config.Route) bool { return r.OnViolation == config.ViolationQuarantine }
	if !slices.ContainsFunc(p.config.Routes, uses) {
		return
	}
	if err := creatable(p.config.Quarantine.Dir); err != nil {
		p.addError(p.config.Where("quarantine.dir"), err)
	}
}

// creatable returns an error if dir could not be made or written to. It does not make dir.
func creatable(dir string) error {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
			continue
		case errors.Is(err, syscall.ENOTDIR):
			continue // an ancestor is a file; the error is to name it
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%s: got a file at %s, want a directory", dir, at)
		}
		if err := writable(at); err != nil {
			return fmt.Errorf("%s: %s can't be written: %w", dir, at, err)
		}
		return nil
	}
}

func (p *placeCheck) listens(ctx context.Context, a *config.Address, exclusive bool) {
	if a.Scheme != "unix" && a.Port == 0 || p.reloads != nil && p.reloads.Settings.Listens(a.String()) {
		return
	}
	network, address := a.Network()
	p.probe(ctx, a.At, endpoint.Address{Network: network, Address: address}, a.String(), exclusive)
}

// probe checks whether framehost could listen at address. An address in use is a warning, or an error if another process
// uses it, it is exclusive, and a reload is to listen there. All else that would prevent listening is an error.
func (p *placeCheck) probe(ctx context.Context, at config.Position, address endpoint.Address, text string, exclusive bool) {
	err := endpoint.Probe(ctx, address)
	switch {
	case err == nil:
	case !errors.Is(err, endpoint.ErrInUse):
		p.addError(at, err)
	case p.status != nil && p.listensAt(text):
		p.warn(at, "in use by %s", p.status.Process())
	case p.reloads != nil && exclusive:
		p.addError(at, errors.New("in use by another process"))
	default:
		p.warn(at, "in use by another process")
	}
}

// listensAt reports whether the running framehost listens at text, a URL. It compares only network and port (for Unix
// sockets the path), because the same address can be written in several ways.
func (p *placeCheck) listensAt(text string) bool {
	network, port := networkAndPort(text)
	for _, r := range p.status.Routes {
		words := strings.FieldsFunc(r.From+" "+r.To, func(c rune) bool { return c == ' ' || c == ',' })
		for i, word := range words {
			if n, at := networkAndPort(word); i > 0 && words[i-1] == "listen" && n == network && at == port {
				return true
			}
		}
	}
	return false
}

func networkAndPort(url string) (network, port string) {
	network, address, _ := strings.Cut(url, "://")
	if network == "unix" {
		return network, address
	}
	return network, address[strings.LastIndex(address, ":")+1:]
}

func (p *placeCheck) interfaces(key string, names []string) {
	list, err := net.Interfaces()
	if err != nil {
		return // no warning here: `framehost run` logs this and tries again
	}
	for i, name := range names {
		if !slices.ContainsFunc(list, func(i net.Interface) bool { return i.Name == name || hasAddress(&i, name) }) {
			p.warn(p.config.Where(fmt.Sprintf("%s[%d]", key, i)), "there is no interface %s now; it is used when there is", name)
		}
	}
}

// hasAddress reports whether text is an address of i, or a network that contains an address of i.
func hasAddress(i *net.Interface, text string) bool {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return false
		}
		address = address.Unmap().WithZone("")
		prefix = netip.PrefixFrom(address, address.BitLen())
	}
	addresses, err := i.Addrs()
	if err != nil {
		return false
	}
	for _, a := range addresses {
		if own, err := netip.ParsePrefix(a.String()); err == nil && prefix.Contains(own.Addr()) {
			return true
		}
	}
	return false
}
