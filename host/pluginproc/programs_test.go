package pluginproc

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/framehost/framehost/codecs/codecrpc"
)

// untilHostEnds returns when the host has closed standard input.
func untilHostEnds() { _, _ = io.Copy(io.Discard, os.Stdin) }

// programs are the programs that the test binary can run. Most are plugins with a fault.
var programs map[string]func()

func init() {
	programs = map[string]func(){
		"good": serveNumbered,
		"exits": func() {
			fmt.Fprintln(os.Stderr, "loading")
			fmt.Fprintln(os.Stderr, "cannot find the \x1b[31mconfiguration\x1b[0m")
			os.Exit(7)
		},
		"prints-garbage":         func() { fmt.Println("hello, world"); untilHostEnds() },
		"prints-garbage-hastily": func() { fmt.Print("hello, world") },
		"closes-stdout":          func() { os.Stdout.Close(); untilHostEnds() },
		"silent":                 untilHostEnds,
		"endless-line": func() {
			line := bytes.Repeat([]byte("x"), 1<<20)
			for range 100 {
				os.Stdout.Write(line)
			}
			untilHostEnds()
		},
		"other-cookie":  func() { os.Setenv(codecrpc.Handshake.MagicCookieKey, "another program's"); serveNumbered() },
		"other-version": func() { fmt.Println("1|9|unix|/nowhere|grpc|"); untilHostEnds() },
		"other-core":    func() { fmt.Println("9|1|unix|/nowhere|grpc|"); untilHostEnds() },
		"not-grpc":      func() { fmt.Println("1|1|unix|" + os.Getenv("PLUGIN_UNIX_SOCKET_DIR") + "/x|netrpc|"); untilHostEnds() },
		"elsewhere":     func() { fmt.Println("1|1|unix|/tmp/anyone's|grpc|"); untilHostEnds() },
		"far-away":      func() { fmt.Println("1|1|tcp|192.0.2.1:80|grpc|"); untilHostEnds() },
		"dies-after-handshake": func() {
			fmt.Println("1|1|unix|" + os.Getenv("PLUGIN_UNIX_SOCKET_DIR") + "/none|grpc|")
			fmt.Fprintln(os.Stderr, "now what?")
			os.Exit(4)
		},
		"does-not-answer": func() {
			l, err := net.Listen("unix", os.Getenv("PLUGIN_UNIX_SOCKET_DIR")+"/mute")
			if err != nil {
				panic(err)
			}
			fmt.Println("1|1|unix|" + l.Addr().String() + "|grpc|")
			untilHostEnds()
		},
		"hostile-stderr": func() {
			for _, line := range []string{
				`{"@message": 1, "@level": {"a": []}, "@timestamp": null}`,
				`{"@message": {}}`, `{"@level": false}`, `{"@timestamp": 12}`, `{"@message": null}`,
				`{"@level": "info", "@message": "from\n2000-01-01 [ERROR] forged", "ke\ny": "va\nlue"}`,
				"\x00\xff\xfe\x1b[2J", "{", `[1]`, `null`,
			} {
				fmt.Fprintln(os.Stderr, line)
			}
			serveNumbered()
		},
		"floods-stderr": func() {
			line := bytes.Repeat([]byte("x"), 1<<20)
			for range 100 {
				os.Stderr.Write(line)
			}
			w := bufio.NewWriterSize(os.Stderr, 1<<16)
			for i := range 100_000 {
				fmt.Fprintf(w, "\nline %d", i)
			}
			w.Flush()
			serveNumbered()
		},
		"floods-stdout": func() {
			stdout := os.Stdout // go-plugin will replace os.Stdout
			console, handshake, err := os.Pipe()
			if err != nil {
				panic(err)
			}
			os.Stdout = handshake
			go func() { // the handshake, then 100 MiB without a newline
				line, _ := bufio.NewReader(console).ReadBytes('\n')
				stdout.Write(line)
				noise := bytes.Repeat([]byte("x"), 1<<20)
				for range 100 {
					stdout.Write(noise)
				}
				fmt.Fprintln(stdout)
				fmt.Fprintln(os.Stderr, "flood is over")
			}()
			serveNumbered()
		},
		"with-child":          func() { startHolder(false); serveNumbered() },
		"with-detached-child": func() { startHolder(true); serveNumbered() },
		"holder": func() {
			conn, err := net.Dial("unix", os.Getenv("HOLDER_SOCKET"))
			if err != nil {
				panic(err)
			}
			_, _ = io.Copy(io.Discard, conn) // until the test ends it
		},
		"asks-environment": func() {
			fmt.Fprintln(os.Stderr, os.Environ())
			os.Exit(5)
		},
		"host": func() {
			spec := Spec{Name: "numbered"}
			if name := os.Getenv("HOST_PLUGIN"); name != "" {
				path, _ := os.Executable()
				spec = Spec{Name: name, Path: path, Args: []string{programCommand, name}}
			}
			p, err := Start(context.Background(), spec, Options{MinRestartDelay: time.Millisecond})
			if err != nil {
				fmt.Println("error:", err)
				return
			}
			go func() {
				for {
					in, err := p.await(context.Background())
					if err != nil {
						return
					}
					fmt.Println(in.pid())
					<-in.doomed
				}
			}()
			untilHostEnds()
			if err := p.Close(); err != nil {
				fmt.Println("error:", err)
			}
		},
		"deaf":         func() { keepStdinOpen(); serveNumbered() },
		"not-reported": func() { forgetParentDeath(); serveNumbered() },
	}
	maps.Copy(programs, systemPrograms())
}

// startHolder starts a process that holds standard output and standard error open, and a connection by which the test sees whether the
// process is alive.
func startHolder(detached bool) {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(path, programCommand, "holder")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if detached {
		cmd.SysProcAttr = detachedAttr()
	}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
}

// keepStdinOpen gives the process a standard input that does not end with the host.
func keepStdinOpen() {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	os.Stdin = r
	time.AfterFunc(time.Hour, func() { w.Close() }) // keeps w from being collected
}
