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

// DefaultControlSocket returns the path of the control socket when the configuration names none: in $XDG_RUNTIME_DIR if that
// is set, in /run for root on Linux, and otherwise in a directory for the user under the directory for temporary files.
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

// A control serves `framehost status`, `violations`, `drain` and `check --running` by HTTP over a Unix socket. Only the user
// that runs the host may connect to it.
//
//	GET  /v1/status                        a Status
//	GET  /v1/violations[?route=NAME]       a list of ViolationStatus, of one route or of all
//	GET  /v1/settings                      a Running
//	POST /v1/drain?route=NAME[&outdated=true]   drains the route, then answers with a DrainReport
//
// Answers are JSON. Only drain changes anything, and it requires POST. Errors are text: 400 for a missing or wrong
// parameter, 404 for an unknown route, 405 for a wrong method, 503 when the host is ending.
type control struct {
	listener *endpoint.Listener
	server   *http.Server
	done     chan struct{}
}

const (
	// statusPath answers with a Status as JSON.
	statusPath = "/v1/status"
	// violationsPath answers with a list of ViolationStatus as JSON, of the route that ?route= names or of all routes.
	violationsPath = "/v1/violations"
	// settingsPath answers with a Running as JSON.
	settingsPath = "/v1/settings"
	// drainPath drains the route that ?route= names and answers with a DrainReport as JSON. With ?outdated=true it drains only
	// the sessions that opened before a reload changed or removed the route.
	drainPath = "/v1/drain"
)

// answerPatience is how long a client may take to read an answer.
const answerPatience = 10 * time.Second

// closePatience is how long the control socket stays open for its last answers when the host ends.
const closePatience = time.Second

// listenControl listens at path. If path is the default, other users must not be able to change its directory, except on
// Windows.
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
		options.Mode = 0 // on Windows the permissions of the directory apply
	}
	listener, err := endpoint.Listen(ctx, endpoint.Address{Network: "unix", Address: path}, options)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(h.Status()) // an error means that the client is gone
	})
	mux.HandleFunc("GET "+settingsPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(h.running()) // an error means that the client is gone
	})
	mux.HandleFunc("GET "+violationsPath, func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("route")
		all, ok := h.Violations(name)
		if !ok {
			http.Error(w, h.noRoute(name).Error(), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(all) // an error means that the client is gone
	})
	mux.HandleFunc("POST "+drainPath, func(w http.ResponseWriter, r *http.Request) { serveDrain(h, w, r) })
	c := &control{listener: listener, done: make(chan struct{})}
	c.server = &http.Server{Handler: mux,
		ReadHeaderTimeout: 10 * time.Second, WriteTimeout: answerPatience, IdleTimeout: time.Minute,
	}
	go func() {
		defer close(c.done)
		_ = c.server.Serve(netListener{listener}) // ends with Close
	}()
	return c, nil
}

// serveDrain drains a route and answers when the drain is over. If the client disconnects first, the drain goes on.
func serveDrain(h *Host, w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	name, outdated := query.Get("route"), false
	if name == "" {
		http.Error(w, "got no route to drain, want ?route=NAME", http.StatusBadRequest)
		return
	}
	if value := query.Get("outdated"); value != "" {
		var err error
		if outdated, err = strconv.ParseBool(value); err != nil {
			http.Error(w, fmt.Sprintf("outdated: got %q, want true or false", value), http.StatusBadRequest)
			return
		}
	}
	writing := http.NewResponseController(w)
	_ = writing.SetWriteDeadline(time.Time{}) // no limit for the drain; an error means that the connection is broken
	report, err := h.Drain(r.Context(), name, outdated)
	_ = writing.SetWriteDeadline(time.Now().Add(answerPatience))
	switch {
	case errors.Is(err, ErrNoRoute):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(report) // an error means that the client is gone
	}
}

// checkDir refuses a directory in which other users can replace files: under the directory for temporary files, any user
// may have made dir first.
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
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	_ = c.server.Shutdown(ctx) // lets serveDrain answer for a drain that ended with the host
	_ = c.server.Close()
	_ = c.listener.Close()
	<-c.done
}

// netListener makes an endpoint.Listener a net.Listener for net/http.
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

// QueryStatus returns the status of the framehost that serves the control socket at path.
func QueryStatus(ctx context.Context, path string) (*Status, error) {
	status := &Status{}
	if err := query(ctx, path, http.MethodGet, statusPath, status); err != nil {
		return nil, err
	}
	return status, nil
}

// QueryViolations returns the last violations of the named route, or of all routes if route is "", from the framehost that
// serves the control socket at path.
func QueryViolations(ctx context.Context, path, route string) ([]ViolationStatus, error) {
	what := violationsPath
	if route != "" {
		what += "?route=" + url.QueryEscape(route)
	}
	all := []ViolationStatus{}
	err := query(ctx, path, http.MethodGet, what, &all)
	return all, err
}

// RequestDrain asks the framehost that serves the control socket at path to drain a route, as [Host.Drain] does, and waits
// until the drain is over. When ctx ends, RequestDrain returns and the drain goes on.
func RequestDrain(ctx context.Context, path, route string, outdated bool) (*DrainReport, error) {
	report := &DrainReport{}
	values := url.Values{"route": {route}}
	if outdated {
		values.Set("outdated", "true")
	}
	if err := query(ctx, path, http.MethodPost, drainPath+"?"+values.Encode(), report); err != nil {
		return nil, err
	}
	return report, nil
}

// query sends a request to the framehost that serves the control socket at path, and decodes the JSON answer.
func query(ctx context.Context, path, method, what string, into any) error {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(ctx, method, "http://framehost"+what, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("no framehost runs here with the control socket %s: it does not exist", path)
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("no framehost runs here with the control socket %s: no process listens on it", path)
		}
		return fmt.Errorf("control socket %s: %w", path, errors.Unwrap(err))
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusBadRequest, http.StatusServiceUnavailable:
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
