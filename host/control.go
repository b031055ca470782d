package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/framehost/framehost/host/endpoint"
)

// DefaultControlSocket returns where the control socket is when the configuration names no place: in the user's runtime
// directory, in /run for root, or else in a directory of the user's under the temporary one.
func DefaultControlSocket() string {
	const name = "framehost.sock"
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, name)
	}
	if runtime.GOOS == "linux" && os.Getuid() == 0 {
		return filepath.Join("/run", name)
	}
	return filepath.Join(os.TempDir(), "framehost-"+strconv.Itoa(os.Getuid()), name)
}

// A control serves `framehost status`, `violations` and `check --running`: HTTP over a Unix socket that only the user may connect to.
type control struct {
	listener *endpoint.Listener
	server   *http.Server
	done     chan struct{}
}

const (
	// statusPath answers with a Status as JSON.
	statusPath = "/v1/status"
	// violationsPath answers with a list of ViolationStatus as JSON, of the route that ?route= names, or of all.
	violationsPath = "/v1/violations"
	// settingsPath answers with a Running as JSON.
	settingsPath = "/v1/settings"
)

// listenControl listens at path. Where that is a default place, its directory must be one that others can't change.
func listenControl(ctx context.Context, path string, isDefault bool, h *Host) (*control, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if isDefault && runtime.GOOS != "windows" {
		if err := checkDir(dir); err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
	}
	options := endpoint.ListenOptions{Mode: 0o600}
	if runtime.GOOS == "windows" {
		options.Mode = 0 // the directory's permissions are what counts there
	}
	listener, err := endpoint.Listen(ctx, endpoint.Address{Network: "unix", Address: path}, options)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(h.Status()) // who asked is gone if it fails
	})
	mux.HandleFunc("GET "+settingsPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(h.running()) // likewise
	})
	mux.HandleFunc("GET "+violationsPath, func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("route")
		all, ok := h.Violations(name)
		if !ok {
			http.Error(w, fmt.Sprintf("there is no route %q", name), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(all) // likewise
	})
	c := &control{listener: listener, done: make(chan struct{})}
	c.server = &http.Server{Handler: mux,
		ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}
	go func() {
		defer close(c.done)
		_ = c.server.Serve(netListener{listener}) // ends with Close
	}()
	return c, nil
}

// checkDir refuses a directory in which others can exchange files: anybody may have made it under the temporary one
// first.
func checkDir(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir() || info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s: got %s, want a directory that only its owner can change", dir, info.Mode())
	}
	return nil
}

func (c *control) close() {
	_ = c.server.Close()
	_ = c.listener.Close()
	<-c.done
}

// netListener is an endpoint.Listener as net/http wants it.
type netListener struct{ *endpoint.Listener }

func (l netListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn.NetConn(), nil
}

func (l netListener) Addr() net.Addr {
	return &net.UnixAddr{Name: l.Listener.Addr().Address, Net: "unix"}
}

// QueryStatus asks the framehost that serves the control socket at path.
func QueryStatus(ctx context.Context, path string) (*Status, error) {
	status := &Status{}
	if err := query(ctx, path, statusPath, status); err != nil {
		return nil, err
	}
	return status, nil
}

// QueryViolations asks the framehost that serves the control socket at path for the last violations of each route, or of the
// one of that name.
func QueryViolations(ctx context.Context, path, route string) ([]ViolationStatus, error) {
	what := violationsPath
	if route != "" {
		what += "?route=" + url.QueryEscape(route)
	}
	all := []ViolationStatus{}
	err := query(ctx, path, what, &all)
	return all, err
}

// query asks the framehost that serves the control socket at path for what, and decodes the JSON that it answers.
func query(ctx context.Context, path, what string, into any) error {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://framehost"+what, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("no framehost runs here with the control socket %s: it does not exist", path)
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("no framehost runs here with the control socket %s: nobody listens on it", path)
		}
		return fmt.Errorf("control socket %s: %w", path, errors.Unwrap(err))
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("control socket %s: %s", path, strings.TrimSpace(string(text)))
	default:
		return fmt.Errorf("control socket %s: got status %s", path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("control socket %s: %w", path, err)
	}
	return nil
}
