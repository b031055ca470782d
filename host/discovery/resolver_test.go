package discovery

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func (c *crew) resolver(s *Station, options ResolverOptions) *Resolver {
	c.Helper()
	options.Service = "scales"
	r, err := NewResolver(s, options)
	if err != nil {
		c.Fatal(err)
	}
	c.start(r.Run)
	synctest.Wait()
	return r
}

// next picks n times and returns how often each address was picked.
func (c *crew) next(r *Resolver, n int) map[string]int {
	c.Helper()
	counts := map[string]int{}
	for range n {
		target, err := r.Next(c.ctx)
		if err != nil {
			c.Fatal(err)
		}
		counts[target.Address.Addr().String()]++
	}
	return counts
}

func (c *crew) wantPicks(r *Resolver, n int, want map[string]int) {
	c.Helper()
	got := c.next(r, n)
	if len(got) != len(want) {
		c.Errorf("got %v, want %v", got, want)
	}
	for address, count := range want {
		if got[address] != count {
			c.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestSpreads(t *testing.T) {
	onLAN(t, func(c *crew) {
		stops := map[string]func(){}
		for _, address := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
			_, stops[address] = c.announcer(c.station(c.lan.host(address), StationOptions{}), scales())
		}
		r := c.resolver(c.station(c.lan.host("10.0.0.9"), StationOptions{}), ResolverOptions{})
		pass(time.Second)
		c.wantPicks(r, 300, map[string]int{"10.0.0.1": 100, "10.0.0.2": 100, "10.0.0.3": 100})

		stops["10.0.0.3"]()
		synctest.Wait()
		c.wantPicks(r, 300, map[string]int{"10.0.0.1": 150, "10.0.0.2": 150})

		c.announcer(c.station(c.lan.host("10.0.0.4"), StationOptions{}), scales())
		pass(time.Second)
		c.wantPicks(r, 300, map[string]int{"10.0.0.1": 100, "10.0.0.2": 100, "10.0.0.4": 100})
		if len(r.picked) != 3 {
			t.Errorf("got %d counted, want those that are known", len(r.picked))
		}
	})
}

func TestAvoidsWhatFailed(t *testing.T) {
	onLAN(t, func(c *crew) {
		for _, address := range []string{"10.0.0.1", "10.0.0.2"} {
			c.announcer(c.station(c.lan.host(address), StationOptions{}), scales())
		}
		r := c.resolver(c.station(c.lan.host("10.0.0.9"), StationOptions{}), ResolverOptions{})
		pass(time.Second)
		first, err := r.Next(c.ctx)
		if err != nil {
			t.Fatal(err)
		}
		r.Failed(first)
		second, _ := r.Next(c.ctx)
		if second.Address == first.Address {
			t.Errorf("got %v again, which failed", first.Address)
		}
		c.wantPicks(r, 10, map[string]int{second.Address.Addr().String(): 10})
		pass(time.Second)
		r.Failed(second)
		c.wantPicks(r, 10, map[string]int{first.Address.Addr().String(): 10}) // its failure is the oldest
		pass(avoidFor)
		if got := c.next(r, 100); len(got) != 2 {
			t.Errorf("got %v, want both again", got)
		}
	})
}

func TestWaitsForTheFirst(t *testing.T) {
	onLAN(t, func(c *crew) {
		s := c.station(c.lan.host("10.0.0.9"), StationOptions{})
		r := c.resolver(s, ResolverOptions{Networks: []Network{NetworkTLS}})
		ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
		defer cancel()
		c.announcer(c.station(c.lan.host("10.0.0.1"), StationOptions{}), scales()) // on NetworkTCP
		if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a deadline", err)
		}
		found := make(chan Target, 1)
		c.start(func(ctx context.Context) {
			target, err := r.Next(ctx)
			if err != nil {
				t.Error(err)
			}
			found <- target
		})
		synctest.Wait()
		o := scales()
		o.Service.Network = NetworkTLS
		c.announcer(c.station(c.lan.host("10.0.0.2"), StationOptions{}), o)
		if target := <-found; target.Address.Addr().String() != "10.0.0.2" || target.Found.Network != NetworkTLS {
			t.Errorf("got %v, want 10.0.0.2", target)
		}
	})
}

func TestResolverOfAStationThatEnded(t *testing.T) {
	onLAN(t, func(c *crew) {
		s, err := NewStation(c.lan.host("10.0.0.1"), StationOptions{})
		if err != nil {
			t.Fatal(err)
		}
		stop := c.start(func(ctx context.Context) { _ = s.Run(ctx) })
		r := c.resolver(s, ResolverOptions{})
		ended := make(chan error)
		c.start(func(ctx context.Context) {
			_, err := r.Next(ctx)
			ended <- err
		})
		synctest.Wait()
		stop()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed", err)
		}
		if _, err := NewResolver(s, ResolverOptions{}); err == nil {
			t.Error("no service: got no error")
		}
	})
}
