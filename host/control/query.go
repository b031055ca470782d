package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Socket returns path, or the default path if path is "". It fails if other users could have made the default socket, since such a user
// could answer anything.
func Socket(path string) (string, error) {
	if path != "" {
		return path, nil
	}
	path = DefaultSocket()
	if err := checkDir(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) { // without the directory, none runs there
		return "", fmt.Errorf("control socket: %w", err)
	}
	return path, nil
}

// findPatience is how long Find waits for an answer.
const findPatience = 2 * time.Second

// Find returns the status of the framehost that serves the control socket at path; "" means the default path. It returns nil if none
// answers soon. At the default path, it also returns nil if other users could have made the socket.
func Find(ctx context.Context, path string) *Status {
	path, err := Socket(path)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, findPatience)
	defer cancel()
	status, _ := QueryStatus(ctx, path)
	return status
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
