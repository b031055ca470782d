package endpoint

import (
	"errors"
	"io"
	"testing"
)

func BenchmarkRead(b *testing.B) {
	for _, network := range networks {
		b.Run(network, func(b *testing.B) {
			c, peer := pair(b, network)
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				for p := make([]byte, 64<<10); ; {
					if _, err := peer.Write(p); err != nil {
						return
					}
				}
			}()
			buf := make([]byte, 64<<10)
			grab, release := func() []byte { return buf }, func([]byte) {}
			b.ReportAllocs()
			total := 0
			for b.Loop() {
				n, err := c.Read(grab, release)
				if err != nil {
					b.Fatal(err)
				}
				total += n
			}
			b.SetBytes(int64(total / b.N))
			_ = c.Reset()
			<-stopped
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, network := range networks {
		b.Run(network, func(b *testing.B) {
			c, peer := pair(b, network)
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{peer}, make([]byte, 64<<10))
			}()
			p := make([]byte, 64<<10)
			b.ReportAllocs()
			total := 0
			for b.Loop() {
				n, err := c.Write(p)
				if err != nil {
					b.Fatal(err)
				}
				total += n
			}
			b.SetBytes(int64(total / b.N))
			_ = c.Close()
			<-stopped
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, network := range networks {
		b.Run(network, func(b *testing.B) {
			c, peer := pair(b, network)
			stopped := make(chan error, 1)
			go func() {
				for p := make([]byte, 256); ; {
					if _, err := io.ReadFull(peer, p); err != nil {
						stopped <- err
						return
					}
					if _, err := peer.Write(p); err != nil {
						stopped <- err
						return
					}
				}
			}()
			buf := make([]byte, 256)
			grab, release := func() []byte { return buf }, func([]byte) {}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(buf); err != nil {
					b.Fatal(err)
				}
				if _, err := c.Read(grab, release); err != nil {
					b.Fatal(err)
				}
			}
			_ = c.CloseWrite()
			if err := <-stopped; !errors.Is(err, io.EOF) {
				b.Error(err)
			}
		})
	}
}
