package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/framehost/framehost/host/discovery"
)

// announce announces a service on loopback, with the current value of port, until the function that it returns is called.
func announce(t *testing.T, port uint16, key []byte, service discovery.Service) (end func()) {
	t.Helper()
	socket, err := discovery.ListenUDP(t.Context(), discovery.UDPOptions{Port: port, Interfaces: []string{"lo"}})
	if err != nil {
		t.Fatal(err)
	}
	station, err := discovery.NewStation(socket, discovery.StationOptions{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	announcer, err := discovery.NewAnnouncer(station, discovery.AnnouncerOptions{
		Service: service, Addresses: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { announcer.Run(ctx) })
	running.Go(func() { _ = station.Run(ctx) })
	end = func() { cancel(); running.Wait() }
	t.Cleanup(end)
	return end
}

// freeUDPPort returns a free UDP port.
func freeUDPPort(t *testing.T) uint16 {
	t.Helper()
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// discover returns a command for `framehost discover` on loopback, not yet started.
func discover(t *testing.T, port uint16, args ...string) *exec.Cmd {
	t.Helper()
	args = append([]string{"discover", "--port", strconv.Itoa(int(port)), "--interface", "lo"}, args...)
	return exec.CommandContext(t.Context(), "framehost", args...)
}

func TestDiscover(t *testing.T) {
	port := freeUDPPort(t)
	key := filepath.Join(t.TempDir(), "lan.key")
	if err := os.WriteFile(key, []byte("sixteen bytes or more"), 0o600); err != nil {
		t.Fatal(err)
	}
	announce(t, port, nil, discovery.Service{Name: "scales", Port: 7001, Codec: "mainframe", Labels: map[string]string{"hall": "3"}})
	announce(t, port, nil, discovery.Service{Name: "scales", Port: 7002})
	announce(t, port, nil, discovery.Service{Name: "clocks", Port: 7003})

	t.Run("a table of all", func(t *testing.T) {
		out, err := discover(t, port, "--timeout", "1s").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if len(lines) != 4 || !strings.HasPrefix(lines[0], "SERVICE ") {
			t.Errorf("got %q, want headings and three services", lines)
		}
		for _, want := range []string{"tcp://127.0.0.1:7001 ", "tcp://127.0.0.1:7002 ", "tcp://127.0.0.1:7003 ", "hall=3"} {
			if strings.Count(string(out), want) != 1 {
				t.Errorf("got\n%swant %s in it, once", out, want)
			}
		}
	})
	t.Run("one name, as JSON", func(t *testing.T) {
		cmd := discover(t, port, "scales", "--json", "--timeout", "1s")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]foundService{}
		for line := range bytes.Lines(out) {
			var f foundService
			if err := json.Unmarshal(line, &f); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			found[f.Addresses[0]] = f
		}
		f := found["127.0.0.1:7001"]
		if len(found) != 2 || f.Service != "scales" || f.Codec != "mainframe" || f.Labels["hall"] != "3" || f.Signed || f.Interface != "lo" {
			t.Errorf("got %v", found)
		}
	})
	t.Run("a name that nobody has", func(t *testing.T) {
		out, err := discover(t, port, "barometers", "--timeout", "300ms").CombinedOutput()
		want := "framehost: no service barometers answered within 300ms; framehosts with a key answer only with --key-file\n"
		if exitOf(err) != exitFailed || string(out) != want {
			t.Errorf("got %v and %q, want exit code %d and %q", err, out, exitFailed, want)
		}
	})
	t.Run("unsigned where there is a key", func(t *testing.T) {
		out, err := discover(t, port, "--key-file", key, "--timeout", "600ms").CombinedOutput()
		want := "framehost: no service answered within 600ms; ignored "
		if exitOf(err) != exitFailed || !strings.HasPrefix(string(out), want) {
			t.Errorf("got %v and %q, want exit code %d and %q", err, out, exitFailed, want)
		}
	})
}

// exitOf returns the exit code of a process that ended with err.
func exitOf(err error) int {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return exitOK
}

func TestDiscoverWatch(t *testing.T) {
	port, secret := freeUDPPort(t), []byte("sixteen bytes or more")
	key := filepath.Join(t.TempDir(), "lan.key")
	if err := os.WriteFile(key, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := discover(t, port, "--watch", "--json", "--key-file", key)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := announce(t, port, secret, discovery.Service{Name: "scales", Port: 7001})
	lines := bufio.NewScanner(stdout)
	for _, want := range []string{"appeared", "left"} {
		if !lines.Scan() {
			t.Fatalf("got the end of its output, want that scales %s: %s", want, stderr.String())
		}
		var f foundService
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(f.Service, f.Change, f.Signed); got != fmt.Sprint("scales", want, true) {
			t.Errorf("got %s, want scales %s and signed", lines.Text(), want)
		}
		end()
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
		t.Errorf("got %v and %q, want exit code 0 and nothing", err, stderr.String())
	}
}
