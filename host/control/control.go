// Package control implements the control socket of a running framehost: the requests, the answers, and the check of who may connect.
//
// A host serves the socket with [Listen] and implements [Host]. The commands `framehost status`, `violations`, `drain` and
// `check --running` send requests with [QueryStatus], [QueryViolations], [RequestDrain] and [QueryRunning]. This package defines
// the types of the answers; package host and the packages below it fill them in.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/framehost/framehost/host/endpoint"
)

// DefaultSocket returns the path of the control socket when the configuration names none: in $XDG_RUNTIME_DIR if that
// is set, in /run for root on Linux, and otherwise in a directory for the user under the directory for temporary files.
func DefaultSocket() string {
	const name = "framehost.sock"
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, name)
	}
	if runtime.GOOS == "linux" && os.Getuid() == 0 {
		return filepath.Join("/run", name)
	}
	return filepath.Join(os.TempDir(), "framehost-"+strconv.Itoa(os.Getuid()), name)
}

// A Server serves `framehost status`, `violations`, `drain` and `check --running` by HTTP over a Unix socket. Only the user
// that runs the host may connect to it.
//
//	GET  /v1/status                        a Status
//	GET  /v1/violations[?route=NAME]       a list of ViolationStatus, of one route or of all
//	GET  /v1/settings                      a Running
//	POST /v1/drain?route=NAME[&outdated=true]   drains the route, then answers with a DrainReport
//
// Answers are JSON. Only drain changes anything, and it requires POST. Errors are text: 400 for a missing or wrong
// parameter, 404 for an unknown route, 405 for a wrong method, 503 when the host is ending.
type Server struct {
	listener *endpoint.Listener
	server   *http.Server
	done     chan struct{}
}

// A Host answers the requests at its control socket. Its methods must be safe for concurrent use.
type Host interface {
	// Status returns the present state of the host.
	Status() *Status
	// Running describes the running configuration.
	Running() *Running
	// Violations returns the last violations of a route, or of all routes if route is "", the oldest first. Its error wraps
	// ErrNoRoute.
	Violations(route string) ([]ViolationStatus, error)
	// Drain ends the live sessions of a route and returns when they have ended. Its error wraps ErrNoRoute if there is no such
	// route; any other error means that the host can't drain now.
	Drain(ctx context.Context, route string, outdated bool) (*DrainReport, error)
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

// Listen serves the control socket of host at path, until Close; "" means the default path. It makes the directory of path if that is
// missing. At the default path, it fails if other users can change the directory, except on Windows.
func Listen(ctx context.Context, path string, host Host) (*Server, error) {
	isDefault := path == ""
	if isDefault {
		path = DefaultSocket()
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if isDefault {
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
		_ = json.NewEncoder(w).Encode(host.Status()) // an error means that the client is gone
	})
	mux.HandleFunc("GET "+settingsPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(host.Running()) // an error means that the client is gone
	})
	mux.HandleFunc("GET "+violationsPath, func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("route")
		all, err := host.Violations(name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(all) // an error means that the client is gone
	})
	mux.HandleFunc("POST "+drainPath, func(w http.ResponseWriter, r *http.Request) { serveDrain(host, w, r) })
	s := &Server{listener: listener, done: make(chan struct{})}
	s.server = &http.Server{Handler: mux,
		ReadHeaderTimeout: 10 * time.Second, WriteTimeout: answerPatience, IdleTimeout: time.Minute,
	}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(netListener{listener}) // ends with Close
	}()
	return s, nil
}

// serveDrain drains a route and answers when the drain is over. If the client disconnects first, the drain goes on.
func serveDrain(host Host, w http.ResponseWriter, r *http.Request) {
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
	report, err := host.Drain(r.Context(), name, outdated)
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
	case runtime.GOOS == "windows":
		return nil
	case !info.IsDir() || info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s: got %s, want a directory that only its owner can change", dir, info.Mode())
	case !ownedByUs(info):
		return fmt.Errorf("%s: got a directory of another user, want one of this user", dir)
	}
	return nil
}

// Close accepts no more requests, waits at most closePatience for the answers to those under way, and closes the socket.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	_ = s.server.Shutdown(ctx) // lets serveDrain answer for a drain that ended with the host
	_ = s.server.Close()
	_ = s.listener.Close()
	<-s.done
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
