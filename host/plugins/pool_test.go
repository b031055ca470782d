package plugins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/pluginproc"
)

func TestPoolStartsAgain(t *testing.T) {
	other := errors.New("exec format error")
	late := fmt.Errorf("plugin x: %w (30s)", pluginproc.ErrStartTimeout)
	tests := []struct {
		name    string
		patient bool
		errs    []error // the result of each attempt, in order
		want    error   // the final result
	}{
		{"it comes up at the third attempt", true, []error{late, late, nil}, nil},
		{"once it was late, whatever happens is tried again", true, []error{late, other, nil}, nil},
		{"what is wrong at once stays wrong", true, []error{other}, other},
		{"a pool that is not patient", false, []error{late}, late},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				var attempts atomic.Int32
				p := NewPool(pluginproc.Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &log})})
				p.Patient = test.patient
				p.start = func(_ context.Context, _ pluginproc.Spec, options pluginproc.Options) (*pluginproc.Plugin, error) {
					if options.StartTimeout != 30*time.Second {
						t.Errorf("the start may take %v", options.StartTimeout)
					}
					return nil, test.errs[attempts.Add(1)-1]
				}
				one := p.use(pluginproc.Spec{Name: "x"}, &config.Default().Timeouts)
				<-one.started
				if _, err := p.await(t.Context(), one); err != test.want {
					t.Errorf("got %v, want %v", err, test.want)
				}
				if n := int(attempts.Load()); n != len(test.errs) {
					t.Errorf("%d attempts, want %d", n, len(test.errs))
				}
				if n := strings.Count(log.String(), "plugin has not come up; it is started again, and its routes wait"); n != len(test.errs)-1 {
					t.Errorf("%d lines were logged, want %d", n, len(test.errs)-1)
				}
				if err := p.leave(one); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A plugin without users is not started again.
func TestPoolGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(pluginproc.Options{Logger: hclog.NewNullLogger()})
		p.Patient = true
		p.start = func(ctx context.Context, _ pluginproc.Spec, _ pluginproc.Options) (*pluginproc.Plugin, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Minute):
				return nil, pluginproc.ErrStartTimeout
			}
		}
		one := p.use(pluginproc.Spec{Name: "x"}, &config.Default().Timeouts)
		if _, err := p.await(t.Context(), one); !errors.Is(err, pluginproc.ErrStartTimeout) {
			t.Errorf("got %v, want %v", err, pluginproc.ErrStartTimeout)
		}
		if late := p.Late(); late["x"] == nil {
			t.Errorf("late are %v", late)
		}
		if err := p.leave(one); err != nil {
			t.Error(err)
		}
	})
}

// A setting of a plugin overrides the setting for all plugins.
func TestPluginsAreAskedForTheirDataPlane(t *testing.T) {
	tests := []struct {
		all, entry string
		line, own  pluginproc.DataPlane
	}{
		{"auto", "", pluginproc.Auto, pluginproc.Auto},
		{"grpc", "", pluginproc.GRPC, pluginproc.GRPC},
		{"shm", "", pluginproc.SHM, pluginproc.SHM},
		{"auto", ", data_plane: shm", pluginproc.Auto, pluginproc.SHM},
		{"shm", ", data_plane: grpc", pluginproc.SHM, pluginproc.GRPC},
		{"grpc", ", data_plane: auto", pluginproc.GRPC, pluginproc.Auto},
	}
	keys := map[string]bool{}
	for _, test := range tests {
		c, err := config.Parse("test.yaml", "yaml", fmt.Appendf(nil, `
data_plane: %s
plugins: [{name: own, path: /nonexistent%s}]
codecs: [{name: a, plugin: own}, {name: b, plugin: line}]`, test.all, test.entry), config.LoadOptions{Builtin: []string{"line"}})
		if err != nil {
			t.Fatal(err)
		}
		set := Open(c, nil)
		if line, own := set.spec("line"), set.spec("own"); line.DataPlane != test.line || own.DataPlane != test.own {
			t.Errorf("data_plane: %s%s: got %s for line and %s for own, want %s and %s",
				test.all, test.entry, line.DataPlane, own.DataPlane, test.line, test.own)
		}
		keys[specKey(set.spec("own"), &config.Timeouts{})] = true
	}
	if len(keys) != 3 {
		t.Errorf("got %d keys of the pool, want one for each data plane", len(keys))
	}
	byHand := &config.Config{DataPlane: config.DataPlaneGRPC, Plugins: []config.Plugin{{Name: "own"}}}
	if got := Open(byHand, nil).spec("own").DataPlane; got != pluginproc.GRPC {
		t.Errorf("without a value of its own: got %q, want that of all", got)
	}
}

// Plugins are shared by configurations with the same timeouts only. A closed Set holds no plugin.
func TestTimeoutsAndClosedSets(t *testing.T) {
	var starts []time.Duration
	var mu sync.Mutex
	p := NewPool(pluginproc.Options{Logger: hclog.NewNullLogger()})
	p.start = func(_ context.Context, _ pluginproc.Spec, options pluginproc.Options) (*pluginproc.Plugin, error) {
		mu.Lock()
		defer mu.Unlock()
		starts = append(starts, options.StartTimeout)
		return nil, errors.New("not here")
	}
	for _, limit := range []time.Duration{time.Second, time.Minute, time.Second} {
		timeouts := config.Default().Timeouts
		timeouts.Start = limit
		one := p.use(pluginproc.Spec{Name: "x"}, &timeouts)
		<-one.started
		defer func() { _ = p.leave(one) }()
	}
	if !slices.Equal(starts, []time.Duration{time.Second, time.Minute}) {
		t.Errorf("got starts with the limits %v, want one for each limit", starts)
	}
	s := p.Open(config.Default())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Plugin(t.Context(), "x"); !errors.Is(err, errClosed) || len(s.plugins) > 0 {
		t.Errorf("got %v and %d plugins of a closed Set", err, len(s.plugins))
	}
}
